"""From what the kernel sent to rows of a dictionary: joins samples, stacks, processes and names.

A stack of a process is resolved when it is first met and remembered as one number under (process image, user hash,
kernel hash), so that in steady state a sample costs one lookup.
"""

from collections.abc import Callable, Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from flamebus.frames import Location
from producers import agent_metrics as metrics
from producers.batcher import ResolvedSamples
from producers.cpu import CpuDrain
from producers.dictionary import Dictionary
from producers.image import Image

MAX_STACKS = 20_000
"""Address lists kept, about 7 MB; the kernel remembers 16,384 of them as sent."""
MAX_KNOWN = 60_000
"""Resolved (image, stacks) combinations kept, about 12 MB."""


class Host(Protocol):
    """Who runs on this host and what its addresses mean."""

    def image(self, tgid: int, boot_nano: int) -> Image:
        """What a process ran at a time."""
        ...

    def thread_name(self, image: Image, tid: int) -> str:
        """Name of a thread, empty when unknown."""
        ...

    def user_locations(self, image: Image, addresses: Sequence[int]) -> Sequence[Location]:
        """Locations of user addresses, in the same order."""
        ...

    def kernel_locations(self, addresses: Sequence[int]) -> Sequence[Location]:
        """Locations of kernel addresses, in the same order."""
        ...


class SampleResolver:
    """Resolves drains. ``forget`` makes the kernel send all stacks again; it is called when ours had to go."""

    def __init__(self, host: Host, period_ns: int, forget: Callable[[], None]) -> None:
        self._host, self._forget = host, forget
        self._period_us = round(period_ns / 1000)
        self._period_ns = period_ns
        self._stacks: dict[int, NDArray[np.uint64]] = {}
        self._known: dict[tuple[int, int, int], int] = {}
        self._locations: dict[int, dict[int, int]] = {}
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
        count = len(drain.tgid)
        node, resource, thread = (np.empty(count, dtype=np.uint32) for _ in range(3))
        columns = (drain.time_boot_nano, drain.tgid, drain.tid, drain.user_hash, drain.kernel_hash)
        for row, (when, tgid, tid, user, kernel) in enumerate(zip(*(c.tolist() for c in columns), strict=True)):
            found = images.get(tgid)
            if found is None or not found[0].covers(when):
                image = self._host.image(tgid, when)
                found = images[tgid] = (image, self.dictionary.resource(image.resource))
            image, resource[row] = found
            key = (image.key, user, kernel)
            known = self._known.get(key)
            node[row] = self._meet(image, key) if known is None else known
            thread[row] = self.dictionary.thread(tid, self._host.thread_name(image, tid))
        metrics.NODES.set(len(self.dictionary.tree))
        time = drain.time_boot_nano.astype(np.int64) + boot_to_unix_ns
        return ResolvedSamples(self.dictionary, time, node, resource, thread, self._weights(drain.weight_us))

    def _weights(self, weight_us: NDArray[np.uint32]) -> NDArray[np.float32]:
        # The kernel rounds its period to µs: what rounds to ours is ours.
        exact = weight_us.astype(np.float64) * 1000 / self._period_ns
        return np.where(weight_us == self._period_us, 1.0, exact).astype(np.float32)

    def _make_room(self) -> None:
        if self.dictionary.is_full or len(self._known) > MAX_KNOWN:
            self.dictionary = Dictionary()
            self._known.clear()
            self._locations.clear()
            metrics.GENERATIONS.inc()
        if len(self._stacks) > MAX_STACKS:
            self._stacks.clear()
            self._forget()

    def _meet(self, image: Image, key: tuple[int, int, int]) -> int:
        """Node of a stack met for the first time. One whose addresses are missing is looked for again next time."""
        _, user_hash, kernel_hash = key
        user = self._stacks.get(user_hash) if user_hash else _NO_ADDRESSES
        kernel = self._stacks.get(kernel_hash) if kernel_hash else _NO_ADDRESSES
        tree, node = self.dictionary.tree, 0
        if user is not None:
            own = self._locations.setdefault(image.key, {})
            rows = self._rows(own, user.tolist(), lambda addresses: self._host.user_locations(image, addresses))
            node = tree.stack(reversed(rows), node)
        if kernel is not None:
            own = self._locations.setdefault(_KERNEL, {})
            node = tree.stack(reversed(self._rows(own, kernel.tolist(), self._host.kernel_locations)), node)
        if user is not None and kernel is not None:
            self._known[key] = node
        return node

    def _rows(
        self, own: dict[int, int], addresses: list[int], locate: Callable[[Sequence[int]], Sequence[Location]]
    ) -> list[int]:
        """Rows of locations of addresses, asking only for those not met before."""
        new = [address for address in dict.fromkeys(addresses) if address not in own]
        if new:
            location = self.dictionary.tree.location
            own.update(zip(new, map(location, locate(new)), strict=True))
        return [own[address] for address in addresses]


_KERNEL = -1
_NO_ADDRESSES = np.empty(0, dtype=np.uint64)
