from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flamebus.frames import Location
from flamebus.profile import Loss, SampleBatch
from flamebus.tables import StackReader
from flamebus.wire.batch import decode_batch, encode_batch
from flamebus.wire.splitting import split, split_encoded
from tests.support.batches import CART, CHECKOUT, LIBC, MAIN, batches, make_batch

Sample = tuple[object, ...]


def contents(batch: SampleBatch) -> Counter[Sample]:
    """Every sample with all that it refers to, whatever the rows are."""
    reader, samples, tables = StackReader(batch.tables), batch.samples, batch.tables
    times = batch.times_unix_nano().tolist()
    return Counter(
        (
            reader.locations(stack),
            int(tables.stacks.id[stack]),
            tables.resources[samples.resource[row]],
            int(tables.threads.tid[samples.thread[row]]),
            tables.strings[tables.threads.name[samples.thread[row]]],
            int(samples.value[row]),
            float(samples.weight[row]),
            times[row],
        )
        for row, stack in enumerate(samples.stack.tolist())
    )


def large_batch(n_stacks: int) -> SampleBatch:
    rows = [
        (
            (Location(LIBC, 0x1000 + number), MAIN),
            (CHECKOUT, CART)[number % 2],
            (number % 7, "t"),
            10,
            1.0,
            number % 100,
        )
        for number in range(n_stacks)
    ]
    return make_batch(rows, losses=(Loss("ring_full", 5),))


def test_a_batch_that_fits_stays_itself() -> None:
    batch = large_batch(10)
    assert list(split(batch)) == [batch]


def test_parts_fit_are_valid_and_hold_the_same_samples() -> None:
    batch = large_batch(5_000)
    parts = list(split_encoded(batch, 50_000))
    assert 4 < len(parts) < 40
    assert all(len(data) <= 50_000 for _, data in parts)
    decoded = [decode_batch(data) for _, data in parts]
    assert sum((contents(part) for part in decoded), Counter()) == contents(batch)
    assert [part.losses for part in decoded] == [batch.losses] + [()] * (len(parts) - 1)
    assert len({part.batch_id for part in decoded} | {batch.batch_id}) == len(parts) + 1


def test_cutting_again_gives_the_same_records() -> None:
    batch = large_batch(2_000)
    assert [d for _, d in split_encoded(batch, 20_000)] == [d for _, d in split_encoded(batch, 20_000)]


def test_the_same_id_never_means_other_samples() -> None:
    """Whatever the limit was: an agent may be restarted with another one and send its spool."""
    batch = large_batch(2_000)
    by_id: dict[bytes, bytes] = {}
    for max_bytes in (10_000, 20_000, 30_000, 60_000):
        for part, data in split_encoded(batch, max_bytes):
            assert by_id.setdefault(part.batch_id, data) == data


def test_a_single_sample_is_never_dropped() -> None:
    batch = large_batch(3)
    parts = list(split(batch, 1))
    assert [len(part.samples) for part in parts] == [1, 1, 1]
    assert sum((contents(part) for part in parts), Counter()) == contents(batch)


@pytest.mark.parametrize("n_stacks", [0, 1])
def test_nothing_to_cut(n_stacks: int) -> None:
    batch = large_batch(n_stacks)
    assert list(split(batch, 1)) == [batch]


@given(batches(min_samples=2), st.integers(1, 2_000))
def test_any_batch_keeps_its_samples(batch: SampleBatch, max_bytes: int) -> None:
    parts = [decode_batch(encode_batch(part)) for part in split(batch, max_bytes)]
    assert sum((contents(part) for part in parts), Counter()) == contents(batch)
