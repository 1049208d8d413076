"""The rules that a decoded batch has to keep, checked on whole columns."""

from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from flamebus.errors import BadDataError
from flamebus.frames import FrameKind
from flamebus.profile import TIME_DELTA_UNIT_NS, U32, SampleBatch, Samples, Tables

Column = NDArray[np.unsignedinteger] | NDArray[np.integer] | NDArray[np.floating]

MAX_TOTAL = 2**53
"""Largest total of a batch, and largest loss: float64 adds whole numbers exactly up to here, which is 104 days of CPU
in nanoseconds; and a thousand such batches still fit the int64 that windows end up in."""
MAX_DURATION_NS = 24 * 3600 * 10**9
"""Longest batch. A record that spans years would open a window for each ten seconds of them."""
MAX_STACK_FRAMES = 4_000_000
"""Locations of all stacks of a batch together: 32 MB when they are written out, and a second's walk. A call tree of a
megabyte can describe a billion; 8,000 stacks of 127 frames, more than a record of 500 KB holds, make a million."""

_IS_FRAME_KIND = np.isin(np.arange(256), [kind.value for kind in FrameKind])


def check_batch(batch: SampleBatch) -> None:
    """Check every reference, length and range of a batch.

    Raises:
        BadDataError: with the first rule that is broken as its reason.
    """
    start, end = batch.start_unix_nano, batch.end_unix_nano
    if not start < end <= start + MAX_DURATION_NS:
        raise BadDataError("bad_time", f"[{start}, {end}) is not a range of at most {MAX_DURATION_NS} ns")
    for loss in batch.losses:
        if max(loss.samples, loss.value) > MAX_TOTAL:
            raise BadDataError("overflow", f"a loss passes 2**53: {loss.samples} samples, value {loss.value}")
    check_tables(batch.tables)
    check_samples(batch)


def check_tables(tables: Tables) -> None:
    """Check that the tables' columns agree in length and refer only to rows that exist.

    Raises:
        BadDataError: ``bad_length``, ``bad_reference`` or ``bad_tree``.
    """
    t = tables
    if not t.strings or t.strings[0]:
        raise BadDataError("bad_reference", "row 0 of strings must be the empty string")
    if not len(t.mappings.file) or not len(t.nodes.parent):
        raise BadDataError("bad_reference", "row 0 of mappings and of nodes must exist")
    _same_length("functions", t.functions.name, t.functions.file)
    _same_length(
        "mappings", t.mappings.file, t.mappings.build_id, t.mappings.start, t.mappings.limit, t.mappings.offset
    )
    _same_length("locations", t.locations.mapping, t.locations.address, t.locations.frame_kind, t.locations.first_line)
    _same_length("lines", t.lines.function, t.lines.line)
    _same_length("nodes", t.nodes.parent, t.nodes.location)
    _same_length("stacks", t.stacks.id, t.stacks.node)
    _same_length("threads", t.threads.tid, t.threads.name)
    for name, column, rows in (
        ("functions.name", t.functions.name, len(t.strings)),
        ("functions.file", t.functions.file, len(t.strings)),
        ("mappings.file", t.mappings.file, len(t.strings)),
        ("mappings.build_id", t.mappings.build_id, len(t.strings)),
        ("locations.mapping", t.locations.mapping, len(t.mappings.file)),
        ("lines.function", t.lines.function, len(t.functions.name)),
        ("nodes.location", t.nodes.location[1:], len(t.locations.mapping)),
        ("stacks.node", t.stacks.node, len(t.nodes.parent)),
        ("threads.name", t.threads.name, len(t.strings)),
    ):
        _refers(name, column, rows)
    _check_order(t)


def _check_order(t: Tables) -> None:
    first_line = t.locations.first_line
    if len(first_line) and (first_line[-1] > len(t.lines.function) or bool(np.any(first_line[1:] < first_line[:-1]))):
        raise BadDataError("bad_reference", "locations.first_line must not fall, nor pass the end of lines")
    if not _IS_FRAME_KIND[t.locations.frame_kind].all():
        raise BadDataError("bad_reference", "locations.frame_kind has an unknown number")
    if not t.functions.name.all():
        raise BadDataError("bad_reference", "a function's name is row 0 of strings, which is empty")
    _check_tree(t)


def _check_tree(t: Tables) -> None:
    parent = t.nodes.parent
    if parent[0] != 0 or bool(np.any(parent[1:] >= np.arange(1, len(parent), dtype=np.uint32))):
        raise BadDataError("bad_tree", "a node's parent must come before it, and row 0 must be the root")
    # The product is a bound that costs nothing; only large batches are looked at more closely.
    if len(t.stacks.node) * (len(parent) - 1) > MAX_STACK_FRAMES:
        frames = int(_depths(parent)[t.stacks.node].sum())
        if frames > MAX_STACK_FRAMES:
            raise BadDataError("bad_tree", f"the stacks have {frames} frames; the limit is {MAX_STACK_FRAMES}")


def _depths(parent: U32) -> NDArray[np.int64]:
    """Callers of each node, the root not counted: ancestors twice as far away at each step, so 20 steps at most."""
    ancestor, depth = parent, (np.arange(len(parent)) > 0).astype(np.int64)
    while ancestor.any():
        depth = depth + depth[ancestor]
        ancestor = ancestor[ancestor]
    return depth


def check_samples(batch: SampleBatch) -> None:
    """Check the sample columns against the tables and the batch's time range.

    Raises:
        BadDataError: ``bad_length``, ``bad_reference``, ``negative``, ``not_finite``, ``overflow`` or ``bad_time``.
    """
    samples, tables = batch.samples, batch.tables
    columns: list[Column] = [samples.stack, samples.resource, samples.thread, samples.value, samples.weight]
    if samples.time_delta is not None:
        columns.append(samples.time_delta)
    _same_length("samples", *columns)
    if not len(samples):
        return
    _refers("samples.stack", samples.stack, len(tables.stacks.id))
    _refers("samples.resource", samples.resource, len(tables.resources))
    _refers("samples.thread", samples.thread, len(tables.threads.tid))
    _check_values(samples)
    if samples.time_delta is not None:
        last = batch.start_unix_nano + int(samples.time_delta.max()) * TIME_DELTA_UNIT_NS
        if last >= batch.end_unix_nano:
            raise BadDataError("bad_time", f"a sample at {last} lies past the batch's end {batch.end_unix_nano}")


def _check_values(samples: Samples) -> None:
    if samples.value.min() < 0:
        raise BadDataError("negative", f"a value is negative: {samples.value.min()}")
    if not np.isfinite(samples.weight).all():
        raise BadDataError("not_finite", "a weight is not a finite number")
    if samples.weight.min() <= 0:
        raise BadDataError("negative", f"a weight is not positive: {samples.weight.min()}")
    if samples.totals().sum() > MAX_TOTAL:
        raise BadDataError("overflow", "the batch's total passes 2**53")


def _same_length(table: str, *columns: Column) -> None:
    for first, second in pairwise(columns):
        if len(first) != len(second):
            raise BadDataError("bad_length", f"columns of {table} differ in length: {len(first)} and {len(second)}")


def _refers(name: str, column: Column, rows: int) -> None:
    if not len(column):
        return
    highest = int(np.maximum.reduce(column))  # what .max() does behind two calls in Python
    if highest >= rows:
        raise BadDataError("bad_reference", f"{name} names row {highest}; there are {rows}")
