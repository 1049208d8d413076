"""From what the kernel sent to rows of a dictionary: joins samples, stacks, processes and names.

A stack is resolved when it is first met in an address space and remembered there as one number under (user hash, kernel
hash), so that in steady state a sample costs one lookup.
"""

from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from flamebus.frames import Location
from producers import agent_metrics as metrics
from producers.batcher import ResolvedSamples
from producers.cpu import CpuDrain, unpacked
from producers.dictionary import Dictionary
from producers.image import Image

MAX_STACKS = 8_192
"""Address lists kept, about 2 MB: as many as the kernel remembers to have sent."""
MAX_KNOWN = 30_000
"""Addresses and pairs of stacks whose meaning is kept, at 100 to 250 bytes each."""


class Named(NamedTuple):
    """What an address means.

    Attributes:
        location: as well as is known now.
        is_final: whether it stays so; else it is asked for again at the next drain.
    """

    location: Location
    is_final: bool = True


class Host(Protocol):
    """Who runs on this host and what its addresses mean."""

    def image(self, tgid: int, boot_nano: int) -> Image:
        """What a process ran at a time."""
        ...

    def thread_name(self, image: Image, tid: int) -> str:
        """Name of a thread, empty when unknown."""
        ...

    def user_locations(self, image: Image, addresses: Sequence[int]) -> Sequence[Named]:
        """Locations of user addresses, in the same order."""
        ...

    def kernel_locations(self, addresses: Sequence[int]) -> Sequence[Named]:
        """Locations of kernel addresses, in the same order."""
        ...


@dataclass(slots=True)
class _Space:
    """What is known of one address space, in rows of the current dictionary.

    Attributes:
        rows: location of each address.
        nodes: leaf of each (user hash, kernel hash).
        passing: addresses whose location may be another at the next drain; passing_nodes: stacks with such.
    """

    rows: dict[int, int] = field(default_factory=dict)
    nodes: dict[tuple[int, int], int] = field(default_factory=dict)
    passing: set[int] = field(default_factory=set)
    passing_nodes: list[tuple[int, int]] = field(default_factory=list)

    def __len__(self) -> int:
        return len(self.rows) + len(self.nodes)

    def let_pass(self) -> None:
        """Forget what was true for one drain only."""
        for address in self.passing:
            del self.rows[address]
        for hashes in self.passing_nodes:
            self.nodes.pop(hashes, None)
        self.passing.clear()
        self.passing_nodes.clear()


class SampleResolver:
    """Resolves drains. ``forget`` makes the kernel send all stacks again; it is called when ours had to go."""

    def __init__(self, host: Host, period_ns: int, forget: Callable[[], None]) -> None:
        self._host, self._forget = host, forget
        self._period_us = round(period_ns / 1000)
        self._period_ns = period_ns
        self._stacks: dict[int, bytes] = {}
        self._older_stacks: dict[int, bytes] = {}
        self._older_drains_count = 0
        self._spaces: OrderedDict[int, _Space] = OrderedDict()
        self._kernel = _Space()
        self.dictionary = Dictionary()

    def resolve(self, drain: CpuDrain, boot_to_unix_ns: int) -> ResolvedSamples:
        """Samples of one drain as rows of the current dictionary.

        Args:
            drain: as it came.
            boot_to_unix_ns: what to add to the boot clock to get Unix time, ns.
        """
        self._make_room()
        self._stacks.update(drain.new_stacks)
        images: dict[int, tuple[Image, int]] = {}
        sampled: dict[int, _Space] = {}
        count = len(drain.tgid)
        node, resource, thread = (np.empty(count, dtype=np.uint32) for _ in range(3))
        columns = (drain.time_boot_nano, drain.tgid, drain.tid, drain.user_hash, drain.kernel_hash)
        for row, (when, tgid, tid, user, kernel) in enumerate(zip(*(c.tolist() for c in columns), strict=True)):
            found = images.get(tgid)
            if found is None or not found[0].covers(when):
                image = self._host.image(tgid, when)
                found = images[tgid] = (image, self.dictionary.resource(image.resource))
            image, resource[row] = found
            space = sampled.get(image.key)
            if space is None:
                space = sampled[image.key] = self._space(image.key)
            known = space.nodes.get((user, kernel))
            node[row] = self._meet(image, space, (user, kernel)) if known is None else known
            thread[row] = self.dictionary.thread(tid, self._host.thread_name(image, tid))
        for space in sampled.values():
            space.let_pass()
        metrics.NODES.set(len(self.dictionary.tree))
        time = drain.time_boot_nano.astype(np.int64) + boot_to_unix_ns
        return ResolvedSamples(self.dictionary, time, node, resource, thread, self._weights(drain.weight_us))

    def _space(self, key: int) -> _Space:
        """What is known of an address space, which now is the one used last."""
        space = self._spaces.get(key)
        if space is None:
            space = self._spaces[key] = _Space()
        else:
            self._spaces.move_to_end(key)
        return space

    def _weights(self, weight_us: NDArray[np.uint32]) -> NDArray[np.float32]:
        # The kernel rounds its period to µs: what rounds to ours is ours.
        exact = weight_us.astype(np.float64) * 1000 / self._period_ns
        return np.where(weight_us == self._period_us, 1.0, exact).astype(np.float32)

    def _make_room(self) -> None:
        if self.dictionary.is_full:
            self.dictionary = Dictionary()
            self._spaces.clear()
            self._kernel = _Space()
            metrics.GENERATIONS.inc()
        # Most spaces are of processes that have ended: nothing but time tells which.
        known = sum(map(len, self._spaces.values()))
        while known > MAX_KNOWN:
            known -= len(self._spaces.popitem(last=False)[1])
        self._older_drains_count += 1
        if self._older_drains_count > _GRACE_DRAINS:
            self._older_stacks = {}
        if len(self._stacks) > MAX_STACKS:
            # Samples taken before the kernel hears of it refer to stacks that it takes for known here.
            self._older_stacks, self._stacks, self._older_drains_count = self._stacks, {}, 0
            self._forget()

    def _addresses(self, stack_hash: int) -> list[int] | None:
        """What a hash stands for, ``None`` when the kernel could not send it; no stack has no addresses."""
        if not stack_hash:
            return []
        found = self._stacks.get(stack_hash)
        if found is None:
            found = self._older_stacks.get(stack_hash)
        if found is None:
            metrics.STACKS_UNKNOWN.inc()
            return None
        return unpacked(found)

    def _meet(self, image: Image, space: _Space, hashes: tuple[int, int]) -> int:
        """Node of a stack met for the first time. One whose addresses are missing is looked for again next time."""
        user, kernel = map(self._addresses, hashes)
        tree, node = self.dictionary.tree, 0
        if user is not None:
            rows = self._rows(space, user, lambda new: self._host.user_locations(image, new))
            node = tree.stack(reversed(rows), node)
            if not space.passing.isdisjoint(user):
                space.passing_nodes.append(hashes)
        if kernel is not None:
            node = tree.stack(reversed(self._rows(self._kernel, kernel, self._host.kernel_locations)), node)
        if user is not None and kernel is not None:
            space.nodes[hashes] = node
        return node

    def _rows(
        self, space: _Space, addresses: list[int], locate: Callable[[Sequence[int]], Sequence[Named]]
    ) -> list[int]:
        """Rows of locations of addresses, asking only for those not met before."""
        rows = space.rows
        new = [address for address in dict.fromkeys(addresses) if address not in rows]
        for address, named in zip(new, locate(new) if new else (), strict=True):
            rows[address] = self.dictionary.tree.location(named.location)
            if not named.is_final:
                space.passing.add(address)
        return [rows[address] for address in addresses]


_GRACE_DRAINS = 3
