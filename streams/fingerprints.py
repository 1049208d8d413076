"""A number for the whole content of each stack of a batch, without touching a string or a frame in a loop.

Every stack of every batch has to be checked: one that is believed because its id was met before would be judged by what
a worker happens to remember, and two workers would disagree. A fingerprint says that this very content, under this
very id, was checked already. It is good inside one process only: strings go in by Python's own hash, whose key is
drawn at start, so nobody outside can make two contents collide.
"""

import numpy as np

from flamebus.profile import U32, U64, Locations, Tables

_TEXT, _PATH = np.uint64(0x9E3779B97F4A7C15), np.uint64(0xD6E8FEB86659FD93)
"""Odd factors: the golden ratio's and another of no pattern."""


def fingerprints(tables: Tables) -> U64:
    """Fingerprint of each row of ``stacks``, shape ``(n_stacks,)``: of its id, and of all that its locations say.

    Start and end of mappings are left out: they differ from process to process and are shown nowhere.
    """
    text = np.fromiter(map(hash, tables.strings), dtype=np.int64, count=len(tables.strings)).view(np.uint64)
    location = _locations(tables, text)
    nodes = tables.nodes
    value = np.zeros(len(nodes.parent), dtype=np.uint64)
    value[1:] = location[nodes.location[1:]]
    return _mix(_paths(value, nodes.parent)[tables.stacks.node] + tables.stacks.id * _TEXT)


def _locations(tables: Tables, text: U64) -> U64:
    functions, lines, locations = tables.functions, tables.lines, tables.locations
    function = _mix(text[functions.name] * _TEXT + text[functions.file])
    line = _mix(function[lines.function] * _TEXT + lines.line)
    mapping = _mix(text[tables.mappings.file] * _TEXT + text[tables.mappings.build_id])
    where = _mix(mapping[locations.mapping] * _TEXT + locations.address) * _TEXT + locations.frame_kind
    return _mix(where + _sums_of_ranges(line, locations))


def _sums_of_ranges(line: U64, locations: Locations) -> U64:
    """For each location the sum over its lines, each mixed with its place, so that order counts."""
    first = locations.first_line.astype(np.intp)
    if not len(first):
        return np.zeros(0, np.uint64)
    count = np.append(first[1:], len(line)) - first
    end = np.cumsum(count)
    place = np.arange(end[-1]) - np.repeat(end - count, count)
    mixed = _mix(line[first[0] :] + place.astype(np.uint64) * _PATH)
    before = np.concatenate((np.zeros(1, np.uint64), np.cumsum(mixed)))
    total: U64 = before[end] - before[end - count] + count.astype(np.uint64)
    return total


def _paths(value: U64, parent: U32) -> U64:
    """Polynomial over the nodes from each one up to the root, by doubling: 7 rounds cover 128 frames."""
    ancestor, factor = parent.astype(np.intp), _PATH
    with np.errstate(over="ignore"):
        while ancestor.any():
            value = value + factor * value[ancestor]
            ancestor, factor = ancestor[ancestor], factor * factor
    return value


def _mix(value: U64) -> U64:
    """The finaliser of splitmix64 (Steele, Lea and Flood, 2014): every bit of the input moves every bit."""
    value = (value ^ (value >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    value = (value ^ (value >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return value ^ (value >> np.uint64(31))
