"""One stream worker: records in, windows out, positions committed only when every sink has what they stand for."""

import asyncio
import logging
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from aiokafka.errors import KafkaError
from faust.types import TP

from flamebus.config import Settings
from flamebus.errors import BadDataError
from flamebus.hotspot import HotspotReport
from flamebus.wire.headers import DeadLetter
from streams import metrics
from streams.hotspots import rank
from streams.partitions import Owned, Partitions, record_of
from streams.sinks.bus import BusSink
from streams.sinks.influx import InfluxSink
from streams.sinks.lines import report_lines
from streams.sinks.store import StoreSink
from streams.transport import ExactConsumer
from streams.windows import ClosedWindow

_log = logging.getLogger(__name__)
TICK_S = 0.25
COMMIT_S = 1.0
_MAX_WINDOWS_IN_FLIGHT = 4
"""Closed windows that wait for sinks; a full queue stops consumption, so memory stays bounded at any lag."""


class LogGapError(Exception):
    """A record is not the one that has to come next; read again from the commit."""


class Worker:
    """Everything of a worker that Faust does not do."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._partitions = Partitions(settings)
        self._executor = ThreadPoolExecutor(max_workers=1, thread_name_prefix="windows")
        self._store_executor = ThreadPoolExecutor(max_workers=1, thread_name_prefix="store")
        self._closed: asyncio.Queue[tuple[TP, Owned, ClosedWindow]] = asyncio.Queue(_MAX_WINDOWS_IN_FLIGHT)
        self._bus = BusSink(settings.bootstrap_servers, settings.topic_prefix)
        self._store = StoreSink(settings.store, settings.s3_endpoint, self._store_executor) if settings.store else None
        self._influx: InfluxSink | None = None

    async def start(self) -> None:
        """Connect the sinks.

        Raises:
            InfluxUnavailableError: address, token or bucket is wrong.
        """
        await self._bus.start()
        settings = self._settings
        if settings.influx_url:
            token = settings.influx_token.get_secret_value()
            influx = InfluxSink(
                settings.influx_url, token, settings.influx_org, settings.influx_bucket, self._bus.refused_line
            )
            await influx.check()
            self._influx = influx

    async def stop(self) -> None:
        """Disconnect; what is not durable will be computed again."""
        self._executor.shutdown(wait=True)
        if self._influx is not None:
            await self._influx.close()
        await self._bus.stop()

    def forget_all(self) -> None:
        """A rebalance began."""
        self._partitions.forget_all()

    async def take(self, message: Any, consumer: ExactConsumer) -> None:
        """Take one record in, and hand on the windows that it closed."""
        tp = TP(message.topic, message.partition)
        owned = await self._partitions.load(tp, message.offset, consumer)
        if not self._partitions.is_current(owned) or message.offset < owned.next_offset:
            return  # read before a rebalance; it comes again, or has been taken in
        if message.offset > owned.next_offset:
            await self._check_gap(tp, owned, message.offset, consumer)
        loop = asyncio.get_running_loop()
        owned.next_offset = message.offset + 1
        record = record_of(message)
        try:
            closed = await loop.run_in_executor(self._executor, _add, owned, record)
        except BadDataError as error:
            await self._bury(message, error)
            owned.windows.mark_dead_letter(message.offset)
            return
        for window in closed:
            await self._closed.put((tp, owned, window))

    async def _check_gap(self, tp: TP, owned: Owned, offset: int, consumer: ExactConsumer) -> None:
        """A gap is legal where the log itself has none of the missing records."""
        start = await consumer.log_start(tp)
        if owned.next_offset < start <= offset:
            _log.error("%s: records %d to %d are gone by retention", tp, owned.next_offset, start - 1)
        if offset > max(start, owned.next_offset):
            raise LogGapError(f"{tp}: expected record {owned.next_offset}, got {offset}")

    async def _bury(self, message: Any, error: BadDataError) -> None:
        metrics.DEAD_LETTERS.labels(error.reason).inc()
        letter = DeadLetter(
            error.reason,
            str(error),
            message.topic,
            message.partition,
            message.offset,
            record_of(message).append_unix_nano,
        )
        await self._bus.dead_letter(letter, message.key, message.value or b"")

    async def write_windows(self) -> None:
        """Write closed windows to every sink, one after another, for ever."""
        loop = asyncio.get_running_loop()
        while True:
            tp, owned, closed = await self._closed.get()
            reports = await loop.run_in_executor(self._executor, _rank_all, closed, self._settings.top_k)
            if self._store is not None:
                await self._store.write(closed)
            await self._bus.write(closed, reports)
            if self._influx is not None:
                await self._influx.write([line for report in reports for line in report_lines(report)])
            # In the same thread as additions: a partition's windows are not safe for two.
            await loop.run_in_executor(self._executor, self._partitions.mark_durable, tp, owned.generation, closed)
            metrics.WINDOWS.labels(tp.topic).inc()

    async def tick(self, assigned: set[TP]) -> None:
        """Move the watermark of every partition that we own; several owners ticking at once do no harm."""
        now = time.time_ns()
        ticks = [self._bus.tick(tp.topic, tp.partition, now) for tp in assigned]
        for result in await asyncio.gather(*ticks, return_exceptions=True):
            if isinstance(result, KafkaError):
                _log.warning("tick: %r", result)
            elif isinstance(result, BaseException):
                raise result

    async def commit(self, consumer: ExactConsumer) -> None:
        """Commit what has changed; a commit that the broker did not take is tried again with the next."""
        self._partitions.report()
        positions = await asyncio.get_running_loop().run_in_executor(self._executor, self._partitions.to_commit)
        if not positions:
            return
        try:
            await consumer.commit_positions(positions)
        except KafkaError as error:
            _log.warning("commit: %r", error)
            return
        self._partitions.acknowledge(positions)


def _add(owned: Owned, record: Any) -> list[ClosedWindow]:
    owned.windows.add(record)
    return owned.windows.take_closed()


def _rank_all(closed: ClosedWindow, top_k: int) -> list[HotspotReport]:
    return [rank(profile, top_k) for profile in closed.profiles]
