"""From locations to tables and back: the builder that makes batches, and the reader that resolves their stacks."""

from collections.abc import Iterable, Sequence
from functools import lru_cache

import numpy as np

from flamebus.frames import EMPTY_STACK_ID, Frame, FrameKind, Line, Location, Mapping, extend_stack_id
from flamebus.profile import Functions, Lines, Locations, Mappings, Nodes, Resource, Stacks, Tables, Threads

_ROOT = 0


@lru_cache(maxsize=65_536)  # locations recur in every batch; 64 k of them cover a busy host in about 20 MB
def _identities(location: Location) -> tuple[bytes, ...]:
    """Identities of a location's frames, outermost (caller side) first: the order in which a stack id grows."""
    return tuple(frame.identity for frame in reversed(location.frames()))


class TablesBuilder:
    """Interns strings, functions, mappings, locations, call-tree nodes, stacks, resources and threads.

    One builder makes one batch. Rows come in order of first use, so the same calls give the same bytes.
    """

    def __init__(self) -> None:
        self._strings: dict[str, int] = {"": 0}
        self._functions: dict[tuple[str, str], int] = {}
        self._mappings: dict[Mapping, int] = {Mapping(): 0}
        self._locations: dict[Location, int] = {}
        self._rows_of_objects: dict[int, tuple[Location, int]] = {}
        self._lines: list[tuple[int, int]] = []
        self._first_line: list[int] = []
        self._nodes: dict[tuple[int, int], int] = {(_ROOT, _ROOT): _ROOT}
        self._node_ids: list[int] = [EMPTY_STACK_ID]
        self._stacks: dict[int, int] = {}
        self._resources: dict[Resource, int] = {}
        self._threads: dict[tuple[int, str], int] = {}

    def stack(self, locations: Sequence[Location]) -> int:
        """Row of the stack with these locations, leaf first."""
        node = _ROOT
        for location in reversed(locations):
            node = self._node(node, location)
        return self._stacks.setdefault(node, len(self._stacks))

    def resource(self, resource: Resource) -> int:
        """Row of this attribute map."""
        return self._resources.setdefault(resource, len(self._resources))

    def thread(self, tid: int, name: str) -> int:
        """Row of this thread."""
        self._string(name)
        return self._threads.setdefault((tid, name), len(self._threads))

    def stack_id(self, stack: int) -> int:
        """Content hash of the stack in row ``stack``; rows are dense, so this is for the rare reader."""
        return self._node_ids[list(self._stacks)[stack]]

    def _string(self, text: str) -> int:
        return self._strings.setdefault(text, len(self._strings))

    def _function(self, line: Line) -> int:
        self._string(line.function)
        self._string(line.file)
        return self._functions.setdefault((line.function, line.file), len(self._functions))

    def _location(self, location: Location) -> int:
        # Readers hand the same object again and again, and hashing one costs more than all else here. The object is
        # kept, so that its id stays its own.
        seen = self._rows_of_objects.get(id(location))
        if seen is not None:
            return seen[1]
        row = self._row_of(location)
        self._rows_of_objects[id(location)] = location, row
        return row

    def _row_of(self, location: Location) -> int:
        row = self._locations.get(location)
        if row is None:
            row = self._locations[location] = len(self._locations)
            if location.mapping not in self._mappings:
                self._mappings[location.mapping] = len(self._mappings)
                self._string(location.mapping.file)
                self._string(location.mapping.build_id)
            self._first_line.append(len(self._lines))
            self._lines.extend((self._function(line), line.line) for line in location.lines)
        return row

    def _node(self, parent: int, location: Location) -> int:
        # Row 0 of locations is a real one, so the key is shifted by one to keep it apart from the root's own entry.
        key = (parent, self._location(location) + 1)
        node = self._nodes.get(key)
        if node is None:
            node = self._nodes[key] = len(self._nodes)
            stack_id = self._node_ids[parent]
            for identity in _identities(location):
                stack_id = extend_stack_id(stack_id, identity)
            self._node_ids.append(stack_id)
        return node

    def build(self) -> Tables:
        """The tables as columns."""
        strings = self._strings
        mappings = list(self._mappings)
        locations = list(self._locations)
        node_keys = np.array(list(self._nodes), dtype=np.uint32).reshape(-1, 2)
        lines = np.array(self._lines, dtype=np.uint32).reshape(-1, 2)
        stack_nodes = list(self._stacks)
        node_location = node_keys[:, 1].copy()
        node_location[1:] -= 1
        return Tables(
            strings=tuple(strings),
            functions=Functions(
                _u32(strings[name] for name, _ in self._functions), _u32(strings[file] for _, file in self._functions)
            ),
            mappings=Mappings(
                _u32(strings[m.file] for m in mappings),
                _u32(strings[m.build_id] for m in mappings),
                np.array([m.start for m in mappings], dtype=np.uint64),
                np.array([m.limit for m in mappings], dtype=np.uint64),
                np.array([m.offset for m in mappings], dtype=np.uint64),
            ),
            locations=Locations(
                _u32(self._mappings[loc.mapping] for loc in locations),
                np.array([loc.address for loc in locations], dtype=np.uint64),
                np.array([loc.kind for loc in locations], dtype=np.uint8),
                np.array(self._first_line, dtype=np.uint32),
            ),
            lines=Lines(lines[:, 0].copy(), lines[:, 1].copy()),
            nodes=Nodes(node_keys[:, 0].copy(), node_location),
            stacks=Stacks(np.array([self._node_ids[node] for node in stack_nodes], dtype=np.uint64), _u32(stack_nodes)),
            resources=tuple(self._resources),
            threads=Threads(_u32(tid for tid, _ in self._threads), _u32(strings[name] for _, name in self._threads)),
        )


def _u32(values: Iterable[int]) -> np.ndarray[tuple[int], np.dtype[np.uint32]]:
    return np.fromiter(values, dtype=np.uint32)


class StackReader:
    """Resolves stacks of one batch's tables and recomputes their ids.

    Nothing is resolved before it is asked for: a stream asks only for stacks that it meets for the first time.
    """

    def __init__(self, tables: Tables) -> None:
        self._tables = tables
        self._location_cache: dict[int, Location] = {}
        self._node_ids: dict[int, int] = {_ROOT: EMPTY_STACK_ID}

    def locations(self, stack: int) -> tuple[Location, ...]:
        """Locations of the stack in row ``stack``, leaf first."""
        nodes = self._tables.nodes
        result = []
        node = int(self._tables.stacks.node[stack])
        while node != _ROOT:
            result.append(self._location(int(nodes.location[node])))
            node = int(nodes.parent[node])
        return tuple(result)

    def frames(self, stack: int) -> tuple[Frame, ...]:
        """Frames of the stack in row ``stack``, leaf first, inlined ones included."""
        return tuple(frame for location in self.locations(stack) for frame in location.frames())

    def stack_id(self, stack: int) -> int:
        """Content hash recomputed from the frames: what the batch's ``stacks.id`` must say.

        Callers are hashed once for all stacks that share them, so that a whole batch costs no more than its nodes.
        """
        nodes, ids = self._tables.nodes, self._node_ids
        node = int(self._tables.stacks.node[stack])
        unknown = []
        while node not in ids:
            unknown.append(node)
            node = int(nodes.parent[node])
        result = ids[node]
        for each in reversed(unknown):
            for identity in _identities(self._location(int(nodes.location[each]))):
                result = extend_stack_id(result, identity)
            ids[each] = result
        return result

    def _location(self, row: int) -> Location:
        location = self._location_cache.get(row)
        if location is None:
            location = self._location_cache[row] = self._read_location(row)
        return location

    def _read_location(self, row: int) -> Location:
        tables = self._tables
        first = tables.locations.first_line
        start = int(first[row])
        end = int(first[row + 1]) if row + 1 < len(first) else len(tables.lines.function)
        return Location(
            mapping=self._mapping(int(tables.locations.mapping[row])),
            address=int(tables.locations.address[row]),
            kind=FrameKind(int(tables.locations.frame_kind[row])),
            lines=tuple(self._line(line) for line in range(start, end)),
        )

    def _mapping(self, row: int) -> Mapping:
        mappings, strings = self._tables.mappings, self._tables.strings
        return Mapping(
            file=strings[mappings.file[row]],
            build_id=strings[mappings.build_id[row]],
            start=int(mappings.start[row]),
            limit=int(mappings.limit[row]),
            offset=int(mappings.offset[row]),
        )

    def _line(self, row: int) -> Line:
        tables = self._tables
        function = int(tables.lines.function[row])
        return Line(
            function=tables.strings[tables.functions.name[function]],
            file=tables.strings[tables.functions.file[function]],
            line=int(tables.lines.line[row]),
        )
