"""A window's profile as batches for ``windows.v1``: the same record as samples, rows aggregated.

A row's total and its number of samples are both kept exactly by splitting it in two: see
docs/decisions/0002-a-window-is-a-batch.md.
"""

import numpy as np
import xxhash

from flamebus.profile import I64, U32, SampleBatch, Samples
from flamebus.window_profile import WindowProfile
from streams.closed import ClosedProfile
from streams.window_tables import window_tables

_MAX_EXACT_WEIGHT = 2**24
"""float32 counts every whole number up to here."""


def window_batch(closed: ClosedProfile, topic: str) -> SampleBatch:
    """The window as one batch, of whatever size; its id depends on nothing but the window."""
    profile = closed.profile
    row, value, weight = exact_rows(profile.rows.value, np.rint(profile.rows.samples).astype(np.int64))
    return SampleBatch(
        batch_id=_batch_id(profile, topic),
        sequence=0,
        host="",
        boot_id="",
        agent_version="",
        kind=profile.kind,
        sample_type=profile.sample_type,
        period_type=profile.period_type,
        period=profile.period,
        start_unix_nano=profile.window.start_unix_nano,
        end_unix_nano=profile.window.end_unix_nano,
        tables=window_tables(closed),
        samples=Samples(
            stack=closed.row_stack[row].astype(np.uint32),
            resource=profile.rows.resource[row],
            thread=np.zeros(len(row), dtype=np.uint32),
            value=value,
            weight=weight.astype(np.float32),
            time_delta=None,
        ),
        losses=profile.losses,
    )


def exact_rows(total: I64, count: I64) -> tuple[U32, I64, I64]:
    """Rows (source row, value, weight) whose sums of value × weight and of weight are the totals and counts.

    Args:
        total: sums of value × weight, shape ``(n,)``.
        count: sums of weights, ≥ 1, shape ``(n,)``.
    """
    count = np.maximum(count, 1)
    quotient, remainder = np.divmod(total, count)
    number = np.arange(len(total), dtype=np.uint32)
    row = np.concatenate((number, number))
    value = np.concatenate((quotient, quotient + 1))
    weight = np.concatenate((count - remainder, remainder))
    pieces = -(-weight // _MAX_EXACT_WEIGHT)
    index = np.repeat(np.arange(len(row)), pieces)
    first = np.concatenate(([0], np.cumsum(pieces)))[index] if len(index) else np.zeros(0, dtype=np.int64)
    done = (np.arange(len(index)) - first) * _MAX_EXACT_WEIGHT
    split_weight = np.minimum(weight[index] - done, _MAX_EXACT_WEIGHT)
    order = np.argsort(row[index], kind="stable")
    return row[index][order], value[index][order], split_weight[order]


def _batch_id(profile: WindowProfile, topic: str) -> bytes:
    name = f"{topic}\0{profile.partition}\0{profile.service}\0{profile.kind}\0{profile.window.start_unix_nano}"
    return xxhash.xxh3_128_digest(name.encode())
