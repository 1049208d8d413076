"""Publishes merged windows, hotspots, dead letters and ticks; returns only when the broker has them."""

import asyncio
import uuid
from collections.abc import Sequence

from aiokafka import AIOKafkaProducer

from flamebus.hotspot import HotspotReport
from flamebus.wire.headers import DeadLetter, Headers, cloud_event
from flamebus.wire.results import encode_hotspot_report
from flamebus.wire.splitting import MAX_BATCH_BYTES, split_encoded
from flamebus.wire.tick import Tick, encode_tick
from flamebus.wire.topics import DEADLETTER, HOTSPOTS, WINDOWS, event_type
from streams.merged import window_batches
from streams.windows import ClosedWindow

_MAX_REQUEST_BYTES = 64 * 1024 * 1024
"""Counted before compression: a dead letter may be as large unpacked as what a producer squeezed past the broker."""
_METADATA_AGE_MS = 5_000


class BusSink:
    """One idempotent producer with acks from all replicas."""

    def __init__(self, bootstrap_servers: str, prefix: str) -> None:
        self._servers, self._prefix = bootstrap_servers, prefix
        self._producer: AIOKafkaProducer | None = None

    async def start(self) -> None:
        """Connect."""
        self._producer = AIOKafkaProducer(
            bootstrap_servers=self._servers,
            acks="all",
            enable_idempotence=True,
            compression_type="zstd",
            max_request_size=_MAX_REQUEST_BYTES,
            metadata_max_age_ms=_METADATA_AGE_MS,
        )
        await self._producer.start()

    async def stop(self) -> None:
        """Send what is left and disconnect."""
        if self._producer is not None:
            await self._producer.stop()

    async def write(self, closed: ClosedWindow, reports: Sequence[HotspotReport]) -> None:
        """Publish a window's batches and reports."""
        topic = closed.origin.topic
        source = f"/stream/{topic}/{closed.origin.partition}"
        sends = []
        for profile in closed.profiles:
            for batch in window_batches(profile, topic, MAX_BATCH_BYTES):
                for part, data in split_encoded(batch, MAX_BATCH_BYTES):
                    headers = cloud_event(
                        part.batch_id.hex(), source, event_type(WINDOWS.stem), closed.window.start_unix_nano
                    )
                    sends.append(self._send(WINDOWS.name(self._prefix), data, profile.service.encode(), headers))
        for report in reports:
            headers = cloud_event(
                report.report_id.hex(), source, event_type(HOTSPOTS.stem), report.window_start_unix_nano
            )
            data = encode_hotspot_report(report)
            sends.append(self._send(HOTSPOTS.name(self._prefix), data, report.service.encode(), headers))
        await asyncio.gather(*sends)

    async def dead_letter(self, letter: DeadLetter, key: bytes | None, value: bytes) -> None:
        """Publish a record that cannot be used, bytes untouched."""
        await self._send(DEADLETTER.name(self._prefix), value, key, letter.headers())

    async def refused_line(self, line: str, why: str) -> None:
        """Publish a line that InfluxDB will never take."""
        letter = DeadLetter("influxdb_refused", why, "influxdb", 0, 0, 0)
        headers = [*letter.headers(), ("flamebus_id", uuid.uuid4().hex.encode())]
        await self._send(DEADLETTER.name(self._prefix), line.encode(), None, headers)

    async def tick(self, topic: str, partition: int, unix_nano: int) -> None:
        """Publish a tick to one partition."""
        assert self._producer is not None  # noqa: S101 - started before any partition is assigned
        await self._producer.send_and_wait(topic, encode_tick(Tick(unix_nano)), partition=partition)

    async def _send(self, topic: str, value: bytes, key: bytes | None, headers: Headers) -> None:
        assert self._producer is not None  # noqa: S101 - started before any partition is assigned
        await self._producer.send_and_wait(topic, value, key=key, headers=headers)
