from __future__ import annotations

import random

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from flamebus.frames import FrameKind, Line, Location, Mapping, stack_id
from flamebus.profile import Loss, SampleType
from flamebus.tables import StackReader
from flamebus.wire.batch import decode_batch, encode_batch
from producers.batcher import Batcher, ResolvedSamples, Sender
from producers.dictionary import Dictionary
from producers.losses import AGENT_SERVICE, LossLedger

SECOND = 10**9
INTERVAL = 10 * SECOND
START = 1_700_000_000 * SECOND
SENDER = Sender(b"session!", "host-1", "boot", "0.1", "cpu", SampleType("cpu", "nanoseconds"), 10_101_010)


def location(name: str) -> Location:
    if name.startswith("0x"):
        return Location(Mapping("/usr/lib/libfoo.so", "ab12", 0x1000, 0x9000, 0), int(name, 16))
    return Location(Mapping("/usr/bin/app"), 0, FrameKind.NATIVE, (Line(name, f"{name}.c", 3),))


def samples(dictionary: Dictionary, rows: list[tuple[int, str, list[str]]]) -> ResolvedSamples:
    """Each row: time in ns since START, service, function names leaf first."""
    tree = dictionary.tree
    return ResolvedSamples(
        dictionary,
        np.array([START + time for time, _, _ in rows], dtype=np.int64),
        np.array(
            [tree.stack(tree.location(location(n)) for n in reversed(names)) for _, _, names in rows], dtype=np.uint32
        ),
        np.array([dictionary.resource((("service.name", service),)) for _, service, _ in rows], dtype=np.uint32),
        np.array([dictionary.thread(7, "worker") for _ in rows], dtype=np.uint32),
        np.ones(len(rows), dtype=np.float32),
    )


def test_one_batch_per_service_and_interval() -> None:
    batcher = Batcher(SENDER, INTERVAL, LossLedger())
    batcher.add(
        samples(
            Dictionary(),
            [
                (2 * SECOND, "b", ["f", "main"]),
                (1 * SECOND, "a", ["f", "main"]),
                (11 * SECOND, "a", ["g", "main"]),
                (3 * SECOND, "a", ["0x1234", "main"]),
            ],
        )
    )
    first = batcher.cut(START + INTERVAL, START + INTERVAL)
    assert [(each.service, len(each.batch.samples)) for each in first] == [("a", 2), ("b", 1)]
    assert all(each.batch.start_unix_nano == START for each in first)
    second = batcher.cut(START + 2 * INTERVAL, START + 2 * INTERVAL)
    assert [(each.service, each.batch.start_unix_nano) for each in second] == [("a", START + INTERVAL)]
    assert batcher.cut(START + 9 * INTERVAL, START) == []
    assert [each.batch.sequence for each in first + second] == [1, 2, 3]
    assert len({each.batch.batch_id for each in first + second}) == 3


def test_a_straggler_gets_a_further_batch_of_its_own_interval() -> None:
    batcher, dictionary = Batcher(SENDER, INTERVAL, LossLedger()), Dictionary()
    batcher.add(samples(dictionary, [(SECOND, "a", ["f"])]))
    batcher.cut(START + INTERVAL, START + INTERVAL)
    batcher.add(samples(dictionary, [(2 * SECOND, "a", ["f"])]))
    (late,) = batcher.cut(START + INTERVAL, START + INTERVAL)
    assert late.batch.start_unix_nano == START
    assert late.batch.end_unix_nano == START + INTERVAL


def test_two_generations_of_the_dictionary_make_two_batches() -> None:
    batcher = Batcher(SENDER, INTERVAL, LossLedger())
    batcher.add(samples(Dictionary(), [(SECOND, "a", ["f"])]))
    batcher.add(samples(Dictionary(), [(SECOND, "a", ["g", "f"])]))
    found = batcher.cut(START + INTERVAL, START)
    assert [len(each.batch.samples) for each in found] == [1, 1]


def test_losses_go_with_their_service_and_the_hosts_with_the_largest_batch() -> None:
    losses = LossLedger()
    batcher = Batcher(SENDER, INTERVAL, losses)
    losses.add([Loss("ring_full", 3, 30)])
    losses.add([Loss("ring_full", 1, 10), Loss("nothing", 0)])
    losses.add([Loss("spool_full", 5, 50)], "small")
    losses.add([Loss("spool_full", 7, 70)], "absent")
    batcher.add(samples(Dictionary(), [(1, "large", ["f"]), (2, "large", ["f"]), (3, "small", ["f"])]))
    found = {each.service: each.batch.losses for each in batcher.cut(START + INTERVAL, START + INTERVAL)}
    assert found == {
        "large": (Loss("ring_full", 4, 40),),
        "small": (Loss("spool_full", 5, 50),),
        "absent": (Loss("spool_full", 7, 70),),
    }
    losses.add([Loss("ring_full", 2, 20)])
    (alone,) = batcher.cut(START + 2 * INTERVAL, START + INTERVAL)
    assert (alone.service, alone.batch.losses) == (AGENT_SERVICE, (Loss("ring_full", 2, 20),))
    assert decode_batch(encode_batch(alone.batch)).losses == alone.batch.losses


def test_addresses_of_a_function_are_one_location() -> None:
    """What is resolved is known by its function: samples all over it, and its copies in other builds, are one."""
    tree = Dictionary().tree
    line = (Line("work", "work.c", 3),)
    rows = {tree.location(Location(Mapping("/usr/bin/app"), address, lines=line)) for address in (0, 16, 32)}
    assert len(rows) == 1
    assert len({tree.location(Location(Mapping("/usr/bin/app"), address)) for address in (0, 16, 32)}) == 3


def test_rows_are_laid_out_to_compress() -> None:
    """Depth first, then first use: along a chain of calls the columns count up together; samples are by stack."""
    batcher, rng = Batcher(SENDER, INTERVAL, LossLedger()), random.Random(1)
    names = [["main", "f", "g", "h"][: rng.randint(1, 4)][::-1] for _ in range(50)]
    batcher.add(samples(Dictionary(), [(number * 1_000_000, "a", stack) for number, stack in enumerate(names)]))
    (found,) = batcher.cut(START + INTERVAL, START)
    tables, rows = found.batch.tables, found.batch.samples
    assert tables.nodes.parent.tolist() == [0, 0, 1, 2, 3]
    assert tables.nodes.location.tolist() == [0, 0, 1, 2, 3]
    assert tables.lines.function.tolist() == [0, 1, 2, 3]
    assert tables.strings[:5] == ("", "main", "f", "g", "h")
    assert tables.stacks.node.tolist() == sorted(tables.stacks.node.tolist())
    keys = list(zip(rows.stack.tolist(), rows.time_delta.tolist(), strict=True)) if rows.time_delta is not None else []
    assert keys == sorted(keys)
    assert len(keys) == 50


NAMES = st.lists(st.sampled_from(["main", "f", "g", "longer", "0x1234", "0x2000"]), max_size=12)
ROWS = st.lists(st.tuples(st.integers(0, 3 * INTERVAL), st.sampled_from(["a", "b"]), NAMES), min_size=1, max_size=40)


@given(ROWS)
def test_what_is_cut_out_of_the_tree_is_what_went_in(rows: list[tuple[int, str, list[str]]]) -> None:
    batcher = Batcher(SENDER, INTERVAL, LossLedger())
    batcher.add(samples(Dictionary(), rows))
    found = []
    for each in batcher.cut(START + 9 * INTERVAL, START):
        batch = decode_batch(encode_batch(each.batch))
        reader = StackReader(batch.tables)
        for row in range(len(batch.tables.stacks.id)):
            assert int(batch.tables.stacks.id[row]) == reader.stack_id(row) == stack_id(reader.frames(row))
        for time, stack in zip(batch.times_unix_nano().tolist(), batch.samples.stack.tolist(), strict=True):
            found.append((time, each.service, reader.locations(stack)))
    expected = [
        ((START + time) // 100_000 * 100_000, service, tuple(location(name) for name in names))
        for time, service, names in rows
    ]
    assert sorted(found, key=str) == sorted(expected, key=str)
