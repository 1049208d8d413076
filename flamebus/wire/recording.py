"""The file of ``flamebus record``: records of the bus exactly as they were, one after the other.

A file holds entries; an entry is its length (u32, little-endian) and that many bytes of MessagePack. The first entry
is a map with ``schema``, ``schema_version``, ``topic_prefix`` and ``created_unix_nano``; each further one is
``[topic, partition, offset, timestamp_unix_nano, key, value, headers]``. An entry is written whole, so a recorder
that is killed leaves at most one broken entry, at the end.
"""

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO

import msgpack

from flamebus.errors import BadDataError
from flamebus.wire.headers import Headers
from flamebus.wire.reader import MAX_RECORD_BYTES, OBJECT_BYTES, RecordReader
from flamebus.wire.scalars import check_complete, check_schema, read_count, read_text

SCHEMA = "flamebus.recording"
SCHEMA_VERSION = 1

_LENGTH = struct.Struct("<I")
_MAX_ENTRY_BYTES = 2 * MAX_RECORD_BYTES  # value, key and headers together
_HEADER_BYTES = 3 * OBJECT_BYTES  # a pair, its name and its value


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
        entry = self._entry()
        if entry is None:
            raise BadDataError("unknown_schema", "the file is empty, not a recording of flamebus")
        fields: dict[str, object] = {}
        for key in entry.fields():
            fields[key] = entry.value()
            if key == "schema":
                check_schema({"schema": fields[key], "schema_version": SCHEMA_VERSION}, SCHEMA, SCHEMA_VERSION)
        entry.end()
        check_schema(fields, SCHEMA, SCHEMA_VERSION)
        check_complete(fields, "topic_prefix", "created_unix_nano")
        self.header = RecordingHeader(
            read_text("topic_prefix", fields["topic_prefix"]),
            read_count("created_unix_nano", fields["created_unix_nano"]),
        )

    def records(self) -> Iterator[tuple[int, BusRecord]]:
        """All records that are complete, in the order they were recorded, each with its place in the file.

        Raises:
            BadDataError: ``truncated`` after the last complete record, when a broken one follows; and whatever a
                record that is not one may raise.
        """
        while True:
            place = self._stream.tell()
            entry = self._entry()
            if entry is None:
                return
            yield place, _read_record(entry)

    def record_at(self, place: int) -> BusRecord:
        """The record at a place that :meth:`records` told.

        Raises:
            BadDataError: there is none: the file has become shorter.
        """
        self._stream.seek(place)
        entry = self._entry()
        if entry is None:
            raise BadDataError("truncated", f"the file ends before byte {place}; it was longer before")
        return _read_record(entry)

    def _entry(self) -> RecordReader | None:
        """The next entry; ``None`` at the end of the file."""
        prefix = self._stream.read(_LENGTH.size)
        if not prefix:
            return None
        length = _LENGTH.unpack(prefix)[0] if len(prefix) == _LENGTH.size else 0
        if length > _MAX_ENTRY_BYTES:
            raise BadDataError("bad_length", f"an entry declares {length} bytes; the limit is {_MAX_ENTRY_BYTES}")
        data = self._stream.read(length)
        if len(prefix) < _LENGTH.size or len(data) < length:
            raise BadDataError("truncated", "the file ends inside a record: the recorder was interrupted")
        return RecordReader(data, _MAX_ENTRY_BYTES)


def _read_record(reader: RecordReader) -> BusRecord:
    reader.enter_array(7)
    record = BusRecord(
        topic=read_text("topic", reader.value()),
        partition=read_count("partition", reader.value()),
        offset=read_count("offset", reader.value()),
        timestamp_unix_nano=read_count("timestamp_unix_nano", reader.value()),
        key=_read_bytes("key", reader.value()),
        value=_read_bytes("value", reader.value()),
        headers=reader.array(lambda: _read_header(reader), _HEADER_BYTES),
    )
    reader.end()
    return record


def _read_header(reader: RecordReader) -> tuple[str, bytes]:
    reader.enter_array(2)
    name = read_text("a header's name", reader.value())
    value = _read_bytes(f"header {name[:80]!r}", reader.value())
    if value is None:
        raise BadDataError("wrong_type", f"header {name[:80]!r} is nil, not bytes")
    return name, value


def _read_bytes(what: str, value: object) -> bytes | None:
    if value is not None and not isinstance(value, bytes):
        raise BadDataError("wrong_type", f"{what} is {type(value).__name__}, not bytes")
    return value
