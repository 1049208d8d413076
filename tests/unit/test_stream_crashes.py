"""Any crash, hand-over or zombie gives the same windows, and every sample is counted once: for arbitrary logs."""

from __future__ import annotations

import random
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from hypothesis import given, settings
from hypothesis import strategies as st

import streams.windows
from flamebus.errors import BadDataError
from flamebus.wire.splitting import MAX_BATCH_BYTES, split_encoded
from flamebus.wire.tick import decode_tick
from streams.closed import ClosedWindow
from streams.hotspots import rank
from streams.merged import window_batch
from streams.position import Position
from tests.support.stream_logs import LATENESS, SECOND, SIZE, START, batch, fresh, lying, record, tick

if TYPE_CHECKING:
    import pytest

    from flamebus.profile import SampleBatch
    from streams.windows import PartitionWindows, Record

STEPS = st.lists(
    st.tuples(
        st.sampled_from(("tick", "batch", "batch", "batch", "again", "poison")),
        st.integers(0, 3 * SECOND),  # how far the clock goes on
        st.sampled_from((0, 0, 0, 1, 15, 40)),  # how late, in seconds
        st.sampled_from(("a", "b")),
        st.integers(1, 20),  # which earlier record comes again
    ),
    min_size=5,
    max_size=50,
)
CHOICES = st.lists(st.integers(0, 99), min_size=1, max_size=80)
"""What happens at each point where something may happen; used again from the start when it is at its end."""


@dataclass(frozen=True, slots=True)
class Entry:
    """A record of a log, the batch in it if it is a good one, and whether it is one that nobody can use."""

    record: Record
    batch: SampleBatch | None = None
    is_poison: bool = False


def log_of(steps: list[tuple[str, int, int, str, int]]) -> list[Entry]:
    rng, now, log = random.Random(1), START, list[Entry]()
    for offset, (kind, pause, delay_s, service, back) in enumerate(steps):
        now += pause
        if kind == "tick":
            log.append(Entry(tick(offset, now)))
        elif kind == "again" and log:
            before = log[-min(back, len(log))]
            log.append(replace(before, record=replace(before.record, offset=offset, append_unix_nano=now)))
        else:
            item = batch(rng, now - delay_s * SECOND - SECOND, service, rng.choice(("h1", "h2")))
            if kind == "poison":
                log.append(Entry(record(offset, lying(item), append=now), is_poison=True))
            else:
                log.append(Entry(record(offset, item, append=now), item))
    return [*log, Entry(tick(len(log), now + 10 * SIZE))]


def counted_by_hand(log: list[Entry]) -> dict[int, tuple[float, float]]:
    """Samples and late samples of each window, sample by sample, as the design's sentences say it and no faster."""
    counted: dict[int, list[float]] = {}
    ends: dict[bytes, list[int]] = {}
    watermark = 0
    for entry in log:
        latest = 0
        if entry.batch is not None:
            times = entry.batch.times_unix_nano().tolist()
            latest = max(times)
            known = ends.setdefault(entry.batch.batch_id, [])
            if not any(end > watermark - SIZE for end in known):
                for unix_nano, weight in zip(times, entry.batch.samples.weight.tolist(), strict=True):
                    start = unix_nano - unix_nano % SIZE
                    is_late = start + SIZE <= watermark
                    start = watermark - watermark % SIZE if is_late else start
                    counted.setdefault(start, [0.0, 0.0])[is_late] += weight
                    known.append(start + SIZE)
        elif not entry.is_poison:
            latest = decode_tick(entry.record.value).unix_nano
        watermark = max(watermark, min(latest, entry.record.append_unix_nano) - LATENESS)
    return {start: (on_time, late) for start, (on_time, late) in counted.items()}


@dataclass(slots=True)
class Sinks:
    """Take windows and dead letters; a value that changes after it was final fails the test."""

    windows: dict[int, object] = field(default_factory=dict)
    samples: dict[int, tuple[float, float]] = field(default_factory=dict)
    dead: set[int] = field(default_factory=set)

    def take(self, closed: ClosedWindow) -> None:
        start = closed.window.start_unix_nano
        content = [
            (rank(part, 5).report, [data for _, data in split_encoded(window_batch(part, "t"), MAX_BATCH_BYTES)])
            for part in closed.parts
        ]
        assert self.windows.setdefault(start, content) == content, "a final value changed"
        profiles = closed.profiles
        self.samples[start] = sum(p.samples for p in profiles), sum(p.late_samples for p in profiles)


def step(worker: PartitionWindows, entry: Record, sinks: Sinks) -> list[ClosedWindow]:
    try:
        worker.add(entry)
    except BadDataError:
        sinks.dead.add(entry.offset)
        worker.mark_dead_letter(entry.offset)
        return []
    return worker.take_closed()


def run_steadily(log: list[Entry]) -> Sinks:
    worker, sinks = fresh(), Sinks()
    for entry in log:
        for closed in step(worker, entry.record, sinks):
            sinks.take(closed)
            worker.mark_durable(closed)
    return sinks


class Chooser:
    def __init__(self, choices: list[int]) -> None:
        self._choices, self._at = choices, 0

    def happens(self, percent: int) -> bool:
        self._at += 1
        return self._choices[self._at % len(self._choices)] < percent


def run_with_crashes(log: list[Entry], choose: Chooser) -> Sinks:
    """A worker that commits, writes and crashes at will; now and then a zombie goes on with what it has."""
    worker, sinks, pending = fresh(), Sinks(), list[ClosedWindow]()
    committed: Position | None = None
    offset = crashes = 0
    while offset < len(log) or pending:
        if offset < len(log):
            pending += step(worker, log[offset].record, sinks)
            offset += 1
        while pending and (offset == len(log) or choose.happens(50)):
            closed = pending.pop(0)
            sinks.take(closed)
            worker.mark_durable(closed)
        if choose.happens(30):
            position = worker.position()
            assert committed is None or position.offset >= committed.offset
            committed = Position.parse(position.offset, position.metadata())
        if offset < len(log) and crashes < 12 and choose.happens(8):
            crashes += 1
            zombie, zombie_pending = worker, pending
            worker, pending = fresh(committed), []
            resumed = committed.offset if committed else 0
            if choose.happens(50):  # the old one does not know yet, and writes what it closes; it can commit no more
                for entry in log[offset : offset + 5]:
                    zombie_pending += step(zombie, entry.record, sinks)
                for closed in zombie_pending:
                    sinks.take(closed)
            offset = resumed
    return sinks


@settings(max_examples=25, deadline=None)
@given(STEPS, CHOICES)
def test_any_crash_gives_the_same_windows_and_counts_every_sample_once(
    steps: list[tuple[str, int, int, str, int]], choices: list[int]
) -> None:
    log = log_of(steps)
    truth = run_steadily(log)
    assert truth.samples == counted_by_hand(log)
    assert truth.dead == {entry.record.offset for entry in log if entry.is_poison}
    found = run_with_crashes(log, Chooser(choices))
    assert found.windows == truth.windows
    assert found.dead == truth.dead


def test_forgetting_stacks_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """The catalogue of stacks is only a memory: with hardly any, the same windows come out, to the byte."""
    rng = random.Random(2)
    kinds = ("tick", "batch", "batch", "batch", "again")
    steps = [(rng.choice(kinds), rng.randrange(2 * SECOND), 0, rng.choice("ab"), 3) for _ in range(60)]
    log = log_of(steps)
    truth = run_steadily(log)
    monkeypatch.setattr(streams.windows, "MAX_BYTES", 1)
    assert run_steadily(log).windows == truth.windows
