from __future__ import annotations

import struct

import numpy as np
import pytest

from producers.kernel.ring import any_records, fixed_records

BUSY, DISCARDED = 1 << 31, 1 << 30
RECORD = np.dtype([("length", "<u4"), ("reserved", "<u4"), ("value", "<u8")])


class WrittenRing:
    """The data area of a ring as the kernel writes it: records one behind the other, mapped twice."""

    def __init__(self, size_bytes: int, position: int = 0) -> None:
        self.size, self.start, self.stop = size_bytes, position, position
        self._bytes = bytearray(size_bytes)

    def write(self, payload: bytes, flags: int = 0) -> None:
        record = struct.pack("<II", len(payload) | flags, 0) + payload
        for byte in record.ljust((len(record) + 7) // 8 * 8, b"\xee"):
            self._bytes[self.stop % self.size] = byte
            self.stop += 1

    @property
    def data(self) -> memoryview:
        return memoryview(bytes(self._bytes) * 2)

    def payloads(self) -> list[bytes]:
        return [bytes(payload) for _, payload in any_records(self.data, self.start, self.stop)]


@pytest.mark.parametrize("position", [0, 8, 40, 56, 2**40 + 56])
def test_records_come_in_order_also_where_the_ring_wraps(position: int) -> None:
    ring = WrittenRing(64, position)
    for payload in (b"one", b"two and more", b""):
        ring.write(payload)
    assert ring.payloads() == [b"one", b"two and more", b""]
    ends = [end for end, _ in any_records(ring.data, ring.start, ring.stop)]
    assert ends[-1] == ring.stop


def test_reading_stops_at_a_record_that_is_still_being_written() -> None:
    ring = WrittenRing(128)
    ring.write(b"done")
    ring.write(b"not yet", BUSY)
    ring.write(b"done behind it")
    assert ring.payloads() == [b"done"]


def test_a_discarded_record_is_passed_over_by_length_alone() -> None:
    ring = WrittenRing(128)
    ring.write(b"nothing in here", DISCARDED)
    ring.write(b"kept")
    assert ring.payloads() == [b"", b"kept"]


@pytest.mark.parametrize("position", [0, 16, 48, 2**33 + 48])
def test_records_of_one_size_are_a_view_that_copies_nothing(position: int) -> None:
    ring = WrittenRing(64, position)
    for value in (3, 5, 7):
        ring.write(struct.pack("<Q", value))
    data = ring.data
    view = fixed_records(data, ring.start, ring.stop, RECORD)
    assert view["value"].tolist() == [3, 5, 7]
    assert np.shares_memory(view, np.frombuffer(data, dtype="u1"))


def test_records_of_one_size_end_at_the_first_unfinished_one() -> None:
    ring = WrittenRing(64)
    ring.write(struct.pack("<Q", 3))
    ring.write(struct.pack("<Q", 5), BUSY)
    ring.write(struct.pack("<Q", 7))
    assert fixed_records(ring.data, ring.start, ring.stop, RECORD)["value"].tolist() == [3]


def test_an_empty_ring_has_no_records() -> None:
    ring = WrittenRing(64, 24)
    assert ring.payloads() == []
    assert len(fixed_records(ring.data, ring.start, ring.stop, RECORD)) == 0
