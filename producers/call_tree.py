"""Every stack that this agent has met, as one call tree over interned tables: in steady state no string is touched.

A sample's stack is a node's row, so that a batch is cut out of the tree by index arithmetic on whole columns. The tree
only grows; its owner starts a new one when it is full (:class:`producers.dictionary.Dictionary`).
"""

from array import array
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from flamebus.frames import EMPTY_STACK_ID, Location, Mapping, extend_stack_id
from flamebus.profile import U32, U64, Functions, Lines, Locations, Mappings, Nodes, Resource, Stacks, Tables, Threads

ROOT = 0

Rows = NDArray[np.intp]


@dataclass(frozen=True, slots=True)
class Branches:
    """The part of a tree that some stacks need, with rows of its own, shape as in :class:`flamebus.profile.Tables`.

    Attributes:
        tables: everything but resources and threads.
        stacks: for each node asked for, its row of ``tables.stacks``.
    """

    tables: Tables
    stacks: U32


class CallTree:
    """Interns strings, functions, mappings, locations and call-tree nodes; rows are given in order of first use."""

    def __init__(self) -> None:
        self._strings: dict[str, int] = {"": 0}
        self._functions: dict[tuple[int, int], int] = {}
        self._mappings: dict[Mapping, int] = {Mapping(): 0}
        self._locations: dict[Location, int] = {}
        self._identities: list[tuple[bytes, ...]] = []
        self._nodes: dict[int, int] = {}
        self._parent, self._location, self._id = array("I", [ROOT]), array("I", [0]), array("Q", [EMPTY_STACK_ID])
        self._location_mapping, self._location_address = array("I"), array("Q")
        self._location_kind, self._first_line = array("B"), array("I")
        self._line_function, self._line_number = array("I"), array("I")
        self.string_bytes = 0
        """Characters of all strings; about what they hold in memory beside 100 bytes each."""

    def __len__(self) -> int:
        """Nodes in the tree: what most of its memory goes with, at about 150 bytes each."""
        return len(self._parent)

    def location(self, location: Location) -> int:
        """Row of a location."""
        row = self._locations.get(location)
        if row is None:
            row = self._locations[location] = len(self._locations)
            self._location_mapping.append(self._mapping(location.mapping))
            self._location_address.append(location.address)
            self._location_kind.append(location.kind)
            self._first_line.append(len(self._line_function))
            for line in location.lines:
                self._line_function.append(self._function(self.string(line.function), self.string(line.file)))
                self._line_number.append(line.line)
            self._identities.append(tuple(frame.identity for frame in reversed(location.frames())))
        return row

    def stack(self, locations: Iterable[int], caller: int = ROOT) -> int:
        """Node of the stack with these rows of locations, **root first**, below the node ``caller``."""
        node, nodes = caller, self._nodes
        for location in locations:
            key = node << 32 | location
            child = nodes.get(key)
            node = self._grow(key, node, location) if child is None else child
        return node

    def string(self, text: str) -> int:
        """Row of a string."""
        row = self._strings.get(text)
        if row is None:
            row = self._strings[text] = len(self._strings)
            self.string_bytes += len(text)
        return row

    def _grow(self, key: int, parent: int, location: int) -> int:
        node = self._nodes[key] = len(self._parent)
        stack_id = self._id[parent]
        for identity in self._identities[location]:
            stack_id = extend_stack_id(stack_id, identity)
        self._parent.append(parent)
        self._location.append(location)
        self._id.append(stack_id)
        return node

    def _function(self, name: int, file: int) -> int:
        return self._functions.setdefault((name, file), len(self._functions))

    def _mapping(self, mapping: Mapping) -> int:
        self.string(mapping.file)
        self.string(mapping.build_id)
        return self._mappings.setdefault(mapping, len(self._mappings))

    def cut(self, leaves: U32, resources: tuple[Resource, ...], threads: list[tuple[int, str]]) -> Branches:
        """Tables that hold the stacks of ``leaves`` and no more.

        Args:
            leaves: nodes in any order, with repetitions, shape ``(n_samples,)``.
            resources: put into the tables as they are.
            threads: the same; a thread is its id and name.
        """
        wanted, stacks = np.unique(leaves, return_inverse=True)
        parent = np.array(self._parent, dtype=np.uint32)
        nodes = _with_callers(wanted, parent)
        cut = _Cut(self)
        location, node_location = np.unique(np.array(self._location, np.uint32)[nodes[1:]], return_inverse=True)
        locations, lines = cut.locations(location.astype(np.intp))
        functions, mappings = cut.functions(lines), cut.mappings(locations)
        names = cut.strings([name for _, name in threads])
        tables = Tables(
            functions=functions[0],
            mappings=mappings[0],
            locations=Locations(mappings[1], locations.address, locations.frame_kind, locations.first_line),
            lines=Lines(functions[1], lines.line),
            nodes=Nodes(
                np.searchsorted(nodes, parent[nodes]).astype(np.uint32),
                np.concatenate(([0], node_location)).astype(np.uint32),
            ),
            stacks=Stacks(
                np.array(self._id, dtype=np.uint64)[wanted], np.searchsorted(nodes, wanted).astype(np.uint32)
            ),
            resources=resources,
            threads=Threads(np.array([tid for tid, _ in threads], dtype=np.uint32), names),
            strings=cut.texts(),
        )
        return Branches(tables, stacks.astype(np.uint32))


def _with_callers(leaves: U32, parent: U32) -> Rows:
    """Rows of ``leaves`` and all their callers, the root included, ascending: a caller always comes before."""
    needed = np.zeros(len(parent), dtype=bool)
    needed[ROOT] = True
    frontier = leaves
    while len(frontier):
        frontier = frontier[~needed[frontier]]
        needed[frontier] = True
        frontier = parent[frontier]
    return np.flatnonzero(needed)


class _Cut:
    """Gives rows of its own to the strings that one batch needs, in order of first use."""

    def __init__(self, tree: CallTree) -> None:
        self._tree = tree
        self._all_texts = list(tree._strings)
        self._texts: dict[str, int] = {"": 0}

    def texts(self) -> tuple[str, ...]:
        return tuple(self._texts)

    def strings(self, texts: Iterable[str]) -> U32:
        """Rows of texts."""
        rows = self._texts
        return np.fromiter((rows.setdefault(text, len(rows)) for text in texts), dtype=np.uint32)

    def _strings_of(self, rows: Iterable[int]) -> U32:
        return self.strings(self._all_texts[row] for row in rows)

    def locations(self, rows: Rows) -> tuple[Locations, Lines]:
        """Locations whose mapping, and lines whose function, are still rows of the tree."""
        tree = self._tree
        first = np.array([*tree._first_line, len(tree._line_function)], dtype=np.int64)
        count = first[rows + 1] - first[rows]
        first_line = np.cumsum(count) - count
        line = np.repeat(first[rows] - first_line, count) + np.arange(int(count.sum()))
        return (
            Locations(
                np.array(tree._location_mapping, dtype=np.uint32)[rows],
                np.array(tree._location_address, dtype=np.uint64)[rows],
                np.array(tree._location_kind, dtype=np.uint8)[rows],
                first_line.astype(np.uint32),
            ),
            Lines(
                np.array(tree._line_function, dtype=np.uint32)[line],
                np.array(tree._line_number, dtype=np.uint32)[line],
            ),
        )

    def functions(self, lines: Lines) -> tuple[Functions, U32]:
        """The functions that lines name, and the new row of each line's."""
        used, function = np.unique(lines.function, return_inverse=True)
        every = list(self._tree._functions)
        names = self._strings_of(every[row][0] for row in used.tolist())
        files = self._strings_of(every[row][1] for row in used.tolist())
        return Functions(names, files), function.astype(np.uint32)

    def mappings(self, locations: Locations) -> tuple[Mappings, U32]:
        """The mappings that locations lie in, row 0 being "none", and the new row of each location's."""
        used, mapping = np.unique(np.concatenate(([0], locations.mapping)), return_inverse=True)
        every = list(self._tree._mappings)
        kept = [every[row] for row in used.tolist()]
        files, build_ids = self.strings(m.file for m in kept), self.strings(m.build_id for m in kept)
        numbers: U64 = np.array([(m.start, m.limit, m.offset) for m in kept], dtype=np.uint64)
        start, limit, offset = (column.copy() for column in numbers.T)
        return Mappings(files, build_ids, start, limit, offset), mapping[1:].astype(np.uint32)
