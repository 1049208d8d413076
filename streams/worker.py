"""One stream worker: records in, windows out, positions committed only when every sink has what they stand for."""

import asyncio
import logging
from concurrent.futures import ThreadPoolExecutor

from aiokafka.errors import KafkaError
from faust.exceptions import ConsumerNotStarted
from faust.types import TP

from flamebus.clock import Clock
from flamebus.config import Settings
from streams.intake import Intake
from streams.output import Output, Sinks
from streams.partitions import Partitions, positions_to_commit
from streams.probe import LogProbe
from streams.sinks.bus import BusSink
from streams.sinks.influx import InfluxSink
from streams.sinks.store import StoreSink
from streams.transport import ExactConsumer
from streams.watchdog import Progress

_log = logging.getLogger(__name__)
TICK_S = 0.25
COMMIT_S = 1.0
_MAX_WINDOWS_IN_FLIGHT = 4
"""Closed windows that wait for sinks; a full queue stops consumption, so memory stays bounded at any lag."""

_DRAIN_S = 8.0
"""How long a graceful stop waits for closed windows to be written; what is not is computed again."""


class Worker:
    """Everything of a worker that Faust does not do."""

    def __init__(self, settings: Settings, clock: Clock) -> None:
        self._settings = settings
        self._clock = clock
        self._partitions = Partitions(settings, clock)
        self._executor = ThreadPoolExecutor(max_workers=1, thread_name_prefix="windows")
        self._store_executor = ThreadPoolExecutor(max_workers=1, thread_name_prefix="store")
        self._bus = BusSink(settings.bootstrap_servers, settings.topic_prefix)
        store = StoreSink(settings.store, settings.s3_endpoint, self._store_executor) if settings.store else None
        self._sinks = Sinks(self._bus, store, self._influx() if settings.influx_url else None)
        self._output = Output(self._partitions, self._executor, self._sinks, settings.top_k, _MAX_WINDOWS_IN_FLIGHT)
        self.intake = Intake(
            self._partitions, self._executor, self._bus, LogProbe(settings.bootstrap_servers), self._output.queue
        )
        self._is_stopping = False
        self._beats = 0

    def _influx(self) -> InfluxSink:
        settings = self._settings
        return InfluxSink(
            settings.influx_url,
            settings.influx_token.get_secret_value(),
            settings.influx_org,
            settings.influx_bucket,
            self._bus.refused_line,
        )

    async def start(self) -> None:
        """Connect the sinks.

        Raises:
            UnavailableError: one of them cannot be reached or refuses us; the message says what to do.
        """
        await self._bus.start()
        for sink in (self._sinks.store, self._sinks.influx):
            if sink is not None:
                await sink.check()

    async def stop(self) -> None:
        """Disconnect; what is not durable will be computed again."""
        self._is_stopping = True
        if self._sinks.influx is not None:
            await self._sinks.influx.close()
        await self._bus.stop()
        # A store that hangs may not keep us: its file would appear whole or not at all.
        for executor in (self._executor, self._store_executor):
            executor.shutdown(wait=False, cancel_futures=True)

    @property
    def assignment(self) -> int:
        """Number of the current assignment of partitions, by our own count."""
        return self._partitions.assignment

    def forget_all(self) -> None:
        """A rebalance began."""
        self._partitions.forget_all()

    async def write_windows(self) -> None:
        """Write closed windows to every sink, for ever."""
        await self._output.run()

    async def tick(self, assigned: set[TP]) -> None:
        """Move the watermark of every partition that we own; several owners ticking at once do no harm."""
        self._beats += 1
        now = self._clock.unix_nano()
        tps = sorted(assigned)
        ticks = (self._bus.tick(tp.topic, tp.partition, now) for tp in tps)
        for tp, result in zip(tps, await asyncio.gather(*ticks, return_exceptions=True), strict=True):
            if isinstance(result, KafkaError):
                _log.warning("tick: %r", result)
            elif isinstance(result, BaseException):
                raise result
            else:
                known = self._partitions.known_ends
                known[tp] = max(known.get(tp, 0), result + 1)

    async def commit(self, consumer: ExactConsumer) -> None:
        """Commit what has changed; a commit that the broker did not take is tried again with the next."""
        self._partitions.report()
        try:
            assigned = consumer.assignment()
        except ConsumerNotStarted:
            return
        owned = {tp: one for tp, one in self._partitions.owned().items() if tp in assigned}
        positions = await asyncio.get_running_loop().run_in_executor(self._executor, positions_to_commit, owned)
        if not positions:
            return
        first = owned[next(iter(positions))]  # all of one assignment: a rebalance forgets them together
        try:
            await consumer.commit_positions(positions, first.group_generation)
        except (KafkaError, TimeoutError) as error:
            _log.warning("commit: %r", error)
            return
        self._partitions.acknowledge(positions, first.assignment)

    async def finish(self, consumer: ExactConsumer) -> None:
        """Write the windows that are closed, commit, and let go: nothing more is read. For a graceful stop."""
        self._is_stopping = True
        if not self._sinks.is_waiting():
            try:
                await asyncio.wait_for(self._output.queue.join(), _DRAIN_S)
            except TimeoutError:
                _log.warning("closed windows are not written after %.0f s; they will be computed again", _DRAIN_S)
        await self.commit(consumer)

    def progress(self) -> Progress:
        """For the watchdog."""
        partitions = self._partitions
        may_wait = self._is_stopping or self._sinks.is_waiting()
        return Progress(self._beats, dict(partitions.known_ends), partitions.next_offsets(), may_wait)
