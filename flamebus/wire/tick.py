"""Tick v1: a record that only says what time it is, so that the watermark of an idle partition moves on."""

from dataclasses import dataclass

import msgpack

from flamebus.errors import BadDataError
from flamebus.wire.reader import RecordReader

SCHEMA = "flamebus.tick"
SCHEMA_VERSION = 1
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
    values = {key: reader.value() for key in reader.fields()}
    reader.end()
    if values.get("schema") != SCHEMA:
        raise BadDataError("unknown_schema", f"schema is {values.get('schema')!r}, not {SCHEMA!r}")
    if values.get("schema_version") != SCHEMA_VERSION:
        raise BadDataError("unknown_version", f"schema_version is {values.get('schema_version')}")
    unix_nano = values.get("unix_nano")
    if not isinstance(unix_nano, int) or not 0 <= unix_nano < 2**63:
        raise BadDataError("bad_time", f"unix_nano is {unix_nano!r}")
    return Tick(unix_nano)
