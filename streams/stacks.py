"""Every stack content that a partition met, checked and taken apart once: strings and frames are touched only here.

Batches then speak of stacks by number, and windows put names, functions and call-tree nodes together from columns.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import chain

import numpy as np
from numpy.typing import NDArray

from flamebus.errors import BadDataError
from flamebus.frames import Location
from flamebus.profile import U32, U64, Tables
from flamebus.tables import StackReader
from streams.call_tree import ROOT, CallTree, FunctionKey
from streams.fingerprints import Fingerprints

MAX_BYTES = 64 * 1024 * 1024
"""Memory for the stacks of one partition beyond those of open windows: about 40,000 of 40 frames. A forgotten one is
taken apart again when it returns."""

_STACK_BYTES, _NODE_BYTES = 1_000, 150  # measured: columns, tuples and entries of dictionaries
_SLOTS_PER_STACK = 8
"""Of the table. At least so many: one content in sixteen or fewer shares its slot with another, and is looked up by
itself."""

_LEAST_GROWTH = 64
"""New contents that are looked up one by one before the table is made anew; or a sixteenth of all, if that is more."""

NO_STACK: FunctionKey = ("[no stack]", "", "native")
"""What a sample without frames counts for."""

Numbers = NDArray[np.int32]


@dataclass(frozen=True, slots=True, eq=False)
class KnownStack:
    """One content of a stack.

    Attributes:
        locations: leaf first; mappings without start, limit and offset, which belong to one process.
        functions: numbers of its distinct functions, the leaf's first, inlined ones included.
        nodes: numbers of its nodes in the call tree, root's callee first.
    """

    stack_id: int
    locations: tuple[Location, ...]
    functions: U32
    nodes: U32


class StackCatalogue:
    """Contents of stacks, each with a number, and the call tree that they share. One for all windows of a partition."""

    def __init__(self, fingerprints: Fingerprints | None = None) -> None:
        self._fingerprints = fingerprints or Fingerprints()
        self.known: list[KnownStack] = []
        self.tree = CallTree()
        self._names: dict[KnownStack, tuple[str, ...]] = {}
        # A table with a slot for a content, by the low bits of its fingerprint, is looked up in with whole columns.
        self._slot_prints = np.zeros(1, dtype=np.uint64)
        self._slot_numbers = np.full(1, -1, dtype=np.int32)
        self._rest: dict[int, int] = {}
        self._max_rest = _LEAST_GROWTH

    def __len__(self) -> int:
        return len(self.known)

    def size_bytes(self) -> int:
        """About how much memory it takes."""
        return len(self.known) * _STACK_BYTES + len(self.tree.node_id) * _NODE_BYTES

    def names(self, stack: KnownStack) -> tuple[str, ...]:
        """Names of its frames, leaf first; remembered, for the same stacks are the hottest in window after window."""
        found = self._names.get(stack)
        if found is None:
            locations = self.tree.node_location.values[stack.nodes[::-1]].tolist()
            found = tuple(chain.from_iterable(map(self.tree.names_at, locations))) or (NO_STACK[0],)
            self._names[stack] = found
        return found

    def learn(self, tables: Tables) -> Numbers:
        """Number of the content of each row of ``stacks``, shape ``(n_stacks,)``; new ones are checked and taken in.

        Raises:
            BadDataError: ``hash_mismatch``: an id is not the hash of its frames; nothing of the batch may count then.
        """
        prints = self._fingerprints.of_stacks(tables)
        numbers = self._find(prints)
        missing = np.flatnonzero(numbers < 0)
        if len(missing):
            self._meet(tables, missing.tolist(), prints)
            numbers[missing] = [self._rest[found] for found in prints[missing].tolist()]
            if len(self._rest) > self._max_rest:
                self._make_table()
        return numbers

    def _find(self, prints: U64) -> Numbers:
        """Their numbers, −1 for those that are not known."""
        slots = self._slots(prints)
        is_there = self._slot_prints.take(slots) == prints
        numbers = np.where(is_there, self._slot_numbers.take(slots), np.int32(-1))
        if self._rest:
            missing = np.flatnonzero(numbers < 0)
            numbers[missing] = [self._rest.get(wanted, -1) for wanted in prints.take(missing).tolist()]
        return numbers

    def _slots(self, prints: U64) -> NDArray[np.intp]:
        return (prints & np.uint64(len(self._slot_prints) - 1)).astype(np.intp)

    def _make_table(self) -> None:
        is_used = self._slot_numbers >= 0
        prints = np.concatenate((self._slot_prints[is_used], np.array(list(self._rest), dtype=np.uint64)))
        numbers = np.concatenate((self._slot_numbers[is_used], np.array(list(self._rest.values()), dtype=np.int32)))
        size = 1 << (_SLOTS_PER_STACK * len(prints)).bit_length()
        self._slot_prints, self._slot_numbers = np.zeros(size, np.uint64), np.full(size, -1, np.int32)
        slots = self._slots(prints)
        self._slot_prints[slots], self._slot_numbers[slots] = prints, numbers
        is_out = self._slot_numbers[slots] != numbers
        self._rest = dict(zip(prints[is_out].tolist(), numbers[is_out].tolist(), strict=True))
        self._max_rest = len(self._rest) + max(_LEAST_GROWTH, len(prints) // 16)

    def _meet(self, tables: Tables, rows: list[int], prints: U64) -> None:
        reader = StackReader(tables)
        numbers: dict[int, int] = {}
        met = []
        for row in rows:
            stack = self._dissected(reader.locations(row), numbers)
            claimed = int(tables.stacks.id[row])
            if claimed != stack.stack_id:
                raise BadDataError(
                    "hash_mismatch", f"stack {row} says id {claimed:#x}; its frames hash to {stack.stack_id:#x}"
                )
            met.append(stack)
        for row, stack in zip(rows, met, strict=True):
            # The same content may stand in two rows of one batch.
            number = self._rest.setdefault(int(prints[row]), len(self.known))
            if number == len(self.known):
                self.known.append(stack)

    def _dissected(self, locations: Sequence[Location], numbers: dict[int, int]) -> KnownStack:
        """The parts of a stack, its locations leaf first; ``numbers`` remembers locations by identity of the object."""
        tree = self.tree
        path = []
        for location in locations:
            number = numbers.get(id(location))
            if number is None:
                number = numbers[id(location)] = tree.location(location)
            path.append(number)
        functions = dict.fromkeys(chain.from_iterable(map(tree.functions_at, path)))
        nodes, node = [], ROOT
        for number in reversed(path):
            node = tree.node(node, number)
            nodes.append(node)
        return KnownStack(
            int(tree.node_id.values[node]),
            tuple(map(tree.location_of, path)),
            np.array(list(functions) or [tree.function_number(NO_STACK)], dtype=np.uint32),
            np.array(nodes, dtype=np.uint32),
        )

    def kept(self, needed: Iterable[int]) -> tuple["StackCatalogue", Numbers]:
        """A new catalogue with these contents only, and what each old number is called there (−1: not kept)."""
        smaller = StackCatalogue(self._fingerprints)
        numbers = np.full(len(self.known), -1, dtype=np.int32)
        remembered: dict[int, int] = {}
        prints = {number: wanted for wanted, number in self._prints()}
        for number in sorted(set(needed)):
            numbers[number] = smaller._rest[prints[number]] = len(smaller.known)
            smaller.known.append(smaller._dissected(self.known[number].locations, remembered))
        smaller._make_table()
        return smaller, numbers

    def _prints(self) -> Iterable[tuple[int, int]]:
        is_used = self._slot_numbers >= 0
        yield from zip(self._slot_prints[is_used].tolist(), self._slot_numbers[is_used].tolist(), strict=True)
        yield from self._rest.items()
