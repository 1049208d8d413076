"""Stacks of a partition: checked by content, numbered once, and put together again as a window's tables."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flamebus.errors import BadDataError
from flamebus.frames import FrameKind, Line, Location, Mapping
from flamebus.tables import StackReader
from flamebus.wire.batch import decode_batch, encode_batch
from streams.merged import window_batch
from streams.stacks import StackCatalogue
from streams.windows import PartitionWindows, Record
from tests.support.batches import LOCATIONS, START_UNIX_NANO, WINDOW_NS, batches, known_batch, make_batch
from tests.support.stream_logs import LATENESS, tick

if TYPE_CHECKING:
    from flamebus.profile import SampleBatch
    from streams.closed import ClosedProfile

WORK = Location(Mapping("/srv/app"), 64, lines=(Line("work", "work.c", 3),))
CALLER = Location(Mapping("/srv/app"), 128, lines=(Line("caller", "work.c", 9),))
RESOURCE = (("service.name", "checkout"),)


def one_stack(*locations: Location, batch_id: bytes = bytes(16)) -> SampleBatch:
    return make_batch([(locations, RESOURCE, (1, "main"), 10, 1.0, 0)], batch_id=batch_id)


def closed_profiles(items: list[SampleBatch]) -> tuple[ClosedProfile, ...]:
    windows = PartitionWindows("t", 0, WINDOW_NS, LATENESS)
    for offset, item in enumerate(items):
        windows.add(Record(offset, START_UNIX_NANO + WINDOW_NS, encode_batch(item)))
    windows.add(tick(len(items), START_UNIX_NANO + WINDOW_NS + LATENESS))
    (closed,) = windows.take_closed()
    return closed.parts


def test_the_same_content_has_one_number_and_any_other_has_another() -> None:
    catalogue = StackCatalogue()
    (number,) = catalogue.learn(one_stack(WORK, CALLER).tables)
    assert catalogue.learn(one_stack(WORK, CALLER).tables) == [number]
    elsewhere = replace(WORK, mapping=Mapping("/opt/other/app"))
    for other in (
        one_stack(replace(WORK, lines=(Line("work", "work.c", 4),)), CALLER),
        one_stack(replace(WORK, lines=(Line("work", "other.c", 3),)), CALLER),
        one_stack(replace(WORK, address=65), CALLER),
        one_stack(elsewhere, CALLER),
        one_stack(replace(WORK, mapping=Mapping("/srv/app", "ab")), CALLER),
        one_stack(CALLER, WORK),
        one_stack(WORK, WORK, CALLER),
        one_stack(WORK),
        one_stack(),
    ):
        (found,) = catalogue.learn(other.tables)
        assert found == len(catalogue) - 1


def test_where_a_process_has_mapped_a_file_does_not_matter() -> None:
    catalogue = StackCatalogue()
    catalogue.learn(one_stack(WORK).tables)
    catalogue.learn(one_stack(replace(WORK, mapping=Mapping("/srv/app", "", 0x1000, 0x2000, 7))).tables)
    assert len(catalogue) == 1


@pytest.mark.parametrize("is_known", [False, True])
def test_a_lie_is_refused_and_leaves_nothing_behind(is_known: bool) -> None:
    catalogue = StackCatalogue()
    honest, other = one_stack(WORK, CALLER).tables, one_stack(CALLER).tables
    if is_known:
        catalogue.learn(honest)
        catalogue.learn(other)
    known = len(catalogue)
    with pytest.raises(BadDataError) as caught:
        catalogue.learn(replace(honest, stacks=replace(honest.stacks, id=other.stacks.id)))
    assert caught.value.reason == "hash_mismatch"
    assert len(catalogue) == known


def test_more_new_stacks_than_are_looked_up_one_by_one() -> None:
    catalogue = StackCatalogue()
    many = [one_stack(replace(WORK, lines=(Line(f"f{n}"),))).tables for n in range(1_100)]
    numbers = [int(catalogue.learn(tables)[0]) for tables in many]
    assert numbers == list(range(1_100))
    assert [int(catalogue.learn(tables)[0]) for tables in many] == numbers


def test_what_is_kept_is_found_again_under_its_new_number() -> None:
    catalogue = StackCatalogue()
    tables = [one_stack(replace(WORK, lines=(Line(f"f{n}"),)), CALLER).tables for n in range(20)]
    for each in tables:
        catalogue.learn(each)
    smaller, numbers = catalogue.kept([3, 17])
    assert len(smaller) == 2
    assert [int(smaller.learn(tables[n])[0]) for n in (3, 17)] == numbers[[3, 17]].tolist()
    assert smaller.known[numbers[17]].locations == catalogue.known[17].locations
    assert smaller.size_bytes() < catalogue.size_bytes()


@settings(max_examples=25, deadline=None)
@given(st.lists(st.lists(LOCATIONS, max_size=5), min_size=1, max_size=8))
def test_every_stack_comes_back_from_a_windows_tables(stacks: list[list[Location]]) -> None:
    rows = [(stack, RESOURCE, (1, "main"), 10, 1.0, number) for number, stack in enumerate(stacks)]
    (part,) = closed_profiles([make_batch(rows)])
    batch = decode_batch(encode_batch(window_batch(part, "t")))
    reader = StackReader(batch.tables)
    by_id = {int(number): row for row, number in enumerate(batch.tables.stacks.id)}
    original = StackReader(make_batch(rows).tables)
    for row, number in enumerate(make_batch(rows).tables.stacks.id.tolist()):
        assert reader.frames(by_id[number]) == original.frames(row) or len({*by_id}) < len(stacks)
        assert reader.stack_id(by_id[number]) == number


@settings(max_examples=12, deadline=None)
@given(st.lists(batches(min_samples=1), min_size=1, max_size=4), st.lists(batches(), max_size=4))
def test_a_windows_bytes_do_not_depend_on_what_was_seen_before(
    items: list[SampleBatch], earlier: list[SampleBatch]
) -> None:
    """A worker that has read for a day and one that was just started publish the same record."""

    def placed(item: SampleBatch, number: int, start: int) -> SampleBatch:
        delta = np.zeros(len(item.samples), dtype=np.uint32)
        return replace(
            item,
            host="h",
            batch_id=number.to_bytes(16, "big"),
            start_unix_nano=start,
            end_unix_nano=start + WINDOW_NS,
            samples=replace(item.samples, time_delta=delta),
        )

    window = [placed(item, number, START_UNIX_NANO) for number, item in enumerate(items)]
    before = [placed(item, 100 + number, START_UNIX_NANO - WINDOW_NS) for number, item in enumerate(earlier)]
    windows = PartitionWindows("t", 0, WINDOW_NS, LATENESS)
    for offset, item in enumerate([*before, *window]):
        windows.add(Record(offset, START_UNIX_NANO + WINDOW_NS, encode_batch(item)))
    windows.add(tick(100, START_UNIX_NANO + WINDOW_NS + LATENESS))
    last = windows.take_closed()[-1]
    fresh = closed_profiles(window)
    assert [encode_batch(window_batch(part, "t")) for part in last.parts] == [
        encode_batch(window_batch(part, "t")) for part in fresh
    ]


def test_inlined_unresolved_and_empty_stacks_keep_their_frames() -> None:
    parts = closed_profiles([known_batch()])
    assert [part.profile.service for part in parts] == ["cart", "checkout"]
    frames = [
        [frame.function for frame in StackReader(window_batch(part, "t").tables).frames(row)]
        for part in parts
        for row in range(len(part.stacks))
    ]
    assert sorted(frames) == [
        [],
        ["inlined", "work", "main"],
        ["main"],
        ["vfs_read", "libc.so.6+0x1a2b", "main"],
    ]
    kinds = {frame.kind for part in parts for stack in part.stacks for loc in stack.locations for frame in loc.frames()}
    assert kinds == {FrameKind.NATIVE, FrameKind.KERNEL}
