"""From foreign samples to batches: nothing is lost, nothing is added, each batch lies in one window."""

from __future__ import annotations

import io
from collections import Counter
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flamebus.errors import BadDataError
from flamebus.importing.batching import CHUNK_SAMPLES, Batcher, Origin
from flamebus.importing.foreign import ForeignSample, ReadOptions
from flamebus.importing.formats import Format, read
from flamebus.importing.holding import Held
from flamebus.importing.placing import Placement
from flamebus.importing.source import Source
from flamebus.profile import service_of
from flamebus.tables import StackReader
from flamebus.wire.batch import decode_batch
from flamebus.wire.splitting import MAX_BATCH_BYTES

if TYPE_CHECKING:
    from flamebus.profile import SampleBatch

ORIGIN = Origin("checkout", "web-1", "cpu", "0.1.0")
WINDOW_NS = 10 * 10**9
START = 1_767_225_600 * 10**9
NOW = Placement(WINDOW_NS)


def batches_of(text: str, placement: Placement = NOW, origin: Origin = ORIGIN, period_ns: int = 0) -> list[SampleBatch]:
    """Batches as a worker decodes and checks them."""
    profile = read(Source("it", io.BytesIO(text.encode())), Format.FOLDED, ReadOptions(period_ns=period_ns))
    return [decode_batch(data) for _, data in Batcher(profile, origin, placement).batches()]


def totals(batches: list[SampleBatch]) -> Counter[tuple[str, ...]]:
    result: Counter[tuple[str, ...]] = Counter()
    for batch in batches:
        reader = StackReader(batch.tables)
        for stack, total in zip(batch.samples.stack.tolist(), batch.samples.totals().tolist(), strict=True):
            result[tuple(frame.function for frame in reader.frames(stack))] += total
    return result


def ids_are_right(batch: SampleBatch) -> bool:
    reader = StackReader(batch.tables)
    return all(reader.stack_id(row) == int(batch.tables.stacks.id[row]) for row in range(len(batch.tables.stacks.id)))


FOLDED = st.dictionaries(
    st.lists(st.sampled_from("abcde"), min_size=1, max_size=4).map(tuple),
    st.one_of(st.integers(1, 50), st.integers(1, 2**39)),
    min_size=1,
    max_size=12,
)


@given(FOLDED, st.one_of(st.none(), st.integers(0, 10**15)), st.integers(0, 10**11), st.sampled_from([0, 1, 10_000]))
def test_totals_stay_whatever_the_time(
    stacks: dict[tuple[str, ...], int], start: int | None, duration_ns: int, period_ns: int
) -> None:
    text = "".join(f"{';'.join(stack)} {count}\n" for stack, count in stacks.items())
    batches = batches_of(text, Placement(WINDOW_NS, start, duration_ns), period_ns=period_ns)
    wanted = {tuple(reversed(stack)): count * (period_ns or 1) for stack, count in stacks.items()}
    assert totals(batches) == wanted
    for batch in batches:
        assert batch.start_unix_nano % WINDOW_NS == 0
        assert batch.end_unix_nano == batch.start_unix_nano + WINDOW_NS
        assert ids_are_right(batch)
        if start is not None:
            times = batch.times_unix_nano()
            assert start // 10**5 <= times.min() // 10**5
            assert times.max() <= start + duration_ns


def test_samples_without_times_are_spread_evenly() -> None:
    batches = batches_of("a 6000\nb 601\n", Placement(WINDOW_NS, START + 5 * 10**9, 60 * 10**9))
    counts = [totals([batch])["a",] for batch in sorted(batches, key=lambda batch: batch.start_unix_nano)]
    assert len(counts) == 7
    assert sum(counts) == 6000
    for count, wanted in zip(counts, (500, 1000, 1000, 1000, 1000, 1000, 500), strict=True):
        assert abs(count - wanted) <= 1


def test_many_single_events_are_spread_evenly_too() -> None:
    batches = batches_of("".join(f"s{n} 1\n" for n in range(1000)), Placement(WINDOW_NS, START, 40 * 10**9))
    counts = [len(batch.samples) for batch in batches]
    assert len(counts) == 4
    assert sum(counts) == 1000
    assert max(counts) - min(counts) <= 3


def test_samples_with_times_keep_them() -> None:
    sample = ForeignSample((), 1, 1.0, 12_345_678_900)
    (placed,) = Placement(WINDOW_NS, START, 7).place(sample, 3)
    assert placed.window_start + placed.delta_ns == START + 12_345_678_900
    assert placed.window_start == START + WINDOW_NS


@pytest.mark.parametrize("start", [2**62, -1])
def test_impossible_times_are_refused(start: int) -> None:
    with pytest.raises(BadDataError, match="before 1970 or after 2116"):
        batches_of("a 1\n", Placement(WINDOW_NS, start))


def test_the_same_input_makes_the_same_batches_and_any_other_does_not() -> None:
    text = "".join(f"main;f{n} {n + 1}\n" for n in range(500))
    first = [batch.batch_id for batch in batches_of(text)]
    assert first == [batch.batch_id for batch in batches_of(text)]
    others = [
        batches_of(text + "main 1\n"),
        batches_of(text, origin=Origin("cart", "web-1", "cpu", "0.1.0")),
        batches_of(text, Placement(WINDOW_NS, START)),
        batches_of(text, Placement(WINDOW_NS, START + WINDOW_NS)),
        batches_of(text, period_ns=2),
    ]
    ids = [batch.batch_id for batches in others for batch in batches]
    assert len({*first, *ids}) == len(first) + len(ids)


def test_equal_parts_of_one_input_are_not_taken_for_duplicates() -> None:
    text = "main;work 1\n" * (3 * CHUNK_SAMPLES)
    batches = batches_of(text)
    assert len({batch.batch_id for batch in batches}) == len(batches) == 3
    assert totals(batches) == {("work", "main"): 3 * CHUNK_SAMPLES}


def test_large_input_is_split_and_held_in_order() -> None:
    text = "".join(f"main;handler_{n % 50};a_long_function_name_{n} {n % 7 + 1}\n" for n in range(15_000))
    profile = read(Source("it", io.BytesIO(text.encode())), Format.FOLDED, ReadOptions())
    with Held() as held:
        for batch, record in Batcher(profile, ORIGIN, Placement(WINDOW_NS, START, 3 * WINDOW_NS)).batches():
            assert len(record) <= MAX_BATCH_BYTES
            held.add(batch.start_unix_nano, record)
        batches = [decode_batch(record) for record in held.in_order()]
        assert len(batches) == len(held) > 3
    starts = [batch.start_unix_nano for batch in batches]
    assert starts == sorted(starts)
    assert sum(totals(batches).values()) == sum(n % 7 + 1 for n in range(15_000))
    assert {service_of(resource) for batch in batches for resource in batch.tables.resources} == {"checkout"}


def test_a_stack_that_no_record_can_hold_is_refused() -> None:
    sample = ";".join("x" * 63 + str(n) for n in range(7000))
    profile = read(Source("it", io.BytesIO(f"{sample} 1\n".encode())), Format.FOLDED, ReadOptions())
    batches = [data for _, data in Batcher(profile, ORIGIN, NOW).batches()]
    assert len(batches) == 1
    assert len(batches[0]) < 1_000_000, "whatever a line of the largest size holds fits"


def test_totals_that_one_batch_cannot_hold_exactly_are_parted() -> None:
    batches = batches_of("a 9007199254740992\nb 1\nc 9007199254740991\nd 1\n")
    assert [sorted(totals([batch]).values()) for batch in batches] == [[2**53], [1], [2**53 - 1], [1]]


def test_what_was_lost_goes_with_the_last_batch() -> None:
    text = "w 1 [000] 1.000000: 5 cpu-clock: \n\t10 f (/srv/w)\nw 1 1.000001: PERF_RECORD_LOST lost 23\n"
    profile = read(Source("it", io.BytesIO(text.encode())), Format.PERF_SCRIPT, ReadOptions())
    (batch,) = [decode_batch(data) for _, data in Batcher(profile, ORIGIN, NOW).batches()]
    assert [(loss.reason, loss.samples) for loss in batch.losses] == [("ring_full", 23)]
