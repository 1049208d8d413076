"""Records of the kernel's side-band, as its ring holds them."""

from __future__ import annotations

import os
import struct

import pytest

from producers.kernel.sideband import decode, records
from producers.lives import Comm, EventsLost, Exit, Fork, Mmap, ProcessEvent

TIME = 1_234_567_890_123
COMM, EXIT, FORK, MMAP2, LOST, THROTTLE = 3, 4, 7, 10, 2, 5


def padded(text: bytes) -> bytes:
    return text + b"\0" * (8 - len(text) % 8)


def record(kind: int, body: bytes, misc: int = 0, time: int = TIME) -> bytes:
    whole = body + struct.pack("<Q", time)
    return struct.pack("<IHH", kind, misc, 8 + len(whole)) + whole


def mmap2(path: bytes, middle: bytes, protection: int = 5) -> bytes:
    return struct.pack("<IIQQQ24sII", 7, 8, 0x1000, 0x2000, 0x3000, middle, protection, 2) + padded(path)


BUILD_ID = bytes(range(20))
CASES: list[tuple[bytes, ProcessEvent | None]] = [
    (record(COMM, struct.pack("<II", 7, 8) + padded(b"worker")), Comm(7, 8, "worker", False, TIME)),
    (record(COMM, struct.pack("<II", 7, 7) + padded(b"prog"), misc=1 << 13), Comm(7, 7, "prog", True, TIME)),
    (record(COMM, struct.pack("<II", 7, 7) + padded(b"a\xffb")), Comm(7, 7, "a\udcffb", False, TIME)),
    (record(FORK, struct.pack("<IIIIQ", 9, 7, 9, 8, TIME)), Fork(9, 7, TIME)),
    (record(FORK, struct.pack("<IIIIQ", 7, 7, 11, 7, TIME)), None),
    (record(EXIT, struct.pack("<IIIIQ", 7, 1, 11, 1, TIME)), Exit(7, 11, TIME)),
    (record(LOST, struct.pack("<QQ", 77, 23)), EventsLost(23, TIME)),
    (
        record(MMAP2, mmap2(b"/bin/x", struct.pack("<IIQQ", 8, 1, 99, 0))),
        Mmap(7, 0x1000, 0x2000, 0x3000, 99, os.makedev(8, 1), "/bin/x", None, TIME, True),
    ),
    (
        record(MMAP2, mmap2(b"/bin/x", struct.pack("<BBH20s", 20, 0, 0, BUILD_ID), protection=1), misc=1 << 14),
        Mmap(7, 0x1000, 0x2000, 0x3000, 0, 0, "/bin/x", BUILD_ID, TIME, False),
    ),
    (record(THROTTLE, struct.pack("<QQQ", 1, 2, 3)), None),
]


@pytest.mark.parametrize(("data", "expected"), CASES)
def test_a_record(data: bytes, expected: ProcessEvent | None) -> None:
    ((kind, misc, body),) = records(memoryview(data.ljust(512, b"\0")), 0, len(data))
    assert decode(kind, misc, body) == expected


@pytest.mark.parametrize("start", range(0, 1024, 8))
def test_records_that_wrap_are_whole(start: int) -> None:
    ring = bytearray(1024)
    written = b"".join(data for data, _ in CASES)
    for index, byte in enumerate(written):
        ring[(start + index) % len(ring)] = byte
    found = [decode(*each) for each in records(memoryview(ring), start, start + len(written))]
    assert found == [expected for _, expected in CASES]


def test_what_is_no_record_ends_a_drain_and_does_not_hang_it() -> None:
    assert list(records(memoryview(bytes(64)), 0, 64)) == []
