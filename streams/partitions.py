"""The partitions this worker owns, each with its windows, rebuilt from the last commit whenever it is assigned."""

import time
from dataclasses import dataclass

from faust.types import TP

from flamebus.config import Settings
from streams import metrics
from streams.position import Position
from streams.transport import ExactConsumer
from streams.windows import ClosedWindow, Counts, PartitionWindows, Record


@dataclass(slots=True)
class Owned:
    """One partition.

    Attributes:
        next_offset: the record that has to come next.
        generation: which assignment it belongs to; results of an older one are not marked in a newer.
        committed: what the broker has acknowledged.
    """

    windows: PartitionWindows
    next_offset: int
    generation: int
    committed: Position | None
    reported: Counts


class Partitions:
    """Owned partitions by topic and number."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._owned: dict[TP, Owned] = {}
        self._generation = 0

    def __contains__(self, tp: TP) -> bool:
        return tp in self._owned

    def forget_all(self) -> None:
        """A rebalance began: whatever we knew may now be somebody else's to decide."""
        self._owned.clear()
        self._generation += 1

    def owned(self) -> dict[TP, Owned]:
        """What we own now."""
        return dict(self._owned)

    async def load(self, tp: TP, first_offset: int, consumer: ExactConsumer) -> Owned:
        """The partition's state, from its commit when it is not in memory.

        Args:
            tp: which.
            first_offset: of the record in hand, where reading begins without a commit.
            consumer: asked for the commit.
        """
        found = self._owned.get(tp)
        if found is not None:
            return found
        generation = self._generation
        offset, metadata = await consumer.load_position(tp)
        position = None if offset is None else Position.parse(offset, metadata)
        # Without a commit and with a log whose beginning is gone, the first window misses records.
        is_partial = position is None and first_offset > 0
        settings = self._settings
        windows = PartitionWindows(tp.topic, tp.partition, settings.window, settings.lateness, position, is_partial)
        next_offset = first_offset if position is None else position.offset
        owned = Owned(windows, next_offset, generation, position, Counts())
        if generation == self._generation:
            self._owned[tp] = owned
        return owned

    def is_current(self, owned: Owned) -> bool:
        """Whether the state still belongs to this assignment."""
        return owned.generation == self._generation

    def mark_durable(self, tp: TP, generation: int, closed: ClosedWindow) -> None:
        """Every sink has the window; ignored when the partition was reassigned since."""
        owned = self._owned.get(tp)
        if owned is not None and owned.generation == generation:
            owned.windows.mark_durable(closed)

    def to_commit(self) -> dict[TP, Position]:
        """Positions that the broker has not acknowledged yet."""
        positions = {tp: (owned, owned.windows.position()) for tp, owned in self._owned.items()}
        return {tp: position for tp, (owned, position) in positions.items() if position != owned.committed}

    def acknowledge(self, positions: dict[TP, Position]) -> None:
        """The broker has taken these commits."""
        for tp, position in positions.items():
            if tp in self._owned:
                self._owned[tp].committed = position

    def report(self) -> None:
        """Bring the metrics up to date."""
        now = time.time_ns()
        for tp, owned in self._owned.items():
            counts, before = owned.windows.counts, owned.reported
            metrics.RECORDS.labels(tp.topic).inc(counts.records - before.records)
            metrics.LATE.labels(tp.topic).inc(counts.late_samples - before.late_samples)
            metrics.DUPLICATES.labels(tp.topic).inc(counts.duplicate_batches - before.duplicate_batches)
            before.records, before.late_samples = counts.records, counts.late_samples
            before.duplicate_batches = counts.duplicate_batches
            if owned.windows.watermark_unix_nano:
                delay_s = (now - owned.windows.watermark_unix_nano) / 1e9
                metrics.WATERMARK_DELAY.labels(tp.topic, str(tp.partition)).set(delay_s)


def record_of(message: object) -> Record:
    """A Faust message as windows take it; the broker's stamp is in seconds there."""
    return Record(
        int(message.offset),  # type: ignore[attr-defined]  # faust has no types
        round(message.timestamp * 1000) * 1_000_000,  # type: ignore[attr-defined]  # faust has no types
        message.value or b"",  # type: ignore[attr-defined]  # faust has no types
    )
