"""A number for the whole content of each stack of a batch, without touching a string or a frame in a loop.

Every stack of every batch has to be checked: one that is believed because its id was met before would be judged by what
a worker happens to remember, and two workers would disagree. A fingerprint says that this very content, under this
very id, was checked already.

It is good inside one process only. Strings go in by Python's own hash, whose key is drawn at start; everything else is
multiplied with random odd numbers (multilinear hashing: Carter and Wegman, 1979; Lemire and Kaser, 2014), so nobody
outside can make two contents collide.
"""

import secrets

import numpy as np
from numpy.typing import NDArray

from flamebus.profile import U64, Locations, Tables


def _factors(count: int) -> list[np.uint64]:
    return [np.uint64(secrets.randbits(64) | 1) for _ in range(count)]


class Fingerprints:
    """Fingerprints under one set of random factors."""

    def __init__(self) -> None:
        self._name, self._file, self._line, self._place, self._count = _factors(5)
        self._mapping_file, self._build_id, self._address, self._kind = _factors(4)
        self._path, self._id = _factors(2)

    def of_stacks(self, tables: Tables) -> U64:
        """Fingerprint of each row of ``stacks``, shape ``(n_stacks,)``: of its id, and of all that its locations say.

        Start and end of mappings are left out: they differ from process to process and are shown nowhere.
        """
        text = np.fromiter(map(hash, tables.strings), dtype=np.int64, count=len(tables.strings)).view(np.uint64)
        nodes = tables.nodes
        value = np.zeros(len(nodes.parent), dtype=np.uint64)
        value[1:] = self._locations(tables, text).take(nodes.location[1:])
        path = self._paths(value, nodes.parent.astype(np.intp))
        return _mix(path.take(tables.stacks.node) + tables.stacks.id * self._id)

    def _locations(self, tables: Tables, text: U64) -> U64:
        functions, mappings, locations = tables.functions, tables.mappings, tables.locations
        function = text.take(functions.name) * self._name + text.take(functions.file) * self._file
        line = function.take(tables.lines.function) + tables.lines.line * self._line
        mapping = text.take(mappings.file) * self._mapping_file + text.take(mappings.build_id) * self._build_id
        where = mapping.take(locations.mapping) + locations.address * self._address + locations.frame_kind * self._kind
        return _mix(where + self._sums_of_ranges(line, locations))

    def _sums_of_ranges(self, line: U64, locations: Locations) -> U64:
        """For each location the sum over its lines, each mixed with its place, so that order counts."""
        first = locations.first_line
        if not len(first):
            return np.zeros(0, np.uint64)
        if len(line) == len(first) and int(first[-1]) == len(line) - 1 and bool((first[1:] > first[:-1]).all()):
            return _mix(line) + self._count  # one line each, as nearly always
        begin = first.astype(np.intp)
        count = np.append(begin[1:], len(line)) - begin
        end = np.cumsum(count)
        place = np.arange(end[-1]) - np.repeat(end - count, count)
        mixed = _mix(line[begin[0] :] + place.astype(np.uint64) * self._place)
        before = np.concatenate((np.zeros(1, np.uint64), np.cumsum(mixed)))
        total: U64 = before[end] - before[end - count] + count.astype(np.uint64) * self._count
        return total

    def _paths(self, value: U64, ancestor: NDArray[np.intp]) -> U64:
        """Polynomial over the nodes from each one up to the root, by doubling: 7 rounds cover 128 frames."""
        factor = self._path
        with np.errstate(over="ignore"):
            while np.count_nonzero(ancestor):
                further = value.take(ancestor)
                further *= factor
                value = further + value
                ancestor, factor = ancestor.take(ancestor), factor * factor
        return value


def _mix(value: U64) -> U64:
    """The finaliser of splitmix64 (Steele, Lea and Flood, 2014): every bit of the input moves every bit."""
    value = value ^ (value >> _30)
    value *= _FIRST
    value ^= value >> _27
    value *= _SECOND
    value ^= value >> _31
    return value


_27, _30, _31 = (np.uint64(bits) for bits in (27, 30, 31))
_FIRST, _SECOND = np.uint64(0xBF58476D1CE4E5B9), np.uint64(0x94D049BB133111EB)
