"""Every stack that this agent has met, as one call tree over interned tables: in steady state no string is touched.

A sample's stack is a node's row, so that a batch is cut out of the tree by index arithmetic on whole columns. The tree
only grows; its owner starts a new one when it is full (:class:`producers.dictionary.Dictionary`).
"""

from array import array
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from flamebus.frames import EMPTY_STACK_ID, Location, Mapping, extend_stack_id
from flamebus.profile import U32, Functions, Lines, Locations, Mappings, Nodes, Resource, Stacks, Tables, Threads

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
    """Interns strings, functions, mappings, locations and call-tree nodes; rows are given in order of first use.

    What a batch needs lies in arrays, so that cutting one costs what the batch is large, not what the tree is.
    """

    def __init__(self) -> None:
        self._strings: dict[str, int] = {"": 0}
        self._texts = [""]
        self._functions: dict[tuple[int, int], int] = {}
        self._function_name, self._function_file = array("I"), array("I")
        self._mappings: dict[Mapping, int] = {}
        self._mapping_file, self._mapping_build_id = array("I"), array("I")
        self._mapping_numbers = array("Q")
        self._locations: dict[Location, int] = {}
        self._identities: list[tuple[bytes, ...]] = []
        self._nodes: dict[int, int] = {}
        self._parent, self._location, self._id = array("I", [ROOT]), array("I", [0]), array("Q", [EMPTY_STACK_ID])
        self._location_mapping, self._location_address = array("I"), array("Q")
        self._location_kind, self._first_line = array("B"), array("I", [0])
        self._line_function, self._line_number = array("I"), array("I")
        self.string_bytes = 0
        """Characters of all strings; about what they hold in memory beside 100 bytes each."""
        self._mapping(Mapping())

    def __len__(self) -> int:
        """Nodes in the tree: what most of its memory goes with, at about 150 bytes each."""
        return len(self._parent)

    def location(self, location: Location) -> int:
        """Row of a location; one that has lines is known by them, and loses its address: see ``frames.Location``."""
        if location.lines and location.address:
            location = replace(location, address=0)
        row = self._locations.get(location)
        if row is None:
            row = self._locations[location] = len(self._locations)
            self._location_mapping.append(self._mapping(location.mapping))
            self._location_address.append(location.address)
            self._location_kind.append(location.kind)
            for line in location.lines:
                self._line_function.append(self._function(self.string(line.function), self.string(line.file)))
                self._line_number.append(line.line)
            self._first_line.append(len(self._line_function))
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
            row = self._strings[text] = len(self._texts)
            self._texts.append(text)
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
        row = self._functions.get((name, file))
        if row is None:
            row = self._functions[name, file] = len(self._functions)
            self._function_name.append(name)
            self._function_file.append(file)
        return row

    def _mapping(self, mapping: Mapping) -> int:
        row = self._mappings.get(mapping)
        if row is None:
            row = self._mappings[mapping] = len(self._mappings)
            self._mapping_file.append(self.string(mapping.file))
            self._mapping_build_id.append(self.string(mapping.build_id))
            self._mapping_numbers.extend((mapping.start, mapping.limit, mapping.offset))
        return row

    def cut(self, leaves: U32, resources: tuple[Resource, ...], threads: list[tuple[int, str]]) -> Branches:
        """Tables that hold the stacks of ``leaves`` and no more, rows in the order that compresses best.

        Nodes come depth first, everything else in order of its first use by them.

        Args:
            leaves: nodes in any order, with repetitions, shape ``(n_samples,)``.
            resources: put into the tables as they are.
            threads: the same; a thread is its id and name.
        """
        wanted, stacks = np.unique(leaves, return_inverse=True)
        nodes = _with_callers(wanted, self._parent)
        callers = np.searchsorted(nodes, _pick(self._parent, nodes))
        place = _depth_first(callers)
        order = np.argsort(place)
        leaf = place[np.searchsorted(nodes, wanted)]
        by_leaf = np.argsort(leaf)
        locations, node_location = by_first_use(_pick(self._location, nodes[order[1:]]))
        tables = self._tables(locations, [self.string(name) for _, name in threads])
        return Branches(
            replace(
                tables,
                nodes=Nodes(
                    place[callers[order]].astype(np.uint32), np.concatenate(([0], node_location)).astype(np.uint32)
                ),
                stacks=Stacks(_pick(self._id, wanted[by_leaf]), leaf[by_leaf].astype(np.uint32)),
                resources=resources,
                threads=replace(tables.threads, tid=np.array([tid for tid, _ in threads], dtype=np.uint32)),
            ),
            np.argsort(by_leaf)[stacks].astype(np.uint32),
        )

    def _tables(self, rows: Rows, thread_names: list[int]) -> Tables:
        """Tables of some locations and of strings that threads are named by; the rest is left empty."""
        lines, first_line = self._lines_of(rows)
        functions, line_function = by_first_use(_pick(self._line_function, lines))
        mappings, mapping = by_first_use(np.concatenate(([0], _pick(self._location_mapping, rows))))
        columns = (
            _pick(self._function_name, functions),
            _pick(self._function_file, functions),
            _pick(self._mapping_file, mappings),
            _pick(self._mapping_build_id, mappings),
            np.array(thread_names, dtype=np.uint32),
        )
        strings, string = by_first_use(np.concatenate((np.zeros(1, np.uint32), *columns)))
        ends = np.cumsum([1, *map(len, columns)])[:-1]
        _, name, file, mapping_file, build_id, thread_name = np.split(string, ends)
        start, limit, offset = np.frombuffer(self._mapping_numbers, np.uint64).reshape(-1, 3)[mappings].T.copy()
        return Tables(
            strings=tuple([self._texts[row] for row in strings.tolist()]),
            functions=Functions(name, file),
            mappings=Mappings(mapping_file, build_id, start, limit, offset),
            locations=Locations(
                mapping[1:], _pick(self._location_address, rows), _pick(self._location_kind, rows), first_line
            ),
            lines=Lines(line_function, _pick(self._line_number, lines)),
            nodes=Nodes(_NONE, _NONE),
            stacks=Stacks(_NONE.astype(np.uint64), _NONE),
            resources=(),
            threads=Threads(_NONE, thread_name),
        )

    def _lines_of(self, locations: Rows) -> tuple[Rows, U32]:
        """Rows of lines of these locations, one after another, and the place of each location's first."""
        first, end = _pick(self._first_line, locations).astype(np.intp), _pick(self._first_line, locations + 1)
        count = end - first
        place = np.cumsum(count) - count
        return np.repeat(first - place, count) + np.arange(int(count.sum())), place.astype(np.uint32)


_NONE = np.empty(0, dtype=np.uint32)


def _pick(column: "array[int]", rows: NDArray[np.integer]) -> Any:
    """Some elements of a growing column, in the column's own type."""
    return np.frombuffer(column, dtype=column.typecode)[rows]  # the view goes at once: while it is, none can grow


def by_first_use(rows: Rows | U32) -> tuple[Rows, U32]:
    """The different rows in order of their first use, and the column over those alone; nothing is sorted."""
    size = int(rows.max()) + 1 if len(rows) else 0
    first = np.empty(size, dtype=np.intp)
    first[rows[::-1]] = np.arange(len(rows))[::-1]  # of several writes to a place the last one stays
    kept = rows[first[rows] == np.arange(len(rows))].astype(np.intp)
    number = np.empty(size, dtype=np.uint32)
    number[kept] = np.arange(len(kept), dtype=np.uint32)
    return kept, number[rows]


def _depth_first(callers: Rows) -> Rows:
    """Place of each node when all below a node come right behind it, a node's callees in order of their rows.

    Chains of calls then count up by one in several columns at once, which compresses to next to nothing.
    """
    parent = callers.tolist()
    size = [1] * len(parent)
    for node in range(len(parent) - 1, 0, -1):
        size[parent[node]] += size[node]
    place, free = [0] * len(parent), [1] * len(parent)
    for node in range(1, len(parent)):
        caller = parent[node]
        place[node] = free[caller]
        free[node] = free[caller] + 1
        free[caller] += size[node]
    return np.array(place, dtype=np.intp)


def _with_callers(leaves: U32, parent: "array[int]") -> Rows:
    """Rows of ``leaves`` and all their callers, the root included, ascending: a caller always comes before."""
    needed = {ROOT}
    for leaf in leaves.tolist():
        node = leaf
        while node not in needed:
            needed.add(node)
            node = parent[node]
    return np.array(sorted(needed), dtype=np.intp)
