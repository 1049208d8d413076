"""Windows as a pure function of the log: sums, lateness, duplicates, ghosts, positions."""

from __future__ import annotations

import random
from dataclasses import replace

import numpy as np
import pytest

from flamebus.errors import BadDataError
from flamebus.frames import Line, Location, Mapping
from flamebus.profile import Loss, SampleBatch, Samples, SampleType
from flamebus.tables import TablesBuilder
from flamebus.wire.batch import encode_batch
from flamebus.wire.splitting import split
from flamebus.wire.tick import Tick, encode_tick
from streams.closed import ClosedWindow
from streams.hotspots import rank
from streams.merged import exact_rows, window_batch
from streams.position import Position
from streams.windows import PartitionWindows, Record

SECOND = 10**9
SIZE = 10 * SECOND
LATENESS = 2 * SECOND
START = 1_700_000_000 * SECOND
CPU = SampleType("cpu", "nanoseconds")
LIBRARY = Mapping("/usr/lib/libwork.so.1")
FUNCTIONS = [Location(LIBRARY, 16 * n, lines=(Line(f"f{n}"),)) for n in range(12)]


def batch(
    rng: random.Random, start: int, service: str = "checkout", host: str = "h1", span: int = SECOND
) -> SampleBatch:
    builder = TablesBuilder()
    stacks = [builder.stack(rng.choices(FUNCTIONS, k=rng.randint(1, 5))) for _ in range(4)]
    resource = builder.resource((("service.name", service),))
    thread = builder.thread(1, "main")
    count = rng.randint(1, 40)
    return SampleBatch(
        batch_id=rng.randbytes(16), sequence=0, host=host, boot_id="b", agent_version="0", kind="cpu",
        sample_type=CPU, period_type=CPU, period=10, start_unix_nano=start, end_unix_nano=start + span,
        tables=builder.build(),
        samples=Samples(
            stack=np.array(rng.choices(stacks, k=count), dtype=np.uint32),
            resource=np.full(count, resource, dtype=np.uint32),
            thread=np.full(count, thread, dtype=np.uint32),
            value=np.full(count, 10, dtype=np.int64),
            weight=np.array(rng.choices((1.0, 2.0), k=count), dtype=np.float32),
            time_delta=np.array([rng.randrange(span // 100_000) for _ in range(count)], dtype=np.uint32),
        ),
    )  # fmt: skip


def weight_of(item: SampleBatch) -> float:
    return float(item.samples.weight.sum())


def record(offset: int, item: SampleBatch, append: int | None = None) -> Record:
    return Record(offset, item.end_unix_nano if append is None else append, encode_batch(item))


def tick(offset: int, at: int) -> Record:
    return Record(offset, at, encode_tick(Tick(at)))


def fresh(position: Position | None = None) -> PartitionWindows:
    return PartitionWindows("t", 3, SIZE, LATENESS, position or Position(0))


def emitted(windows: list[ClosedWindow]) -> dict[tuple[int, str], float]:
    return {(w.window.start_unix_nano, p.service): p.samples for w in windows for p in w.profiles}


def test_a_window_closes_when_the_watermark_reaches_its_end() -> None:
    windows, item = fresh(), batch(random.Random(1), START)
    windows.add(record(0, item))
    windows.add(tick(1, START + SIZE + LATENESS - 1))
    assert windows.take_closed() == []
    windows.add(tick(2, START + SIZE + LATENESS))
    (closed,) = windows.take_closed()
    (profile,) = closed.profiles
    assert profile.samples == weight_of(item)
    assert profile.total == 10 * weight_of(item)
    assert profile.heat.sum() == weight_of(item)
    assert (closed.origin.first_offset, closed.origin.last_offset) == (0, 0)
    assert windows.take_closed() == []


def test_late_samples_are_counted_in_the_window_of_the_watermark() -> None:
    windows, rng = fresh(), random.Random(2)
    windows.add(tick(0, START + SIZE + LATENESS))
    late = batch(rng, START + SECOND)
    windows.add(record(1, late, append=START + SIZE + LATENESS))
    windows.add(tick(2, START + 2 * SIZE + LATENESS))
    (closed,) = windows.take_closed()
    assert closed.window.start_unix_nano == START + SIZE
    assert closed.profiles[0].late_samples == weight_of(late)
    assert closed.profiles[0].total == 0
    assert rank(closed.parts[0], 5).report.late == weight_of(late)


def test_a_duplicate_counts_once_even_when_late() -> None:
    windows, item = fresh(), batch(random.Random(3), START)
    windows.add(record(0, item))
    windows.add(record(1, item))
    windows.add(tick(2, START + SIZE + LATENESS))
    assert sum(emitted(windows.take_closed()).values()) == weight_of(item)
    windows.add(record(3, item, append=START + SIZE + LATENESS))
    windows.add(tick(4, START + 3 * SIZE + LATENESS))
    assert windows.take_closed() == []
    assert windows.counts.duplicate_batches == 2


def test_a_foreign_batch_may_straddle_windows_and_services() -> None:
    windows, rng = fresh(), random.Random(4)
    item = batch(rng, START + SIZE - SECOND, span=2 * SECOND)
    windows.add(record(0, item))
    windows.add(tick(1, START + 3 * SIZE))
    assert sum(emitted(windows.take_closed()).values()) == weight_of(item)


def test_a_hash_that_lies_counts_nothing_and_holds_the_commit() -> None:
    windows, item = fresh(), batch(random.Random(5), START)
    stacks = replace(item.tables.stacks, id=item.tables.stacks.id ^ np.uint64(1))
    lying = replace(item, tables=replace(item.tables, stacks=stacks))
    with pytest.raises(BadDataError, match="hash") as caught:
        windows.add(record(7, lying))
    assert caught.value.reason == "hash_mismatch"
    assert windows.position().offset == 7
    windows.mark_dead_letter(7)
    assert windows.position().offset == 8
    windows.add(tick(8, START + 3 * SIZE))
    assert windows.take_closed() == []


def test_a_clock_that_runs_ahead_is_refused_and_closes_nothing() -> None:
    windows, item = fresh(), batch(random.Random(6), START + 60 * SECOND)
    with pytest.raises(BadDataError) as caught:
        windows.add(record(0, item, append=START))
    assert caught.value.reason == "clock_skew"
    assert windows.watermark_unix_nano == 0


def test_losses_travel_with_their_window() -> None:
    windows, item = fresh(), batch(random.Random(7), START)
    windows.add(record(0, replace(item, losses=(Loss("ring_full", 5), Loss("spool_full", 7)))))
    windows.add(tick(1, START + SIZE + LATENESS))
    report = rank(windows.take_closed()[0].parts[0], 5).report
    assert (report.lost, report.dropped) == (5, 7)


def test_a_partial_start_rebuilds_but_does_not_emit_the_first_window() -> None:
    windows, rng = fresh(Position(100, is_partial=True)), random.Random(8)
    second = batch(rng, START + SIZE)
    windows.add(record(100, batch(rng, START)))
    windows.add(record(101, second))
    windows.add(tick(102, START + 3 * SIZE))
    assert emitted(windows.take_closed()) == {(START + SIZE, "checkout"): weight_of(second)}


def random_log(rng: random.Random, length: int) -> list[Record]:
    """Ticks, batches on time and late, and duplicates near and far, with a clock that only goes on."""
    log: list[Record] = []
    now = START
    for offset in range(length):
        now += rng.randrange(3 * SECOND)
        kind = rng.random()
        if kind < 0.3:
            log.append(tick(offset, now))
        elif kind < 0.4 and log:
            log.append(replace(rng.choice(log[-20:]), offset=offset, append_unix_nano=now))
        else:
            delay = rng.choice((0, 0, 0, 1, 15, 40)) * SECOND
            item = batch(rng, now - delay - SECOND, rng.choice(("a", "b")), rng.choice(("h1", "h2")))
            log.append(record(offset, item, append=now))
    return [*log, tick(length, now + 10 * SIZE)]


class Sink:
    """Takes windows in order; refuses a value that differs from what it has."""

    def __init__(self) -> None:
        self.profiles: dict[int, str] = {}

    def take(self, worker: PartitionWindows, closed: ClosedWindow) -> None:
        text = repr(closed.profiles)
        assert self.profiles.setdefault(closed.window.start_unix_nano, text) == text, "a final value changed"
        worker.mark_durable(closed)


def run_steadily(log: list[Record]) -> Sink:
    worker, sink = fresh(), Sink()
    for entry in log:
        worker.add(entry)
        for closed in worker.take_closed():
            sink.take(worker, closed)
    return sink


def run_with_crashes(log: list[Record], rng: random.Random) -> Sink:
    worker, sink, pending = fresh(), Sink(), list[ClosedWindow]()
    committed: Position | None = None
    offset = 0
    while offset < len(log) or pending:
        if offset < len(log):
            worker.add(log[offset])
            offset += 1
            pending += worker.take_closed()
        while pending and (offset == len(log) or rng.random() < 0.5):
            sink.take(worker, pending.pop(0))
        if rng.random() < 0.3:
            position = worker.position()
            assert committed is None or position.offset >= committed.offset
            committed = Position.parse(position.offset, position.metadata())
        if offset < len(log) and rng.random() < 0.06:
            worker, pending = fresh(committed), []
            offset = committed.offset if committed else 0
    return sink


@pytest.mark.parametrize("seed", range(30))
def test_any_crash_gives_the_same_windows(seed: int) -> None:
    """Crash after any record, with any part of the closed windows durable: nothing is lost, doubled or changed."""
    rng = random.Random(seed)
    log = random_log(rng, 120)
    truth = run_steadily(log).profiles
    assert len(truth) > 5
    assert run_with_crashes(log, rng).profiles == truth


def test_the_commit_reaches_the_end_when_nothing_is_open() -> None:
    windows = fresh()
    windows.add(record(0, batch(random.Random(9), START)))
    windows.add(tick(1, START + 5 * SIZE))
    for closed in windows.take_closed():
        windows.mark_durable(closed)
    assert windows.position() == Position(2, START + 5 * SIZE - LATENESS, START + 5 * SIZE - SIZE)


def test_hotspots_add_up_and_rank() -> None:
    windows, rng = fresh(), random.Random(10)
    for offset in range(20):
        windows.add(record(offset, batch(rng, START, host=f"h{offset % 3}")))
    windows.add(tick(20, START + SIZE + LATENESS))
    closed = windows.take_closed()[0].parts[0]
    profile, report = closed.profile, rank(closed, 3).report
    assert report.hosts == 3
    assert sum(function.self_value for function in report.functions) == report.total == profile.total
    assert report.functions[-1].function == "__other__"
    own = [function.self_value for function in report.functions[:-1]]
    assert own == sorted(own, reverse=True)
    for function in report.functions:
        assert function.self_share.low <= function.self_share.value <= function.self_share.high
        assert function.total_value >= function.self_value


@pytest.mark.parametrize("max_bytes", [500_000, 3_000])
def test_window_batches_keep_both_sums(max_bytes: int) -> None:
    windows, rng = fresh(), random.Random(11)
    for offset in range(10):
        windows.add(record(offset, batch(rng, START)))
    windows.add(tick(10, START + SIZE + LATENESS))
    closed = windows.take_closed()[0].parts[0]
    profile = closed.profile
    batches = list(split(window_batch(closed, "t"), max_bytes))
    assert (len(batches) > 1) == (max_bytes < 500_000)
    assert sum(int(b.samples.totals().sum()) for b in batches) == profile.total
    assert sum(float(b.samples.weight.sum()) for b in batches) == profile.samples


def test_exact_rows_keep_totals_that_do_not_divide_and_large_counts() -> None:
    total = np.array([10, 7, 3 * 2**26 + 1, 0], dtype=np.int64)
    count = np.array([5, 3, 2**26, 4], dtype=np.int64)
    row, value, weight = exact_rows(total, count)
    weight32 = weight.astype(np.float32).astype(np.int64)
    for index in range(4):
        chosen = row == index
        assert int((value[chosen] * weight32[chosen]).sum()) == total[index]
        assert int(weight32[chosen].sum()) == count[index]
