"""Tables of a window's batch, selected from the catalogue's columns; the order of rows depends on content alone."""

import numpy as np
from numpy.typing import NDArray

from flamebus.profile import (
    U32,
    Functions,
    Lines,
    Locations,
    Mappings,
    Nodes,
    Stacks,
    Tables,
    Threads,
)
from streams.call_tree import ROOT, CallTree
from streams.closed import ClosedProfile

_NO_MAPPING = 0
_ONE_ZERO = np.zeros(1, dtype=np.uint32)

Rows = NDArray[np.unsignedinteger]


def window_tables(closed: ClosedProfile) -> Tables:
    """Tables with the profile's stacks and resources in its own order, and one thread without a name."""
    tree = closed.catalogue.tree
    paths = np.concatenate([_ONE_ZERO, *(stack.nodes for stack in closed.stacks)])
    nodes = _in_order(tree, paths)
    parent, location_column = tree.node_parent.values, tree.node_location.values
    locations, location = _renumbered(location_column[nodes[1:]])
    lengths = np.fromiter((len(stack.nodes) for stack in closed.stacks), np.intp, len(closed.stacks))
    leaves = np.where(lengths > 0, paths[np.cumsum(lengths)], ROOT)
    row_of = _inverse(nodes, len(parent))
    strings, functions, mappings, location_columns, lines = _frames(tree, locations)
    return Tables(
        strings=strings,
        functions=functions,
        mappings=mappings,
        locations=location_columns,
        lines=lines,
        nodes=Nodes(row_of[parent[nodes]], np.concatenate((_ONE_ZERO, location))),
        stacks=Stacks(np.array([stack.stack_id for stack in closed.stacks], dtype=np.uint64), row_of[leaves]),
        resources=closed.profile.resources,
        threads=Threads(_ONE_ZERO, _ONE_ZERO),
    )


def _in_order(tree: CallTree, paths: U32) -> NDArray[np.intp]:
    """The distinct nodes of these paths: the root, then by depth, so that callers come first."""
    is_used = np.zeros(len(tree.node_id), dtype=np.bool_)
    is_used[paths] = True
    nodes = np.flatnonzero(is_used)
    nodes = nodes[np.argsort(tree.node_id.values[nodes])]
    depth = tree.node_depth.values[nodes]
    if depth.max() < 2**16:  # as always; 16-bit numbers are sorted by radix, many times faster
        nodes = nodes[np.argsort(depth.astype(np.uint16), kind="stable")]
        ids = tree.node_id.values[nodes]
        if not (ids[1:] == ids[:-1]).any():
            return nodes
    # The same frames at other addresses or lines: rare, and only content may decide which comes first.
    content = tree.location_content.values[tree.node_location.values[nodes]]
    return nodes[np.lexsort((content, tree.node_id.values[nodes], tree.node_depth.values[nodes]))]


def _frames(tree: CallTree, locations: Rows) -> tuple[tuple[str, ...], Functions, Mappings, Locations, Lines]:
    """Columns of these locations, in this order, and of what they refer to."""
    counts = tree.location_line_count.values[locations].astype(np.intp)
    ends = np.cumsum(counts)
    begins = ends - counts
    lines = np.arange(counts.sum()) + np.repeat(
        tree.location_first_line.values[locations].astype(np.intp) - begins, counts
    )
    functions, line_function = _renumbered(tree.line_function.values[lines])
    mappings, mapping = _renumbered(np.concatenate((_ONE_ZERO, tree.location_mapping.values[locations])))
    columns = (
        tree.function_name.values[functions],
        tree.function_file.values[functions],
        tree.mapping_file.values[mappings],
        tree.mapping_build_id.values[mappings],
    )
    strings, numbers = _renumbered(np.concatenate((_ONE_ZERO, *columns)))
    name, file, mapping_file, build_id = np.split(numbers[1:], np.cumsum([len(column) for column in columns[:-1]]))
    nothing = np.zeros(len(mappings), dtype=np.uint64)
    return (
        tuple(tree.strings[number] for number in strings.tolist()),
        Functions(name, file),
        Mappings(mapping_file, build_id, nothing, nothing, nothing),
        Locations(
            mapping[1:],
            tree.location_address.values[locations],
            tree.location_kind.values[locations],
            begins.astype(np.uint32),
        ),
        Lines(line_function, tree.line_number.values[lines]),
    )


def _renumbered(column: Rows) -> tuple[Rows, U32]:
    """Distinct values in order of first use, and the column with each value replaced by its place among them."""
    distinct, first, inverse = np.unique(column, return_index=True, return_inverse=True)
    order = np.argsort(first)
    place = np.empty(len(order), dtype=np.uint32)
    place[order] = np.arange(len(order), dtype=np.uint32)
    return distinct[order], place[inverse]


def _inverse(nodes: NDArray[np.intp], size: int) -> U32:
    """New row of each node's number; of nodes that are not there, anything."""
    row_of = np.zeros(size, dtype=np.uint32)
    row_of[nodes] = np.arange(len(nodes), dtype=np.uint32)
    return row_of
