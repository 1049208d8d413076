"""Reads the files in which a Kafka broker keeps a partition: record batches as they are stored, compressed.

Layout: "Record Batch" of the Kafka protocol documentation, magic 2; numbers are big-endian, those of records are
zigzag variable-length.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING

from cramjam import zstd

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_HEADER = struct.Struct(">qiibIhiqqqhii")
_LENGTH_ENDS_AT = 12  # the length counts what follows it
_COMPRESSION, _ZSTD, _PLAIN = 7, 4, 0


@dataclass(frozen=True, slots=True)
class StoredBatch:
    """One record batch.

    Attributes:
        stored_bytes: what it takes in the file and on the wire, its header included.
        records: key and value of each record; missing ones are empty.
    """

    stored_bytes: int
    records: tuple[tuple[bytes, bytes], ...]


def stored_batches(folder: Path, topic: str) -> Iterator[StoredBatch]:
    """All record batches of a topic, partition by partition.

    Args:
        folder: the broker's ``log.dirs``.
        topic: full name.
    """
    for path in sorted(folder.glob(f"{topic}-*/*.log")):
        yield from _batches(path.read_bytes())


def _batches(data: bytes) -> Iterator[StoredBatch]:
    at = 0
    while at + _HEADER.size <= len(data):
        _, length, _, magic, _, attributes, *_, count = _HEADER.unpack_from(data, at)
        if not length:
            return  # the file is longer than what was written to it
        assert magic == 2, "no broker of these years writes older ones"
        end = at + _LENGTH_ENDS_AT + length
        body = data[at + _HEADER.size : end]
        compression = attributes & _COMPRESSION
        assert compression in {_ZSTD, _PLAIN}, f"compression {compression} is not ours"
        records = tuple(_records(bytes(zstd.decompress(body)) if compression == _ZSTD else body, count))
        yield StoredBatch(end - at, records)
        at = end


def _records(data: bytes, count: int) -> Iterator[tuple[bytes, bytes]]:
    at = 0
    for _ in range(count):
        length, at = _number(data, at)
        end = at + length
        at += 1  # attributes of the record, unused
        for _ in range(2):  # time and offset, as differences
            _, at = _number(data, at)
        key, at = _bytes(data, at)
        value, at = _bytes(data, at)
        yield key, value
        at = end


def _bytes(data: bytes, at: int) -> tuple[bytes, int]:
    length, at = _number(data, at)
    end = at + max(length, 0)
    return data[at:end], end


def _number(data: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return (value >> 1) ^ -(value & 1), at
        shift += 7
