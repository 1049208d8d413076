"""The file of ``flamebus record``: records of the bus exactly as they were, one after the other.

A file holds entries; an entry is its length (u32, little-endian) and that many bytes of MessagePack. The first entry
is a map with ``schema``, ``schema_version``, ``topic_prefix`` and ``created_unix_nano``; each further one is
``[topic, partition, offset, timestamp_unix_nano, key, value, headers]``. An entry is written whole, so a recorder
that is killed leaves at most one broken entry, at the end.
"""

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, BinaryIO

import msgpack

from flamebus.errors import BadDataError
from flamebus.wire.headers import Headers
from flamebus.wire.reader import MAX_RECORD_BYTES

SCHEMA = "flamebus.recording"
SCHEMA_VERSION = 1

_LENGTH = struct.Struct("<I")
_MAX_ENTRY_BYTES = 2 * MAX_RECORD_BYTES  # value, key and headers together


@dataclass(frozen=True, slots=True)
class BusRecord:
    """One record of a topic.

    Attributes:
        topic: its full name; partition, offset: where it lies.
        timestamp_unix_nano: the broker's or producer's stamp, whichever the topic keeps (millisecond precision).
        key, value: bytes, or ``None``; headers: in the order they were sent.
    """

    topic: str
    partition: int
    offset: int
    timestamp_unix_nano: int
    key: bytes | None
    value: bytes | None
    headers: Headers


@dataclass(frozen=True, slots=True)
class RecordingHeader:
    """What the whole file says of itself: the prefix that its topics' names begin with, and when it was begun."""

    topic_prefix: str
    created_unix_nano: int


class RecordingWriter:
    """Appends records to a file that is open for writing; each is handed to the system before the next."""

    def __init__(self, stream: BinaryIO, header: RecordingHeader) -> None:
        self._stream = stream
        self._write(
            {
                "schema": SCHEMA,
                "schema_version": SCHEMA_VERSION,
                "topic_prefix": header.topic_prefix,
                "created_unix_nano": header.created_unix_nano,
            }
        )

    def append(self, record: BusRecord) -> None:
        """Write one record."""
        headers = [[name, value] for name, value in record.headers]
        where = [record.topic, record.partition, record.offset, record.timestamp_unix_nano]
        self._write([*where, record.key, record.value, headers])

    def _write(self, entry: object) -> None:
        data = msgpack.packb(entry, use_bin_type=True)
        self._stream.write(_LENGTH.pack(len(data)) + data)
        self._stream.flush()


class RecordingReader:
    """Reads a recording from an open file."""

    def __init__(self, stream: BinaryIO) -> None:
        """Read the header.

        Raises:
            BadDataError: the file is not a recording, or of a version that we do not know.
        """
        self._stream = stream
        header = self._entry()
        if not isinstance(header, dict) or header.get("schema") != SCHEMA:
            raise BadDataError("unknown_schema", "the file is not a recording of flamebus")
        if header.get("schema_version") != SCHEMA_VERSION:
            raise BadDataError("unknown_version", f"the recording has version {header.get('schema_version')!r}, not 1")
        prefix, created = header.get("topic_prefix"), header.get("created_unix_nano")
        if not isinstance(prefix, str) or not isinstance(created, int):
            raise BadDataError("missing_field", "the recording's header is not complete")
        self.header = RecordingHeader(prefix, created)

    def records(self) -> Iterator[BusRecord]:
        """All records that are complete, in the order they were recorded.

        Raises:
            BadDataError: ``truncated`` after the last complete record, when a broken one follows; ``malformed``.
        """
        while (entry := self._entry()) is not None:
            yield _to_record(entry)

    def _entry(self) -> object:
        prefix = self._stream.read(_LENGTH.size)
        if not prefix:
            return None
        length = _LENGTH.unpack(prefix)[0] if len(prefix) == _LENGTH.size else 0
        if length > _MAX_ENTRY_BYTES:
            raise BadDataError("bad_length", f"an entry declares {length} bytes; the limit is {_MAX_ENTRY_BYTES}")
        data = self._stream.read(length)
        if len(prefix) < _LENGTH.size or len(data) < length:
            raise BadDataError("truncated", "the file ends inside a record: the recorder was interrupted")
        try:
            entry: object = msgpack.unpackb(data, raw=False)
        except (ValueError, msgpack.exceptions.UnpackException, RecursionError) as error:
            raise BadDataError("malformed", f"an entry of the recording is not MessagePack: {error}") from error
        return entry


def _to_record(entry: object) -> BusRecord:
    types = (str, int, int, int, bytes | None, bytes | None, list)
    fields: list[Any] = entry if isinstance(entry, list) else []
    if len(fields) != len(types) or not all(isinstance(f, t) for f, t in zip(fields, types, strict=True)):
        raise BadDataError("malformed", "an entry of the recording is not a record")
    headers = [(pair[0], pair[1]) for pair in fields[6] if isinstance(pair, list) and len(pair) == 2]
    if len(headers) != len(fields[6]) or not all(isinstance(n, str) and isinstance(v, bytes) for n, v in headers):
        raise BadDataError("wrong_type", "headers of a recorded record are not pairs of a name and bytes")
    topic, partition, offset, timestamp, key, value = fields[:6]
    return BusRecord(topic, partition, offset, timestamp, key, value, headers)
