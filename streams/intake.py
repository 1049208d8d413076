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
from streams.partitions import Owned, Partitions
from streams.probe import LogProbe
from streams.sinks.bus import BusSink
from streams.transport import ExactConsumer
from streams.windows import Record

_log = logging.getLogger(__name__)

_MAX_TOGETHER = 16
"""Records per journey to the thread: some 20 ms of work, so that commits and finished windows get their turn."""

_MAX_WAITING = 2
"""Journeys that wait here; with what is fetched at once it bounds what is in memory of the log, at any lag."""

Fetched = tuple[TP, Sequence[Any], int]
"""Partition, records, and the assignment (Partitions.assignment) in which they were fetched."""

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
        self._waiting: asyncio.Queue[Fetched] = asyncio.Queue(_MAX_WAITING)

    async def take(self, tp: TP, records: Sequence[Any], assignment: int) -> None:
        """Queue fetched records of one partition; waits while there are too many."""
        for first in range(0, len(records), _MAX_TOGETHER):
            await self._waiting.put((tp, records[first : first + _MAX_TOGETHER], assignment))

    async def run(self, app: Any) -> None:
        """Work on what comes, for ever."""
        while True:
            tp, records, assignment = await self._waiting.get()
            if assignment != self._partitions.assignment:
                continue  # fetched before a rebalance; whoever owns it now fetches it again
            owned = await self._partitions.load(tp, app.consumer)
            wanted = await self._expected(tp, owned, records, app.consumer)
            if wanted and self._partitions.is_current(owned):
                await self._add(tp, owned, wanted)

    async def _expected(self, tp: TP, owned: Owned, records: Sequence[Any], consumer: ExactConsumer) -> list[Any]:
        """Those that have not been taken in, in order and without a gap that the log does not have."""
        known = self._partitions.known_ends
        known[tp] = max(known.get(tp, 0), consumer.highwater(tp) or 0)
        wanted = []
        for record in records:
            if record.offset < owned.next_offset:
                continue
            if record.offset > owned.next_offset:
                await self._check_gap(tp, owned, record.offset, consumer)
            owned.next_offset = record.offset + 1
            wanted.append(record)
        return wanted

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

    async def _add(self, tp: TP, owned: Owned, records: Sequence[Any]) -> None:
        loop = asyncio.get_running_loop()
        outcomes = await loop.run_in_executor(self._executor, _add_all, owned, records)
        for record, outcome in zip(records, outcomes, strict=True):
            if isinstance(outcome, BadDataError):
                await self._bury(record, outcome)
                await loop.run_in_executor(self._executor, owned.windows.mark_dead_letter, record.offset)
                continue
            for closed in outcome:
                await self._out.put((tp, owned, closed))

    async def _bury(self, record: Any, error: BadDataError) -> None:
        metrics.DEAD_LETTERS.labels(error.reason).inc()
        letter = DeadLetter(
            error.reason, str(error), record.topic, record.partition, record.offset, _append_unix_nano(record)
        )
        await self._bus.dead_letter(letter, record.key, record.value or b"")


def _add_all(owned: Owned, records: Sequence[Any]) -> list[list[ClosedWindow] | BadDataError]:
    """What each record came to: the windows that it closed, or why it cannot be used."""
    outcomes: list[list[ClosedWindow] | BadDataError] = []
    for record in records:
        try:
            owned.windows.add(Record(record.offset, _append_unix_nano(record), record.value or b""))
        except BadDataError as error:
            outcomes.append(error)
        else:
            outcomes.append(owned.windows.take_closed())
    return outcomes


def _append_unix_nano(record: Any) -> int:
    """The broker's stamp, which aiokafka gives in milliseconds."""
    return int(record.timestamp) * 1_000_000
