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

from flamebus.distinct import Selection
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
_ROW_0 = np.zeros(1, dtype=np.uint32)


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
    stack, resource, thread = samples.stack[rows], samples.resource[rows], samples.thread[rows]
    stacks = Selection(len(tables.stacks.id), stack)
    resources = Selection(len(tables.resources), resource)
    threads = Selection(len(tables.threads.tid), thread)
    return replace(
        batch,
        tables=_select_tables(tables, stacks.rows, resources.rows, threads.rows),
        samples=Samples(
            stack=stacks.places(stack),
            resource=resources.places(resource),
            thread=threads.places(thread),
            value=samples.value[rows],
            weight=samples.weight[rows],
            time_delta=None if samples.time_delta is None else samples.time_delta[rows],
        ),
    )


def _with_ancestors(parent: U32, nodes: U32) -> Selection:
    """The nodes, all their callers and the root."""
    is_kept = np.zeros(len(parent), dtype=np.bool_)
    is_kept[0] = True
    frontier = nodes
    while len(frontier):
        frontier = frontier[~is_kept[frontier]]
        is_kept[frontier] = True
        frontier = parent[frontier]
    return Selection(len(parent), np.flatnonzero(is_kept))


def _select_tables(tables: Tables, stacks: Rows, resources: Rows, threads: Rows) -> Tables:
    nodes = _with_ancestors(tables.nodes.parent, tables.stacks.node[stacks])
    location_of_node = tables.nodes.location[nodes.rows[1:]]
    locations = Selection(len(tables.locations.mapping), location_of_node)
    lines, first_line = _select_lines(tables, locations.rows)
    functions = Selection(len(tables.functions.name), tables.lines.function[lines])
    mappings = Selection(len(tables.mappings.file), tables.locations.mapping[locations.rows], _ROW_0)
    naming = (
        tables.functions.name[functions.rows],
        tables.functions.file[functions.rows],
        tables.mappings.file[mappings.rows],
        tables.mappings.build_id[mappings.rows],
        tables.threads.name[threads],
    )
    strings = Selection(len(tables.strings), _ROW_0, *naming)
    name, file, mapping_file, build_id, thread_name = map(strings.places, naming)
    return Tables(
        strings=tuple(map(tables.strings.__getitem__, strings.rows.tolist())),
        functions=Functions(name, file),
        mappings=Mappings(
            mapping_file,
            build_id,
            tables.mappings.start[mappings.rows],
            tables.mappings.limit[mappings.rows],
            tables.mappings.offset[mappings.rows],
        ),
        locations=Locations(
            mappings.places(tables.locations.mapping[locations.rows]),
            tables.locations.address[locations.rows],
            tables.locations.frame_kind[locations.rows],
            first_line,
        ),
        lines=Lines(functions.places(tables.lines.function[lines]), tables.lines.line[lines]),
        nodes=Nodes(
            nodes.places(tables.nodes.parent[nodes.rows]),
            np.concatenate((_ROW_0, locations.places(location_of_node))),
        ),
        stacks=Stacks(tables.stacks.id[stacks], nodes.places(tables.stacks.node[stacks])),
        resources=tuple(map(tables.resources.__getitem__, resources.tolist())),
        threads=Threads(tables.threads.tid[threads], thread_name),
    )


def _select_lines(tables: Tables, locations: Rows) -> tuple[Rows, U32]:
    """Rows of lines of these locations, and each location's first row among them."""
    first = tables.locations.first_line.astype(np.intp)
    ends = np.append(first[1:], len(tables.lines.function))
    counts = ends[locations] - first[locations]
    starts = np.cumsum(counts) - counts
    rows = np.arange(int(counts.sum())) - np.repeat(starts, counts) + np.repeat(first[locations], counts)
    return rows.astype(np.intp), starts.astype(np.uint32)
