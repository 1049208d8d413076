"""Cuts a batch whose record would be too large into batches that are not, without losing a sample.

A batch is halved along its stacks until every part fits; each part carries only the table rows that it refers to. The
ids of parts follow from the batch's id and the way to the part, so the same batch cut again gives the same records, and
whoever recognises duplicates by id recognises parts too.
"""

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import xxhash
from numpy.typing import NDArray

from flamebus.distinct import distinct
from flamebus.profile import (
    U32,
    Functions,
    Lines,
    Locations,
    Mappings,
    Nodes,
    SampleBatch,
    Samples,
    Stacks,
    Tables,
    Threads,
)
from flamebus.wire.batch import encode_batch

MAX_BATCH_BYTES = 500_000
"""Half of what the topics take: room for headers and for brokers that are set lower than they say."""

Rows = NDArray[np.intp]


def split(batch: SampleBatch, max_bytes: int = MAX_BATCH_BYTES) -> Iterator[SampleBatch]:
    """The batch itself when its record fits, else parts that together hold the same samples.

    Args:
        batch: a valid batch.
        max_bytes: largest record, encoded, before compression.

    Yields:
        Valid batches with the same header apart from ``batch_id``. Losses are in the first one only. A part of one row
        is yielded even if it is too large (one stack of megabytes): whoever sends it sees the broker's refusal.
    """
    for part, _ in split_encoded(batch, max_bytes):
        yield part


def split_encoded(batch: SampleBatch, max_bytes: int = MAX_BATCH_BYTES) -> Iterator[tuple[SampleBatch, bytes]]:
    """Like :func:`split`, with each part's record: the encoding that measured it need not be done again."""
    data = encode_batch(batch)
    if len(data) <= max_bytes or len(batch.samples) < 2:
        yield batch, data
        return
    # Rows of one stack stay together, so that a stack's frames are rarely sent twice.
    order = np.argsort(batch.samples.stack, kind="stable")
    middle = len(order) // 2
    for number, rows in enumerate((order[:middle], order[middle:])):
        part = replace(
            select_rows(batch, np.sort(rows)),
            batch_id=_part_id(batch.batch_id, number),
            losses=batch.losses if number == 0 else (),
        )
        yield from split_encoded(part, max_bytes)


def _part_id(batch_id: bytes, number: int) -> bytes:
    return xxhash.xxh3_128_digest(batch_id + bytes((number,)))


def select_rows(batch: SampleBatch, rows: Rows) -> SampleBatch:
    """The batch with only these sample rows, and tables cut down to what they refer to.

    Args:
        batch: a valid batch.
        rows: row numbers of ``batch.samples``, shape ``(n_rows,)``, in the order wanted.
    """
    samples, tables = batch.samples, batch.tables
    stacks, stack = _renumber(samples.stack[rows])
    resources, resource = _renumber(samples.resource[rows])
    threads, thread = _renumber(samples.thread[rows])
    return replace(
        batch,
        tables=_select_tables(tables, stacks, resources, threads),
        samples=Samples(
            stack=stack,
            resource=resource,
            thread=thread,
            value=samples.value[rows],
            weight=samples.weight[rows],
            time_delta=None if samples.time_delta is None else samples.time_delta[rows],
        ),
    )


def _renumber(column: U32) -> tuple[U32, U32]:
    """Rows that the column names, ascending, and the column over those alone."""
    kept, renumbered = np.unique(column, return_inverse=True)
    return kept, renumbered.astype(np.uint32)


def _new_rows(kept: U32, column: U32) -> U32:
    """The column with each row number replaced by its place among the kept ones."""
    return np.searchsorted(kept, column).astype(np.uint32)


def _with_ancestors(parent: U32, nodes: U32) -> U32:
    """The nodes, all their callers and the root, ascending."""
    is_kept = np.zeros(len(parent), dtype=np.bool_)
    is_kept[0] = True
    frontier = nodes
    while len(frontier):
        frontier = distinct(frontier[~is_kept[frontier]])
        is_kept[frontier] = True
        frontier = parent[frontier]
    return np.flatnonzero(is_kept).astype(np.uint32)


def _select_tables(tables: Tables, stacks: U32, resources: U32, threads: U32) -> Tables:
    nodes = _with_ancestors(tables.nodes.parent, tables.stacks.node[stacks])
    locations = distinct(tables.nodes.location[nodes[1:]])
    lines, first_line = _select_lines(tables, locations)
    functions = distinct(tables.lines.function[lines])
    mappings = distinct(np.append(tables.locations.mapping[locations], np.uint32(0)))
    node_location = np.zeros(len(nodes), dtype=np.uint32)
    node_location[1:] = _new_rows(locations, tables.nodes.location[nodes[1:]])
    naming = (
        tables.functions.name[functions],
        tables.functions.file[functions],
        tables.mappings.file[mappings],
        tables.mappings.build_id[mappings],
        tables.threads.name[threads],
    )
    strings = distinct(np.concatenate([np.zeros(1, np.uint32), *naming]))
    name, file, mapping_file, build_id, thread_name = (_new_rows(strings, column) for column in naming)
    return Tables(
        strings=tuple(tables.strings[row] for row in strings),
        functions=Functions(name, file),
        mappings=Mappings(
            mapping_file,
            build_id,
            tables.mappings.start[mappings],
            tables.mappings.limit[mappings],
            tables.mappings.offset[mappings],
        ),
        locations=Locations(
            _new_rows(mappings, tables.locations.mapping[locations]),
            tables.locations.address[locations],
            tables.locations.frame_kind[locations],
            first_line,
        ),
        lines=Lines(_new_rows(functions, tables.lines.function[lines]), tables.lines.line[lines]),
        nodes=Nodes(_new_rows(nodes, tables.nodes.parent[nodes]), node_location),
        stacks=Stacks(tables.stacks.id[stacks], _new_rows(nodes, tables.stacks.node[stacks])),
        resources=tuple(tables.resources[row] for row in resources),
        threads=Threads(tables.threads.tid[threads], thread_name),
    )


def _select_lines(tables: Tables, locations: U32) -> tuple[Rows, U32]:
    """Rows of lines of these locations, and each location's first row among them."""
    first = tables.locations.first_line.astype(np.intp)
    ends = np.append(first[1:], len(tables.lines.function))
    counts = ends[locations] - first[locations]
    starts = np.cumsum(counts) - counts
    rows = np.arange(int(counts.sum())) - np.repeat(starts, counts) + np.repeat(first[locations], counts)
    return rows.astype(np.intp), starts.astype(np.uint32)
