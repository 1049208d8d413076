"""Windows as a pure function of the log: sums, lateness, duplicates, partial starts, positions, hotspots."""

from __future__ import annotations

import random
from dataclasses import replace

import numpy as np
import pytest

from flamebus.errors import BadDataError
from flamebus.profile import Loss
from flamebus.wire.splitting import split
from streams.hotspots import rank
from streams.merged import exact_rows, window_batch
from streams.position import Position
from streams.windows import Record
from tests.support.stream_logs import (
    LATENESS,
    SECOND,
    SIZE,
    START,
    batch,
    emitted,
    fresh,
    lying,
    record,
    tick,
    weight_of,
)


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
    with pytest.raises(BadDataError, match="hash") as caught:
        windows.add(record(7, lying(item)))
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


def test_a_lie_about_a_stack_that_is_known_is_found_too() -> None:
    """Otherwise it would depend on what a worker remembers, and two workers would disagree."""
    windows, rng = fresh(), random.Random(12)
    good = batch(rng, START)
    windows.add(record(0, good))
    liar = lying(replace(good, batch_id=rng.randbytes(16)))
    assert set(liar.tables.stacks.id.tolist()) == set(good.tables.stacks.id.tolist())
    with pytest.raises(BadDataError, match="hash"):
        windows.add(record(1, liar))


def test_ancient_times_are_late_and_future_ones_within_the_tolerance_close_nothing_early() -> None:
    windows, rng = fresh(), random.Random(13)
    windows.add(tick(0, START + SIZE))
    ancient = batch(rng, 5 * SECOND)
    windows.add(record(1, ancient, append=START + SIZE))
    ahead = batch(rng, START + SIZE + 3 * SECOND)
    windows.add(record(2, ahead, append=START + SIZE))
    assert windows.watermark_unix_nano == START + SIZE - LATENESS
    assert windows.take_closed() == []
    windows.add(tick(3, START + 3 * SIZE))
    closed = windows.take_closed()
    assert sum(profile.late_samples for each in closed for profile in each.profiles) == weight_of(ancient)
    assert emitted(closed)[START + SIZE, "checkout"] == weight_of(ahead)


def test_an_empty_batch_counts_nothing_and_a_lossy_one_its_losses() -> None:
    windows, item = fresh(), batch(random.Random(14), START)
    columns = {name: getattr(item.samples, name)[:0] for name in ("stack", "resource", "thread", "value", "weight")}
    nothing = replace(item.samples, **columns, time_delta=item.samples.time_delta[:0])  # type: ignore[index]  # it is a column
    windows.add(record(0, replace(item, samples=nothing)))
    windows.add(tick(1, START + SIZE + LATENESS))
    assert windows.take_closed() == []
    lossy = replace(item, samples=nothing, batch_id=bytes(16), losses=(Loss("ring_full", 3),))
    windows.add(record(2, replace(lossy, start_unix_nano=START + SIZE, end_unix_nano=START + 2 * SIZE)))
    windows.add(tick(3, START + 2 * SIZE + LATENESS))
    (closed,) = windows.take_closed()
    assert rank(closed.parts[0], 5).report.lost == 3
    assert closed.profiles[0].total == 0


def test_a_record_that_is_no_batch_holds_the_commit_until_it_is_among_the_dead_letters() -> None:
    windows = fresh()
    for offset, value in enumerate((b"", b"\xc1", b"\x80")):
        with pytest.raises(BadDataError):
            windows.add(Record(offset, START, value))
    for offset in range(3):
        assert windows.position().offset == offset
        windows.mark_dead_letter(offset)
    assert windows.position().offset == 3


def test_losses_travel_with_their_window() -> None:
    windows, item = fresh(), batch(random.Random(7), START)
    windows.add(record(0, replace(item, losses=(Loss("ring_full", 5), Loss("spool_full", 7)))))
    windows.add(tick(1, START + SIZE + LATENESS))
    report = rank(windows.take_closed()[0].parts[0], 5).report
    assert (report.lost, report.dropped) == (5, 7)


def test_a_partial_start_rebuilds_but_does_not_emit_the_first_window() -> None:
    windows, rng = fresh(Position(100, is_partial=True)), random.Random(8)
    first, second = batch(rng, START), batch(rng, START + SIZE)
    windows.add(record(100, first))
    windows.add(record(101, second))
    windows.add(tick(102, START + 3 * SIZE))
    assert emitted(windows.take_closed()) == {(START + SIZE, "checkout"): weight_of(second)}
    assert windows.counts.partial_windows == 1
    assert windows.counts.partial_samples == weight_of(first)


def test_a_partial_start_survives_a_restart_before_the_first_batch() -> None:
    windows, rng = fresh(Position(100, is_partial=True)), random.Random(9)
    windows.add(tick(100, START))
    position = windows.position()
    assert position == Position(101, START - LATENESS, START - SIZE, True, SIZE)
    again = fresh(Position.parse(position.offset, position.metadata()))
    again.add(record(101, batch(rng, START + SECOND), append=START + 2 * SECOND))
    again.add(tick(102, START + 3 * SIZE))
    assert again.take_closed() == []


def test_the_commit_reaches_the_end_when_nothing_is_open() -> None:
    windows = fresh()
    windows.add(record(0, batch(random.Random(9), START)))
    windows.add(tick(1, START + 5 * SIZE))
    for closed in windows.take_closed():
        windows.mark_durable(closed)
    assert windows.position() == Position(2, START + 5 * SIZE - LATENESS, START + 5 * SIZE - SIZE, window_size_ns=SIZE)


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
