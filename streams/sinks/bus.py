"""Publishes merged windows, hotspots, dead letters and ticks; returns only when the broker has them."""

import asyncio
import uuid
from collections.abc import Sequence

from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaError, MessageSizeTooLargeError

from flamebus.errors import BusUnavailableError
from flamebus.hotspot import HotspotReport
from flamebus.wire.headers import DeadLetter, Headers, cloud_event
from flamebus.wire.results import encode_hotspot_report
from flamebus.wire.splitting import MAX_BATCH_BYTES, split_encoded
from flamebus.wire.tick import Tick, encode_tick
from flamebus.wire.topics import DEADLETTER, HOTSPOTS, WINDOWS, event_type
from streams.closed import ClosedWindow
from streams.merged import window_batch
from streams.sinks.health import SinkHealth

_MAX_REQUEST_BYTES = 64 * 1024 * 1024
"""Counted before compression: a dead letter may be as large unpacked as what a producer squeezed past the broker."""

_METADATA_AGE_MS = 5_000
_BACKOFF_S = 1.0
_KEPT_BYTES = 512 * 1024
"""What is kept of a dead letter that does not fit with its headers, though the record itself just did."""

Message = tuple[str, bytes, bytes | None, Headers]
"""Topic, value, key, headers."""


class BusSink:
    """One idempotent producer with acks from all replicas."""

    def __init__(self, bootstrap_servers: str, prefix: str) -> None:
        self._servers, self._prefix = bootstrap_servers, prefix
        self._producer: AIOKafkaProducer | None = None
        self.health = SinkHealth("bus")

    async def start(self) -> None:
        """Connect.

        Raises:
            BusUnavailableError: no broker answers.
        """
        self._producer = AIOKafkaProducer(
            bootstrap_servers=self._servers,
            acks="all",
            enable_idempotence=True,
            compression_type="zstd",
            max_request_size=_MAX_REQUEST_BYTES,
            metadata_max_age_ms=_METADATA_AGE_MS,
        )
        try:
            await self._producer.start()
        except KafkaError as error:
            await self._producer.stop()
            raise BusUnavailableError(f"no broker at {self._servers} takes our producer: {error}") from error

    async def stop(self) -> None:
        """Send what is left and disconnect."""
        if self._producer is not None:
            await self._producer.stop()

    def messages(self, closed: ClosedWindow, reports: Sequence[HotspotReport]) -> list[Message]:
        """A window's batches and reports, encoded; no I/O."""
        topic = closed.origin.topic
        source = f"/stream/{topic}/{closed.origin.partition}"
        start = closed.window.start_unix_nano
        messages: list[Message] = []
        for part, report in zip(closed.parts, reports, strict=True):
            key = report.service.encode()
            for batch, data in split_encoded(window_batch(part, topic), MAX_BATCH_BYTES):
                headers = cloud_event(batch.batch_id.hex(), source, event_type(WINDOWS.stem), start)
                messages.append((WINDOWS.name(self._prefix), data, key, headers))
            headers = cloud_event(report.report_id.hex(), source, event_type(HOTSPOTS.stem), start)
            messages.append((HOTSPOTS.name(self._prefix), encode_hotspot_report(report), key, headers))
        return messages

    async def write(self, messages: Sequence[Message]) -> None:
        """Publish; returns when the broker has all of them."""
        await asyncio.gather(*(self._send(*message) for message in messages))

    async def dead_letter(self, letter: DeadLetter, key: bytes | None, value: bytes) -> None:
        """Publish a record that cannot be used, bytes untouched; only its beginning where it does not fit."""
        topic = DEADLETTER.name(self._prefix)
        try:
            await self._send(topic, value, key, letter.headers())
        except MessageSizeTooLargeError:
            headers = [*letter.headers(), ("flamebus_truncated_bytes", str(len(value) - _KEPT_BYTES).encode())]
            await self._send(topic, value[:_KEPT_BYTES], key, headers)

    async def refused_line(self, line: str, why: str) -> None:
        """Publish a line that InfluxDB will never take."""
        letter = DeadLetter("influxdb_refused", why, "influxdb", 0, 0, 0)
        headers = [*letter.headers(), ("flamebus_id", uuid.uuid4().hex.encode())]
        await self._send(DEADLETTER.name(self._prefix), line.encode(), None, headers)

    async def tick(self, topic: str, partition: int, unix_nano: int) -> int:
        """Publish a tick to one partition; its offset.

        Raises:
            aiokafka.errors.KafkaError: the broker did not take it; the next one comes soon.
        """
        value = encode_tick(Tick(unix_nano))
        return int((await self._connected().send_and_wait(topic, value, partition=partition)).offset)

    async def _send(self, topic: str, value: bytes, key: bytes | None, headers: Headers) -> None:
        """Until the broker has it: what comes twice has the same id."""
        while True:
            try:
                await self._connected().send_and_wait(topic, value, key=key, headers=headers)
            except KafkaError as error:
                if not error.retriable:
                    raise
                self.health.failed(type(error).__name__, f"{error!r}; see that the brokers run")
                await asyncio.sleep(_BACKOFF_S)
            else:
                self.health.worked()
                return

    def _connected(self) -> AIOKafkaProducer:
        assert self._producer is not None  # noqa: S101 - started before any partition is assigned
        return self._producer
