"""Locations and call-tree nodes of many stacks as growing columns, so that windows select from them without a loop.

A number given here depends on what came before, so nothing that leaves a worker may depend on numbers: whoever selects
orders by content.
"""

from typing import Generic, TypeVar

import numpy as np
import xxhash
from numpy.typing import NDArray

from flamebus.frames import EMPTY_STACK_ID, Frame, Location, Mapping, extend_stack_id

ROOT = 0

FunctionKey = tuple[str, str, str]
"""Function, base name of its file, and frame kind."""


T = TypeVar("T", bound=np.generic)


class Column(Generic[T]):
    """A numpy column that grows at its end."""

    def __init__(self, dtype: type[T]) -> None:
        self._data: NDArray[T] = np.zeros(64, dtype=dtype)
        self._count = 0

    def __len__(self) -> int:
        return self._count

    def append(self, value: int) -> None:
        """Add one value."""
        if self._count == len(self._data):
            self._data = np.concatenate((self._data, np.zeros_like(self._data)))
        self._data[self._count] = value
        self._count += 1

    @property
    def values(self) -> NDArray[T]:
        """What it holds now; a view."""
        return self._data[: self._count]


class CallTree:
    """The columns.

    Attributes:
        strings: texts; ``mapping_…``, ``function_…``: rows of strings; ``line_function``: row of functions.
        location_content: hash of all that a location says; ``location_first_line``, ``location_line_count``: its lines.
        node_parent: caller's row, always smaller (row 0: the root); node_id: content hash of the stack that ends here;
            node_depth: frames up to the root, inlined ones included, which the id determines.
        function_keys: functions as hotspots know them, by number.
    """

    def __init__(self) -> None:
        self.strings: list[str] = []
        self.mapping_file, self.mapping_build_id = Column(np.uint32), Column(np.uint32)
        self.function_name, self.function_file = Column(np.uint32), Column(np.uint32)
        self.line_function, self.line_number = Column(np.uint32), Column(np.uint32)
        self.location_mapping, self.location_address = Column(np.uint32), Column(np.uint64)
        self.location_kind, self.location_content = Column(np.uint8), Column(np.uint64)
        self.location_first_line, self.location_line_count = Column(np.uint32), Column(np.uint32)
        self.node_parent, self.node_location = Column(np.uint32), Column(np.uint32)
        self.node_id, self.node_depth = Column(np.uint64), Column(np.uint32)
        self.function_keys: list[FunctionKey] = []
        self._locations: list[Location] = []
        self._identities: list[tuple[bytes, ...]] = []
        self._functions_at: list[tuple[int, ...]] = []
        self._names_at: list[tuple[str, ...]] = []
        self._location_numbers: dict[Location, int] = {}
        self._mapping_numbers: dict[Mapping, int] = {}
        self._symbol_numbers: dict[tuple[str, str], int] = {}
        self._function_numbers: dict[FunctionKey, int] = {}
        self._string_numbers: dict[str, int] = {}
        self._node_numbers: dict[int, int] = {}
        self._add_node(ROOT, 0, EMPTY_STACK_ID, 0)
        self._mapping(Mapping())

    def location(self, location: Location) -> int:
        """Number of a location; start, limit and offset of its mapping, which belong to one process, are left out."""
        mapping = Mapping(location.mapping.file, location.mapping.build_id)
        bare = Location(mapping, location.address, location.kind, location.lines)
        number = self._location_numbers.get(bare)
        if number is None:
            number = self._location_numbers[bare] = len(self._locations)
            self._add_location(bare)
        return number

    def location_of(self, number: int) -> Location:
        """The location with this number."""
        return self._locations[number]

    def functions_at(self, location: int) -> tuple[int, ...]:
        """Numbers of the functions at a location, innermost first."""
        return self._functions_at[location]

    def names_at(self, location: int) -> tuple[str, ...]:
        """Names of the functions at a location, innermost first."""
        return self._names_at[location]

    def node(self, caller: int, location: int) -> int:
        """Number of the node that calls ``location`` from ``caller``."""
        key = (caller << 32) | location
        number = self._node_numbers.get(key)
        if number is None:
            number = self._node_numbers[key] = len(self.node_id)
            identities = self._identities[location]
            stack_id = int(self.node_id.values[caller])
            for identity in identities:
                stack_id = extend_stack_id(stack_id, identity)
            self._add_node(caller, location, stack_id, int(self.node_depth.values[caller]) + len(identities))
        return number

    def function_number(self, key: FunctionKey) -> int:
        """Number of a function as hotspots know it."""
        number = self._function_numbers.setdefault(key, len(self.function_keys))
        if number == len(self.function_keys):
            self.function_keys.append(key)
        return number

    def _add_node(self, parent: int, location: int, stack_id: int, depth: int) -> None:
        self.node_parent.append(parent)
        self.node_location.append(location)
        self.node_id.append(stack_id)
        self.node_depth.append(depth)

    def _add_location(self, location: Location) -> None:
        frames = location.frames()
        self._locations.append(location)
        self._identities.append(tuple(frame.identity for frame in reversed(frames)))
        self._functions_at.append(tuple(self.function_number(_key(frame)) for frame in frames))
        self._names_at.append(tuple(frame.function for frame in frames))
        self.location_mapping.append(self._mapping(location.mapping))
        self.location_address.append(location.address)
        self.location_kind.append(location.kind)
        self.location_content.append(xxhash.xxh3_64_intdigest(repr(location).encode(errors="surrogatepass")))
        self.location_first_line.append(len(self.line_function))
        self.location_line_count.append(len(location.lines))
        for line in location.lines:
            self.line_function.append(self._function(line.function, line.file))
            self.line_number.append(line.line)

    def _mapping(self, mapping: Mapping) -> int:
        number = self._mapping_numbers.setdefault(mapping, len(self.mapping_file))
        if number == len(self.mapping_file):
            self.mapping_file.append(self._string(mapping.file))
            self.mapping_build_id.append(self._string(mapping.build_id))
        return number

    def _function(self, name: str, file: str) -> int:
        number = self._symbol_numbers.setdefault((name, file), len(self.function_name))
        if number == len(self.function_name):
            self.function_name.append(self._string(name))
            self.function_file.append(self._string(file))
        return number

    def _string(self, text: str) -> int:
        number = self._string_numbers.setdefault(text, len(self.strings))
        if number == len(self.strings):
            self.strings.append(text)
        return number


def _key(frame: Frame) -> FunctionKey:
    return frame.function, frame.mapping, frame.kind.label
