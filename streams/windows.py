"""Windows of one partition: a pure function of a committed position and the log from there. No I/O, no clock, no Faust.

Late means: the sample's window had closed, by the watermark, before its record. A late sample is counted in its
*carrier*, the window in which the watermark stands then, which is open by definition; so late counts are rebuilt after
a restart like everything else, and each is emitted once.

A batch that comes twice is recognised until the watermark is one window past the end of the window it was counted in.
So a window is kept, and the commit held at its first record, until everything up to one window after it is durable:
after a restart the same batches are recognised again.
"""

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from flamebus.errors import BadDataError
from flamebus.profile import F64, HOST_ATTRIBUTE, I64, UNKNOWN_SERVICE, Resource, SampleBatch, attribute, service_of
from flamebus.window import MAX_CLOCK_SKEW_NS, Watermark, Window, window_start, window_starts
from flamebus.window_profile import LogRange, WindowProfile
from flamebus.wire.batch import decode_batch
from flamebus.wire.tick import decode_tick, is_tick
from streams.cells import Additions, Cell
from streams.position import Position
from streams.stacks import StackDictionary

BatchKey = tuple[str, str, bytes]


@dataclass(frozen=True, slots=True)
class Record:
    """One record of the log, as far as windows care. ``append_unix_nano`` is the broker's stamp."""

    offset: int
    append_unix_nano: int
    value: bytes


@dataclass(frozen=True, slots=True)
class ClosedWindow:
    """A finished window of this partition: one profile per (service, kind), sorted."""

    window: Window
    origin: LogRange
    profiles: tuple[WindowProfile, ...]


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
        position: the last commit; ``None`` starts afresh.
        is_partial_start: the log's beginning is gone and there is no commit, so the first window misses records: it is
            rebuilt but not emitted, lest it overwrite a complete one.
    """

    def __init__(
        self,
        topic: str,
        partition: int,
        size_ns: int,
        lateness_ns: int,
        position: Position | None = None,
        is_partial_start: bool = False,  # noqa: FBT001, FBT002 - part of the state, not a switch
    ) -> None:
        self._topic = topic
        self._partition = partition
        self._size_ns = size_ns
        self._watermark = Watermark(position.watermark_unix_nano if position else 0, lateness_ns)
        self._emitted_floor = position.emitted_up_to_unix_nano if position else 0
        self._next_offset = position.offset if position else 0
        self._is_partial_start = is_partial_start
        self._windows: dict[int, _OpenWindow] = {}
        self._dead_letters: dict[int, int] = {}
        self._stacks = StackDictionary()
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
        self._stacks.learn(batch.tables)
        if self._is_partial_start:
            self._is_partial_start = False
            self._emitted_floor = window_start(latest, self._size_ns) + self._size_ns
            self.counts.partial_windows += 1
        key = (batch.host, batch.kind, batch.batch_id)
        if self._is_known(key):
            self.counts.duplicate_batches += 1
        else:
            self._add_batch(record.offset, batch, key, times)
        return latest

    def _is_known(self, key: BatchKey) -> bool:
        """Whether the batch was seen in a window that ended less than one window ago, by the watermark.

        Windows may be kept for longer, until they are durable; asking those too would let the speed of a sink decide.
        """
        horizon = self._watermark.unix_nano - self._size_ns
        return any(
            key in window.batch_keys for window in self._windows.values() if window.window.end_unix_nano > horizon
        )

    def _add_batch(self, offset: int, batch: SampleBatch, key: BatchKey, times: I64) -> None:
        self.counts.batches += 1
        starts = window_starts(times, self._size_ns)
        totals, weights = batch.samples.totals(), batch.samples.weight.astype(np.float64)
        self.counts.samples += float(weights.sum())
        by_service = _resources_by_service(batch)
        services = tuple(by_service)
        service_rows = np.array([services.index(service_of(r)) for r in batch.tables.resources], dtype=np.intp)
        sample_service = service_rows[batch.samples.resource] if len(batch.samples) else np.zeros(0, dtype=np.intp)
        for start in np.unique(starts).tolist():
            in_window = starts == start
            for number, service in enumerate(services):
                rows = np.flatnonzero(in_window & (sample_service == number))
                if len(rows):
                    self._add_rows(offset, batch, key, _Part(service, start, rows, totals, weights, times))
        if batch.losses or not len(batch.samples):
            self._add_losses(offset, batch, key, services[0] if services else UNKNOWN_SERVICE)

    def _add_rows(self, offset: int, batch: SampleBatch, key: BatchKey, part: "_Part") -> None:
        window = self._window_for(part.start, offset)
        window.batch_keys.add(key)
        cell = self._cell(window, part.service, batch)
        rows, totals, weights = part.rows, part.totals[part.rows], part.weights[part.rows]
        if window.window.start_unix_nano != part.start:
            cell.add_late(float(weights.sum()), float(totals.sum()))
            self.counts.late_samples += float(weights.sum())
            return
        cell.add(
            Additions(
                stack_id=batch.tables.stacks.id[batch.samples.stack[rows]],
                resource=batch.samples.resource[rows],
                resources=tuple(_with_host(resource, batch.host) for resource in batch.tables.resources),
                total=totals,
                weight=weights,
                offset_ns=part.times[rows] - part.start,
            )
        )

    def _add_losses(self, offset: int, batch: SampleBatch, key: BatchKey, service: str) -> None:
        window = self._window_for(window_start(batch.start_unix_nano, self._size_ns), offset)
        window.batch_keys.add(key)
        if batch.losses:
            self._cell(window, service, batch).add_losses(batch.losses)

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
                self.counts.ghost_windows += bool(window.cells)
            else:
                closed.append(self._finished(window))
            window.cells.clear()
        if closed:
            self._stacks.forget_all_but(
                {i for w in self._windows.values() for c in w.cells.values() for i in c.stack_ids()}
            )
        self._forget()
        return closed

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
        return Position(offset, watermark, self.emitted_up_to_unix_nano())


@dataclass(frozen=True, slots=True)
class _Part:
    """Rows of a batch that belong to one service and window, and the whole batch's columns."""

    service: str
    start: int
    rows: NDArray[np.intp]
    totals: F64
    weights: F64
    times: I64


def _resources_by_service(batch: SampleBatch) -> dict[str, list[Resource]]:
    result: dict[str, list[Resource]] = {}
    for resource in batch.tables.resources:
        result.setdefault(service_of(resource), []).append(resource)
    return result


def _with_host(resource: Resource, host: str) -> Resource:
    if not host or attribute(resource, HOST_ATTRIBUTE):
        return resource
    return tuple(sorted((*resource, (HOST_ATTRIBUTE, host))))
