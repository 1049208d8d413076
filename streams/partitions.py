"""The partitions this worker owns, each with its windows, rebuilt from the last commit whenever it is assigned."""

import logging
from dataclasses import dataclass, field, fields, replace

from faust.types import TP

from flamebus.clock import Clock
from flamebus.config import Settings
from flamebus.errors import BadDataError
from streams import metrics
from streams.position import Position
from streams.transport import Committed, ExactConsumer
from streams.windows import Counts, PartitionWindows

_log = logging.getLogger(__name__)

_COUNTERS = {
    "records": metrics.RECORDS,
    "samples": metrics.SAMPLES,
    "late_samples": metrics.LATE,
    "duplicate_batches": metrics.DUPLICATES,
    "ghost_windows": metrics.GHOSTS,
    "partial_windows": metrics.PARTIAL_WINDOWS,
    "partial_samples": metrics.PARTIAL_SAMPLES,
}


@dataclass(slots=True)
class Owned:
    """One partition.

    Attributes:
        next_offset: the record that has to come next.
        assignment: which one it belongs to, by our own count; results of an older one are dropped.
        group_generation: the same by the group's count, which the broker knows.
        committed: what the broker has acknowledged.
    """

    windows: PartitionWindows
    next_offset: int
    assignment: int
    group_generation: int
    committed: Position | None
    reported: Counts = field(default_factory=Counts)


class Partitions:
    """Owned partitions by topic and number.

    Attributes:
        assignment: grows whenever partitions are taken away, which is before they are given anew.
        known_ends: end of the log of each, as far as it is known.
    """

    def __init__(self, settings: Settings, clock: Clock) -> None:
        self._settings = settings
        self._clock = clock
        self._owned: dict[TP, Owned] = {}
        self.assignment = 0
        self.known_ends: dict[TP, int] = {}

    def forget_all(self) -> None:
        """A rebalance began: whatever we knew may now be somebody else's to decide."""
        for tp in self._owned:
            for gauge in (metrics.LAG, metrics.WATERMARK_DELAY, metrics.COMMITTED):
                gauge.remove(tp.topic, str(tp.partition))
        self._owned.clear()
        self.known_ends.clear()
        self.assignment += 1

    def next_offsets(self) -> dict[TP, int]:
        """The record that each owned partition waits for."""
        return {tp: owned.next_offset for tp, owned in self._owned.items()}

    async def load(self, tp: TP, consumer: ExactConsumer) -> Owned:
        """The partition's state, from its commit when it is not in memory."""
        found = self._owned.get(tp)
        if found is not None:
            return found
        assignment = self.assignment
        committed = await consumer.load_committed(tp)
        settings = self._settings
        position = _start(tp, committed)
        if position.window_size_ns not in {0, settings.window}:
            metrics.COMMITS_REFUSED.labels("window_size").inc()
            _log.error("%s: windows had another size until now; what they sent in part is not sent again", tp)
            position = position.for_window_size(settings.window)
        windows = PartitionWindows(tp.topic, tp.partition, settings.window, settings.lateness, position)
        owned = Owned(windows, position.offset, assignment, committed.group_generation, None)
        if assignment == self.assignment:
            self._owned[tp] = owned
            self.known_ends[tp] = max(committed.log_end, self.known_ends.get(tp, 0))
            # So that every series is there from the start.
            self._report_one(tp, owned)
        return owned

    def is_current(self, owned: Owned) -> bool:
        """Whether the state still belongs to this assignment."""
        return owned.assignment == self.assignment

    def owned(self) -> dict[TP, Owned]:
        """What we own now; a copy, safe to go through in another thread."""
        return dict(self._owned)

    def acknowledge(self, positions: dict[TP, Position], assignment: int) -> None:
        """The broker has taken these commits."""
        for tp, position in positions.items():
            owned = self._owned.get(tp)
            if owned is not None and owned.assignment == assignment:
                owned.committed = position
                metrics.COMMITTED.labels(tp.topic, str(tp.partition)).set(position.offset)

    def report(self) -> None:
        """Bring the metrics up to date."""
        for tp, owned in self._owned.items():
            self._report_one(tp, owned)

    def _report_one(self, tp: TP, owned: Owned) -> None:
        counts, before = owned.windows.counts, owned.reported
        for name in (entry.name for entry in fields(Counts)):
            now = getattr(counts, name)
            if name in _COUNTERS:
                _COUNTERS[name].labels(tp.topic).inc(now - getattr(before, name))
            setattr(before, name, now)
        partition = str(tp.partition)
        metrics.LAG.labels(tp.topic, partition).set(max(self.known_ends.get(tp, 0) - owned.next_offset, 0))
        watermark = owned.windows.watermark_unix_nano
        delay_s = (self._clock.unix_nano() - watermark) / 1e9 if watermark else 0.0
        metrics.WATERMARK_DELAY.labels(tp.topic, partition).set(delay_s)


def positions_to_commit(owned: dict[TP, Owned]) -> dict[TP, Position]:
    """Positions that the broker has not acknowledged yet."""
    positions = {tp: one.windows.position() for tp, one in owned.items()}
    return {tp: position for tp, position in positions.items() if position != owned[tp].committed}


def _start(tp: TP, committed: Committed) -> Position:
    """Where windows start."""
    offset, log_start = committed.offset, committed.log_start
    if offset is None:
        return Position(log_start, is_partial=log_start > 0)
    if offset > committed.log_end:
        metrics.COMMITS_REFUSED.labels("beyond_end").inc()
        _log.error(
            "%s: the commit %d lies beyond the log's end %d: the topic was made anew; starting at its beginning",
            *(tp, offset, committed.log_end),
        )
        return Position(log_start, is_partial=True)
    if offset < log_start:
        metrics.RETENTION_LOST.labels(tp.topic).inc(log_start - offset)
        _log.error("%s: records %d to %d are gone by retention", tp, offset, log_start - 1)
    try:
        position = Position.parse(offset, committed.metadata)
    except BadDataError as error:
        metrics.COMMITS_REFUSED.labels("unreadable").inc()
        _log.error("%s: commit at %d: %s; starting there without the first window", tp, offset, error)
        position = Position(offset, is_partial=True)
    return replace(position, offset=log_start, is_partial=True) if offset < log_start else position
