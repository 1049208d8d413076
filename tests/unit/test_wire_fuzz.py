"""A share of what ``make fuzz`` does: mutated records are refused with BadDataError or read, at a bounded cost."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

import msgpack

from flamebus.errors import BadDataError
from flamebus.wire.batch import decode_batch
from tests.support import fuzzing
from tests.support.mutation import MUTATIONS, mutant, tokens

if TYPE_CHECKING:
    import pytest

COUNT = 2_000


def test_mutants_are_refused_or_read() -> None:
    tally = fuzzing.run_chunk(1, range(COUNT))
    assert not tally.failures
    assert set(tally.mutations) == {mutation.__name__ for mutation in MUTATIONS}
    assert tally.outcomes["read"] > COUNT / 100
    assert len(tally.outcomes) > 12


def test_what_no_decoder_may_do_is_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    """The harness itself: an exception of another kind, and memory beyond the record's share."""

    def hoard(data: bytes) -> list[int]:
        return [len(data)] * (100 * len(data) + 100_000)

    def crash(data: bytes) -> None:
        raise KeyError(len(data))

    def behave(_data: bytes) -> None:
        raise BadDataError("truncated", "as it should")

    for decode, words in ((hoard, "bytes of memory"), (crash, "KeyError"), (behave, None)):
        monkeypatch.setattr(fuzzing, "DECODERS", dict.fromkeys(fuzzing.DECODERS, (decode, len)))
        failures = fuzzing.run_chunk(1, range(20)).failures
        assert all(words and words in failure for failure in failures)
        assert bool(failures) == (words is not None)


def test_the_mutator_knows_where_values_are() -> None:
    record = {"a": [1, -1, 300, 2**40, 0.5, None, True], "b": b"x" * 300, "c": {"d": "e" * 40}, "f": ["g"] * 20}
    data = msgpack.packb(record)
    values = [msgpack.unpackb(data[token.start : token.end]) for token in tokens(data)]
    assert values[0] == record
    assert values[1:4] == ["a", record["a"], 1]
    assert values[-1] == "g"
    assert len(values) == 1 + 2 + 7 + 2 + 4 + 2 + 20


def test_a_mutant_depends_on_its_seed_alone() -> None:
    first = [mutant(random.Random(n), fuzzing.seeds()) for n in range(20)]
    assert first == [mutant(random.Random(n), fuzzing.seeds()) for n in range(20)]
    assert len({data for _, data in first}) > 15


def test_unmutated_seeds_are_good() -> None:
    batches = [seed.data for seed in fuzzing.seeds() if b"flamebus.sample_batch" in seed.data[:40]]
    assert len(batches) == 3
    for data in batches:
        fuzzing.walk_batch(decode_batch(data))
