"""Windows of one partition: a pure function of a committed position and the log from there. No I/O, no clock, no Faust.

Late means: the sample's window had closed, by the watermark, before its record. A late sample is counted in its
*carrier*, the window in which the watermark stands then, which is open by definition; so late counts are rebuilt after
a restart like everything else, and each is emitted once.

A batch that comes twice is recognised until the watermark is one window past the end of the window it was counted in.
So a window is kept, and the commit held at its first record, until everything up to one window after it is durable:
after a restart the same batches are recognised again.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from flamebus.errors import BadDataError
from flamebus.profile import F64, HOST_ATTRIBUTE, I64, UNKNOWN_SERVICE, Resource, SampleBatch, attribute, service_of
from flamebus.window import MAX_CLOCK_SKEW_NS, Watermark, Window, window_start, window_starts
from flamebus.window_profile import LogRange
from flamebus.wire.batch import decode_batch
from flamebus.wire.tick import decode_tick, is_tick
from streams.cells import Additions, Cell
from streams.closed import ClosedWindow
from streams.position import Position
from streams.stacks import MAX_BYTES, Numbers, StackCatalogue

BatchKey = tuple[str, str, bytes]


@dataclass(frozen=True, slots=True)
class Record:
    """One record of the log, as far as windows care. ``append_unix_nano`` is the broker's stamp."""

    offset: int
    append_unix_nano: int
    value: bytes


@dataclass(slots=True)
class Counts:
    """What was seen since the start; batches and records are whole numbers, samples are sums of weights."""

    records: int = 0
    ticks: int = 0
    batches: int = 0
    samples: float = 0.0
    late_samples: float = 0.0
    duplicate_batches: int = 0
    ghost_windows: int = 0
    partial_windows: int = 0
    partial_samples: float = 0.0


@dataclass(slots=True)
class _OpenWindow:
    window: Window
    first_offset: int
    watermark_before: int
    last_offset: int
    cells: dict[tuple[str, str], Cell] = field(default_factory=dict)
    batch_keys: set[BatchKey] = field(default_factory=set)
    is_closed: bool = False
    is_durable: bool = False


class PartitionWindows:
    """The windows of one partition. Not safe for threads: whoever calls serialises the calls of a partition.

    Args:
        topic, partition: where the log lies.
        size_ns, lateness_ns: of windows, and how long the watermark trails.
        position: the last commit, or where the log starts; ``None`` is the beginning of everything.
    """

    def __init__(
        self, topic: str, partition: int, size_ns: int, lateness_ns: int, position: Position | None = None
    ) -> None:
        position = position or Position(0)
        self._topic = topic
        self._partition = partition
        self._size_ns = size_ns
        self._watermark = Watermark(position.watermark_unix_nano, lateness_ns)
        self._emitted_floor = position.emitted_up_to_unix_nano
        self._next_offset = position.offset
        self._is_partial_start = position.is_partial
        self._windows: dict[int, _OpenWindow] = {}
        self._dead_letters: dict[int, int] = {}
        self._partial_floor = 0
        self._stacks = StackCatalogue()
        self._max_stack_bytes = MAX_BYTES
        self.counts = Counts()

    @property
    def watermark_unix_nano(self) -> int:
        """Event time before which no more data is expected."""
        return self._watermark.unix_nano

    def add(self, record: Record) -> None:
        """Take one record in.

        Raises:
            BadDataError: the record cannot be used and nothing of it was counted. The commit stays before it until
                :meth:`mark_dead_letter` says that it is safe among the dead letters.
        """
        self._next_offset = record.offset + 1
        self.counts.records += 1
        watermark_before = self._watermark.unix_nano
        try:
            latest = self._take(record)
        except BadDataError:
            self._dead_letters[record.offset] = watermark_before
            raise
        self._watermark = self._watermark.observe(latest, record.append_unix_nano)

    def _take(self, record: Record) -> int:
        """Latest event time of the record."""
        if is_tick(record.value):
            self.counts.ticks += 1
            return decode_tick(record.value).unix_nano
        batch = decode_batch(record.value)
        times = batch.times_unix_nano()
        latest = int(times.max()) if len(times) else batch.start_unix_nano
        if latest > record.append_unix_nano + MAX_CLOCK_SKEW_NS:
            ahead_s = (latest - record.append_unix_nano) / 1e9
            raise BadDataError("clock_skew", f"host {batch.host!r} is {ahead_s:.1f} s ahead of the broker's clock")
        known = self._stacks.learn(batch.tables)
        if self._is_partial_start:
            self._is_partial_start = False
            self._partial_floor = window_start(latest, self._size_ns) + self._size_ns
            self._emitted_floor = max(self._emitted_floor, self._partial_floor)
        key = (batch.host, batch.kind, batch.batch_id)
        if self._is_known(key):
            self.counts.duplicate_batches += 1
        else:
            self._add_batch(_Taken(record.offset, batch, key, known, times))
        return latest

    def _is_known(self, key: BatchKey) -> bool:
        """Whether the batch was seen in a window that ended less than one window ago, by the watermark.

        Windows may be kept for longer, until they are durable; asking those too would let the speed of a sink decide.
        """
        horizon = self._watermark.unix_nano - self._size_ns
        return any(
            key in window.batch_keys for window in self._windows.values() if window.window.end_unix_nano > horizon
        )

    def _add_batch(self, taken: "_Taken") -> None:
        batch = taken.batch
        self.counts.batches += 1
        self.counts.samples += float(taken.weights.sum())
        services = [service_of(resource) for resource in batch.tables.resources]
        for part in _parts(taken, services, self._size_ns):
            self._add_rows(taken, part)
        if batch.losses or not len(batch.samples):
            self._add_losses(taken, services[0] if services else UNKNOWN_SERVICE)

    def _add_rows(self, taken: "_Taken", part: "_Part") -> None:
        window = self._window_for(part.start, taken.offset)
        window.batch_keys.add(taken.key)
        batch, rows = taken.batch, part.rows
        cell = self._cell(window, part.service, batch)
        totals, weights = taken.totals[rows], taken.weights[rows]
        if window.window.start_unix_nano != part.start:
            late = float(weights.sum())
            cell.add_late(late, float(totals.sum()))
            self.counts.late_samples += late
            return
        cell.add(
            Additions(
                stack=batch.samples.stack[rows],
                known=taken.known,
                resource=batch.samples.resource[rows],
                resources=taken.resources,
                total=totals,
                weight=weights,
                offset_ns=taken.times[rows] - part.start,
            )
        )
        cell.merge_when_many(self._stacks)

    def _add_losses(self, taken: "_Taken", service: str) -> None:
        window = self._window_for(window_start(taken.batch.start_unix_nano, self._size_ns), taken.offset)
        window.batch_keys.add(taken.key)
        if taken.batch.losses:
            self._cell(window, service, taken.batch).add_losses(taken.batch.losses)

    def _window_for(self, start: int, offset: int) -> _OpenWindow:
        """The window that starts at ``start``; when that has closed, its carrier."""
        if self._watermark.has_closed(Window(start, self._size_ns)):
            start = window_start(self._watermark.unix_nano, self._size_ns)
        window = self._windows.get(start)
        if window is None:
            window = _OpenWindow(Window(start, self._size_ns), offset, self._watermark.unix_nano, offset)
            self._windows[start] = window
        window.last_offset = offset
        return window

    def _cell(self, window: _OpenWindow, service: str, batch: SampleBatch) -> Cell:
        cell = window.cells.get((service, batch.kind))
        if cell is None:
            cell = Cell(window.window, batch.sample_type, batch.period_type, batch.period)
            window.cells[service, batch.kind] = cell
        return cell

    def take_closed(self) -> list[ClosedWindow]:
        """Windows that the watermark has passed since the last call, in time order; ghosts are left out."""
        closed = []
        for _, window in sorted(self._windows.items()):
            if window.is_closed or not self._watermark.has_closed(window.window):
                continue
            window.is_closed = True
            if window.window.end_unix_nano <= self._emitted_floor or not window.cells:
                window.is_durable = True
                self._count_ghost(window)
            else:
                closed.append(self._finished(window))
            window.cells.clear()
        if closed:
            self._forget_stacks()
        self._forget()
        return closed

    def _count_ghost(self, window: _OpenWindow) -> None:
        if not window.cells:
            return
        if window.window.end_unix_nano <= self._partial_floor:
            self.counts.partial_windows += 1
            self.counts.partial_samples += sum(cell.samples() for cell in window.cells.values())
        else:
            self.counts.ghost_windows += 1

    def _forget_stacks(self) -> None:
        """Keep what open windows need when the catalogue has grown too large; when is decided by the log alone."""
        if self._stacks.size_bytes() <= self._max_stack_bytes:
            return
        cells = [cell for window in self._windows.values() for cell in window.cells.values()]
        self._stacks, numbers = self._stacks.kept(number for cell in cells for number in cell.known())
        self._max_stack_bytes = MAX_BYTES + self._stacks.size_bytes()
        for cell in cells:
            cell.renumber(numbers)

    def _finished(self, window: _OpenWindow) -> ClosedWindow:
        return ClosedWindow(
            window.window,
            LogRange(self._topic, self._partition, window.first_offset, window.last_offset),
            tuple(
                cell.profile(service, kind, self._partition, self._stacks)
                for (service, kind), cell in sorted(window.cells.items())
            ),
        )

    def mark_durable(self, closed: ClosedWindow) -> None:
        """Every sink has this window."""
        self._windows[closed.window.start_unix_nano].is_durable = True
        self._forget()

    def mark_dead_letter(self, offset: int) -> None:
        """The record at this offset is safe among the dead letters."""
        del self._dead_letters[offset]

    def emitted_up_to_unix_nano(self) -> int:
        """Every window that ends here or earlier is in every sink."""
        pending = [start for start, window in self._windows.items() if not window.is_durable]
        boundary = window_start(self._watermark.unix_nano, self._size_ns)
        return max(self._emitted_floor, min([boundary, *pending]))

    def _forget(self) -> None:
        horizon = self.emitted_up_to_unix_nano()
        done = [
            start
            for start, window in self._windows.items()
            if window.is_durable and window.window.end_unix_nano + self._size_ns <= horizon
        ]
        for start in done:
            del self._windows[start]

    def position(self) -> Position:
        """What may be committed now."""
        held = [(window.first_offset, window.watermark_before) for window in self._windows.values()]
        held += self._dead_letters.items()
        offset, watermark = min(held, default=(self._next_offset, self._watermark.unix_nano))
        return Position(offset, watermark, self.emitted_up_to_unix_nano(), self._is_partial_start, self._size_ns)


class _Taken:
    """A batch that is being added, with columns derived once: value × weight, weight and time of each sample."""

    def __init__(self, offset: int, batch: SampleBatch, key: BatchKey, known: Numbers, times: I64) -> None:
        self.offset = offset
        self.batch = batch
        self.key = key
        self.known = known
        self.times = times
        self.weights = batch.samples.weight.astype(np.float64)
        self.totals: F64 = batch.samples.value * self.weights
        self.resources = tuple(_with_host(resource, batch.host) for resource in batch.tables.resources)


@dataclass(frozen=True, slots=True)
class _Part:
    """Rows of a batch that belong to one service and window."""

    service: str
    start: int
    rows: NDArray[np.intp] | slice


def _parts(taken: _Taken, services: list[str], size_ns: int) -> Iterator[_Part]:
    """The batch's samples by window, then service; an agent's batch has one of each."""
    times = taken.times
    if not len(times):
        return
    distinct = list(dict.fromkeys(services))
    start = window_start(int(times.min()), size_ns)
    if len(distinct) == 1 and int(times.max()) < start + size_ns:
        yield _Part(distinct[0], start, slice(None))
        return
    starts = window_starts(times, size_ns)
    number = np.array([distinct.index(service) for service in services], dtype=np.intp)
    service_of_sample = number[taken.batch.samples.resource]
    for begin in np.unique(starts).tolist():
        in_window = starts == begin
        for row, service in enumerate(distinct):
            rows = np.flatnonzero(in_window & (service_of_sample == row))
            if len(rows):
                yield _Part(service, begin, rows)


def _with_host(resource: Resource, host: str) -> Resource:
    if not host or attribute(resource, HOST_ATTRIBUTE):
        return resource
    return tuple(sorted((*resource, (HOST_ATTRIBUTE, host))))
