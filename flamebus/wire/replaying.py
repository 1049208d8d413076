"""What a recorded record becomes when it is published again: the same, or moved in time as a whole.

With original times a batch keeps its bytes and so its id: a stream that still remembers it counts it once. Shifted, it
gets a new id, which follows from the old one and the shift. A shift is a whole number of windows, so that a batch which
lay in one window still does.
"""

import struct
from dataclasses import dataclass, replace

import xxhash

from flamebus.errors import BadDataError
from flamebus.profile import SampleBatch
from flamebus.wire.batch import decode_batch, encode_batch
from flamebus.wire.headers import cloud_event
from flamebus.wire.recording import BusRecord
from flamebus.wire.tick import is_tick
from flamebus.wire.topics import event_type

_SHIFT = struct.Struct("<q")


@dataclass(frozen=True, slots=True)
class Replayed:
    """A record to be published: its topic's stem, and the end of its event time (its own stamp when it has none)."""

    stem: str
    end_unix_nano: int
    record: BusRecord
    batch: SampleBatch | None


def to_replay(record: BusRecord, topic_prefix: str) -> Replayed | None:
    """The record as it may be published again; ``None`` for a tick or a deleted key, which say nothing of samples.

    A record that is no batch is kept: a dead letter must come out of a replay as well.
    """
    if record.value is None or is_tick(record.value):
        return None
    stem = record.topic.removeprefix(topic_prefix)
    try:
        batch = decode_batch(record.value)
    except BadDataError:
        return Replayed(stem, record.timestamp_unix_nano, record, None)
    return Replayed(stem, batch.end_unix_nano, record, batch)


def shifted(replayed: Replayed, shift_ns: int) -> BusRecord:
    """The record with its event time moved; a record that is no batch stays as it is.

    Args:
        replayed: from :func:`to_replay`.
        shift_ns: a multiple of the window size; may be negative.
    """
    record, batch = replayed.record, replayed.batch
    if batch is None or not shift_ns:
        return record
    moved = moved_batch(batch, shift_ns)
    headers = cloud_event(moved.batch_id.hex(), "/replay", event_type(replayed.stem), moved.start_unix_nano)
    return replace(record, value=encode_batch(moved), headers=headers)


def moved_batch(batch: SampleBatch, shift_ns: int) -> SampleBatch:
    """The batch with its event time moved, and an id that follows from the old one and the shift."""
    return replace(
        batch,
        batch_id=xxhash.xxh3_128_digest(batch.batch_id + _SHIFT.pack(shift_ns)),
        start_unix_nano=batch.start_unix_nano + shift_ns,
        end_unix_nano=batch.end_unix_nano + shift_ns,
    )


def whole_windows(distance_ns: int, window_ns: int) -> int:
    """The largest multiple of the window size that does not pass the distance."""
    return distance_ns - distance_ns % window_ns
