"""Records into windows: in order, each once, several at a time off the event loop."""

import asyncio
import logging
from collections.abc import Sequence
from concurrent.futures import Executor
from typing import Any

from faust.types import TP

from flamebus.errors import BadDataError
from flamebus.wire.headers import DeadLetter
from streams import metrics
from streams.closed import ClosedWindow
from streams.partitions import Owned, Partitions, record_of
from streams.probe import LogProbe
from streams.sinks.bus import BusSink
from streams.transport import ExactConsumer
from streams.windows import Record

_log = logging.getLogger(__name__)

_MAX_WAITING = 32
"""Records that wait here; with Faust's own buffer it bounds what is in memory of the log, at any lag."""

_MAX_TOGETHER = 16
"""Records per journey to the thread: some 20 ms of work, so that commits and finished windows get their turn."""

Out = tuple[TP, Owned, ClosedWindow]


class LogGapError(Exception):
    """A record is not the one that has to come next, though the log has that one; read again from the commit."""


class Intake:
    """Takes records from Faust and hands on the windows that they close.

    Args:
        executor: one thread, the only one that touches windows.
        out: bounded; while it is full nothing more is taken in.
    """

    def __init__(
        self, partitions: Partitions, executor: Executor, bus: BusSink, probe: LogProbe, out: asyncio.Queue[Out]
    ) -> None:
        self._partitions = partitions
        self._executor = executor
        self._bus = bus
        self._probe = probe
        self._out = out
        self._waiting: asyncio.Queue[Any] = asyncio.Queue(_MAX_WAITING)

    async def take(self, message: Any) -> None:
        """Queue one record; waits while there are too many."""
        await self._waiting.put(message)

    async def run(self, app: Any) -> None:
        """Work on what comes, for ever."""
        while True:
            messages = [await self._waiting.get()]
            while len(messages) < _MAX_TOGETHER and not self._waiting.empty():
                messages.append(self._waiting.get_nowait())
            wanted: list[tuple[Owned, Any]] = []
            for message in messages:
                owned = await self._expected(message, app)
                if owned is not None:
                    wanted.append((owned, message))
            if wanted:
                await self._add(wanted)

    async def _expected(self, message: Any, app: Any) -> Owned | None:
        """The partition of a record that is to be taken in now, or ``None`` for one that is not."""
        if message.generation_id != app.consumer_generation_id:
            return None  # read before a rebalance; whoever owns it now reads it again
        tp = TP(message.topic, message.partition)
        consumer: ExactConsumer = app.consumer
        owned = await self._partitions.load(tp, consumer)
        if not self._partitions.is_current(owned) or message.offset < owned.next_offset:
            return None
        if message.offset > owned.next_offset:
            await self._check_gap(tp, owned, message.offset, consumer)
        owned.next_offset = message.offset + 1
        known = self._partitions.known_ends
        known[tp] = max(known.get(tp, 0), consumer.highwater(tp) or 0)
        return owned

    async def _check_gap(self, tp: TP, owned: Owned, offset: int, consumer: ExactConsumer) -> None:
        """A gap is legal where the log has none of the missing records: deleted, compacted or a transaction's marks."""
        start = min(await consumer.log_start(tp), offset)
        expected = max(owned.next_offset, start)
        if start > owned.next_offset:
            metrics.RETENTION_LOST.labels(tp.topic).inc(start - owned.next_offset)
            _log.error("%s: records %d to %d are gone by retention", tp, owned.next_offset, start - 1)
        if offset > expected:
            found = await self._probe.first_offset(tp, expected)
            if found != offset:
                raise LogGapError(f"{tp}: expected record {expected}, got {offset}; the log has {found}")
            metrics.LOG_GAPS.labels(tp.topic).inc(offset - expected)

    async def _add(self, wanted: Sequence[tuple[Owned, Any]]) -> None:
        loop = asyncio.get_running_loop()
        work = [(owned, record_of(message)) for owned, message in wanted]
        outcomes = await loop.run_in_executor(self._executor, _add_all, work)
        for (owned, message), outcome in zip(wanted, outcomes, strict=True):
            if isinstance(outcome, BadDataError):
                await self._bury(message, outcome)
                await loop.run_in_executor(self._executor, owned.windows.mark_dead_letter, message.offset)
                continue
            for closed in outcome:
                await self._out.put((TP(message.topic, message.partition), owned, closed))

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


def _add_all(work: Sequence[tuple[Owned, Record]]) -> list[list[ClosedWindow] | BadDataError]:
    """What each record came to: the windows that it closed, or why it cannot be used."""
    outcomes: list[list[ClosedWindow] | BadDataError] = []
    for owned, record in work:
        try:
            owned.windows.add(record)
        except BadDataError as error:
            outcomes.append(error)
        else:
            outcomes.append(owned.windows.take_closed())
    return outcomes
