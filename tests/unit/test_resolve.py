"""From what the kernel sent to rows of a dictionary."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from flamebus.frames import Line, Location, Mapping
from producers import resolve
from producers.address_space import AddressSpace
from producers.cpu import CpuDrain
from producers.image import Image
from producers.resolve import Named, SampleResolver

if TYPE_CHECKING:
    from collections.abc import Sequence

    import pytest

    from producers.batcher import ResolvedSamples

PERIOD_NS = 10_101_010


class Table:
    """A host whose processes and names are written down; it notes what it is asked."""

    def __init__(self) -> None:
        self.images: dict[int, list[Image]] = {}
        self.asked: list[int] = []
        self.unsettled: set[int] = set()
        self.suffix = ""

    def add(self, tgid: int, key: int, service: str, since: int = 0) -> Image:
        images = self.images.setdefault(tgid, [])
        if images:
            images[-1].until_boot_nano = since
        images.append(Image(tgid, since, since, space=AddressSpace(key), resource=(("service.name", service),)))
        return images[-1]

    def image(self, tgid: int, boot_nano: int) -> Image:
        return next(each for each in reversed(self.images[tgid]) if each.since_boot_nano <= boot_nano)

    def thread_name(self, image: Image, tid: int) -> str:
        return f"{image.tgid}/{tid}"

    def user_locations(self, image: Image, addresses: Sequence[int]) -> Sequence[Named]:
        self.asked += addresses
        return [
            Named(
                Location(Mapping("/bin/x"), address, lines=(Line(f"k{image.key}f{address}{self.suffix}"),)),
                address not in self.unsettled,
            )
            for address in addresses
        ]

    def kernel_locations(self, addresses: Sequence[int]) -> Sequence[Named]:
        return [Named(Location(Mapping("[kernel]"), address)) for address in addresses]


def drain(rows: list[tuple[int, int, int, int]], stacks: dict[int, list[int]], weight_us: int = 10_101) -> CpuDrain:
    """Rows of boot time, tgid, user hash, kernel hash."""
    time, tgid, user, kernel = (np.array(column) for column in zip(*rows, strict=True))
    return CpuDrain(
        time_boot_nano=time.astype(np.uint64),
        tgid=tgid.astype(np.uint32),
        tid=tgid.astype(np.uint32),
        user_hash=user.astype(np.uint64),
        kernel_hash=kernel.astype(np.uint64),
        cpu=np.zeros(len(rows), np.uint16),
        flags=np.zeros(len(rows), np.uint16),
        weight_us=np.full(len(rows), weight_us, np.uint32),
        new_stacks={key: np.array(addresses, np.uint64).tobytes() for key, addresses in stacks.items()},
        losses={},
    )


def names(samples: ResolvedSamples) -> list[list[str]]:
    """Functions of each sample, leaf first."""
    batch = samples.dictionary.tree.cut(samples.node, (), [])
    from flamebus.tables import StackReader

    reader = StackReader(batch.tables)
    return [[frame.function for frame in reader.frames(row)] for row in batch.stacks.tolist()]


def test_user_frames_hang_below_kernel_frames_and_a_known_stack_is_not_asked_for_again() -> None:
    host = Table()
    host.add(1, 5, "a")
    resolver = SampleResolver(host, PERIOD_NS, lambda: None)
    first = resolver.resolve(drain([(1, 1, 10, 20), (2, 1, 10, 0)], {10: [7, 8], 20: [99]}), 1_000)
    assert names(first) == [["[kernel]+0x63", "k5f7", "k5f8"], ["k5f7", "k5f8"]]
    assert first.time_unix_nano.tolist() == [1_001, 1_002]
    assert host.asked == [7, 8]
    assert names(resolver.resolve(drain([(3, 1, 10, 20)], {}), 0)) == names(first)[:1]
    assert host.asked == [7, 8]


def test_one_hash_means_what_the_image_of_its_time_says() -> None:
    host = Table()
    host.add(1, 5, "before", since=0)
    host.add(1, 6, "after", since=10)
    resolver = SampleResolver(host, PERIOD_NS, lambda: None)
    samples = resolver.resolve(drain([(9, 1, 10, 0), (10, 1, 10, 0), (8, 1, 10, 0)], {10: [7]}), 0)
    assert names(samples) == [["k5f7"], ["k6f7"], ["k5f7"]]
    services = [samples.dictionary.services[row] for row in samples.resource.tolist()]
    assert services == ["before", "after", "before"]


def test_what_is_not_final_is_asked_for_at_the_next_drain() -> None:
    host = Table()
    host.add(1, 5, "a")
    host.unsettled = {7}
    resolver = SampleResolver(host, PERIOD_NS, lambda: None)
    resolver.resolve(drain([(1, 1, 10, 0), (2, 1, 10, 0), (2, 1, 11, 0)], {10: [7, 8], 11: [7, 9]}), 0)
    assert host.asked == [7, 8, 9]
    host.suffix, host.unsettled = "!", set()
    samples = resolver.resolve(drain([(3, 1, 10, 0), (3, 1, 11, 0)], {}), 0)
    assert names(samples) == [["k5f7!", "k5f8"], ["k5f7!", "k5f9"]]
    resolver.resolve(drain([(4, 1, 10, 0)], {}), 0)
    assert host.asked == [7, 8, 9, 7]


def test_a_sample_whose_addresses_got_lost_is_counted_and_named_once_they_come() -> None:
    host = Table()
    host.add(1, 5, "a")
    resolver = SampleResolver(host, PERIOD_NS, lambda: None)
    assert names(resolver.resolve(drain([(1, 1, 10, 20)], {20: [99]}), 0)) == [["[kernel]+0x63"]]
    assert names(resolver.resolve(drain([(1, 1, 10, 20)], {10: [7]}), 0)) == [["[kernel]+0x63", "k5f7"]]


def test_stacks_that_were_known_when_they_were_sampled_are_not_lost_with_the_old_ones(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(resolve, "MAX_STACKS", 2)
    host = Table()
    host.add(1, 5, "a")
    host.add(2, 6, "b")
    resolver = SampleResolver(host, PERIOD_NS, lambda: None)
    resolver.resolve(drain([(1, 1, 10, 0)], {10: [7], 11: [8], 12: [9]}), 0)
    assert names(resolver.resolve(drain([(2, 2, 10, 0)], {}), 0)) == [["k6f7"]], "cut off, yet still there"
    for _ in range(5):
        resolver.resolve(drain([(3, 1, 0, 0)], {}), 0)
    assert names(resolver.resolve(drain([(4, 2, 11, 0)], {}), 0)) == [[]]


def test_a_sample_of_another_period_weighs_accordingly() -> None:
    host = Table()
    host.add(1, 5, "a")
    resolver = SampleResolver(host, PERIOD_NS, lambda: None)
    assert resolver.resolve(drain([(1, 1, 0, 0)], {}), 0).weight.tolist() == [1.0]
    (weight,) = resolver.resolve(drain([(1, 1, 0, 0)], {}, weight_us=20_202), 0).weight.tolist()
    assert weight == np.float32(20_202_000 / PERIOD_NS)


def test_what_is_remembered_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resolve, "MAX_KNOWN", 100)
    monkeypatch.setattr(resolve, "MAX_STACKS", 50)
    host, forgotten = Table(), []
    resolver = SampleResolver(host, PERIOD_NS, lambda: forgotten.append(1))
    host.add(0, 0, "steady")
    for number in range(1, 200):
        host.add(number, number, "short")
        stacks = {number * 10: [number], number * 10 + 1: [number + 1]}
        if number in {1, 199}:
            stacks[5] = [9_999]
        rows = [(1, 0, 5, 0), (1, number, number * 10, 0), (1, number, number * 10 + 1, 0)]
        resolver.resolve(drain(rows, stacks), 0)
    assert host.asked.count(9_999) == 1, "what is sampled all the time is not forgotten"
    assert forgotten, "the kernel is told to send stacks again"
    assert len(resolver._spaces) <= 26
