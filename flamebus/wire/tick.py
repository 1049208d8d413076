"""Tick v1: a record that only says what time it is, so that the watermark of an idle partition moves on."""

from dataclasses import dataclass

import msgpack

from flamebus.wire.reader import RecordReader
from flamebus.wire.scalars import Scalar, check_complete, check_schema, read_count

SCHEMA = "flamebus.tick"
SCHEMA_VERSION = 1
TICK = {"unix_nano": Scalar.COUNT}
"""The fields besides ``schema`` and ``schema_version``."""

_PREFIX: bytes = msgpack.packb("schema") + msgpack.packb(SCHEMA)


@dataclass(frozen=True, slots=True)
class Tick:
    """Wall-clock time of a partition's owner, ns UTC. Several owners ticking at once do no harm."""

    unix_nano: int


def encode_tick(tick: Tick) -> bytes:
    """The tick as one MessagePack map."""
    data: bytes = msgpack.packb({"schema": SCHEMA, "schema_version": SCHEMA_VERSION, "unix_nano": tick.unix_nano})
    return data


def is_tick(data: bytes) -> bool:
    """Whether the record says that it is a tick: its first key is ``schema`` and names one. Cheap, for every record."""
    return data[1 : 1 + len(_PREFIX)] == _PREFIX


def decode_tick(data: bytes) -> Tick:
    """Read one tick.

    Raises:
        BadDataError: not a Tick v1.
    """
    reader = RecordReader(data)
    values: dict[str, object] = {}
    for key in reader.fields():
        if key in {"schema", "schema_version", *TICK}:
            values[key] = reader.value()
        else:
            reader.skip()
    reader.end()
    check_schema(values, SCHEMA, SCHEMA_VERSION)
    check_complete(values, *TICK)
    return Tick(read_count("unix_nano", values["unix_nano"]))
