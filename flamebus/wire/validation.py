"""The rules that a decoded batch has to keep, checked on whole columns."""

from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from flamebus.errors import BadDataError
from flamebus.frames import FrameKind
from flamebus.profile import TIME_DELTA_UNIT_NS, SampleBatch, Samples, Tables

Column = NDArray[np.unsignedinteger] | NDArray[np.integer] | NDArray[np.floating]

_MAX_TOTAL = float(2**62)  # a window's total still fits an int64 after adding up two of them
_FRAME_KINDS = np.array([kind.value for kind in FrameKind], dtype=np.uint8)


def check_batch(batch: SampleBatch) -> None:
    """Check every reference, length and range of a batch.

    Raises:
        BadDataError: with the first rule that is broken as its reason.
    """
    if len(batch.batch_id) != 16:
        raise BadDataError("wrong_type", f"batch_id has {len(batch.batch_id)} bytes, not 16")
    if not 0 <= batch.start_unix_nano < batch.end_unix_nano < 2**63:
        raise BadDataError("bad_time", f"not a time range: [{batch.start_unix_nano}, {batch.end_unix_nano})")
    if batch.period < 0 or batch.sequence < 0:
        raise BadDataError("negative", "period and sequence may not be negative")
    if not batch.kind:
        raise BadDataError("wrong_type", "the batch has no kind")
    for loss in batch.losses:
        if loss.samples < 0 or loss.value < 0:
            raise BadDataError("negative", f"a loss is negative: {loss}")
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
    parent = t.nodes.parent
    if parent[0] != 0 or bool(np.any(parent[1:] >= np.arange(1, len(parent), dtype=np.uint32))):
        raise BadDataError("bad_tree", "a node's parent must come before it, and row 0 must be the root")
    if not np.isin(t.locations.frame_kind, _FRAME_KINDS).all():
        raise BadDataError("bad_reference", "locations.frame_kind has an unknown number")


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
    if samples.totals().sum() > _MAX_TOTAL:
        raise BadDataError("overflow", "the batch's total passes 2**62")


def _same_length(table: str, *columns: Column) -> None:
    for first, second in pairwise(columns):
        if len(first) != len(second):
            raise BadDataError("bad_length", f"columns of {table} differ in length: {len(first)} and {len(second)}")


def _refers(name: str, column: Column, rows: int) -> None:
    if len(column) and int(column.max()) >= rows:
        raise BadDataError("bad_reference", f"{name} names row {int(column.max())}; there are {rows}")
