"""BPF ring buffers read in place: the kernel's pages are mapped, records become numpy views, nothing is copied here.

Layout (include/uapi/linux/bpf.h, kernel/bpf/ringbuf.c): page 0 holds the consumer position (ours to write), page 1 the
producer position, then the data, mapped twice in a row so that a record that wraps is still contiguous. A record is
u32 length (bit 31: still being written, bit 30: discarded), u32 reserved, payload, padded to 8 bytes.
"""

from __future__ import annotations

import mmap
import struct
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

HEADER_BYTES = 8
_BUSY = 1 << 31
_DISCARDED = 1 << 30
_LENGTH_MASK = _DISCARDED - 1


def fixed_records(data: memoryview, start: int, stop: int, record: np.dtype[np.void]) -> NDArray[np.void]:
    """The finished records of a ring in which all are of one size, as a view into ``data``.

    Args:
        data: the doubled data area.
        start: consumer position.
        stop: producer position.
        record: dtype of header and payload together: fields ``length`` (u32) and ``reserved`` (u32) come first.

    Returns:
        Records up to the first one that is still being written, shape ``(n_records,)``.
    """
    size = len(data) // 2
    view = np.frombuffer(data, dtype=record, count=(stop - start) // record.itemsize, offset=start % size)
    busy = np.flatnonzero(view["length"] & np.uint32(_BUSY))
    return view[: busy[0]] if len(busy) else view


def any_records(data: memoryview, start: int, stop: int) -> Iterator[tuple[int, memoryview]]:
    """The finished records of a ring of mixed sizes, up to the first that is still being written.

    Yields:
        Position behind the record, and its payload in place. Discarded records come with an empty payload.
    """
    size = len(data) // 2
    while start < stop:
        at = start % size
        (length,) = struct.unpack_from("<I", data, at)
        if length & _BUSY:
            return
        payload_bytes = length & _LENGTH_MASK
        start += (HEADER_BYTES + payload_bytes + 7) // 8 * 8
        first = at + HEADER_BYTES
        yield start, data[first:first] if length & _DISCARDED else data[first : first + payload_bytes]


class RingBuffer:
    """The reader of one ring; one thread at a time."""

    def __init__(self, descriptor: int, size_bytes: int) -> None:
        """Map the ring.

        Args:
            descriptor: of the map.
            size_bytes: its ``max_entries``.
        """
        page = mmap.PAGESIZE
        self._consumer = mmap.mmap(descriptor, page, mmap.MAP_SHARED, mmap.PROT_READ | mmap.PROT_WRITE)
        self._producer = mmap.mmap(descriptor, page + 2 * size_bytes, mmap.MAP_SHARED, mmap.PROT_READ, offset=page)
        self.data = memoryview(self._producer)[page:]
        # Asked many times a second: an indexed view costs a third of unpacking.
        self._consumed, self._produced = memoryview(self._consumer).cast("Q"), memoryview(self._producer)[:8].cast("Q")
        self._half_bytes = size_bytes // 2

    @property
    def consumer_position(self) -> int:
        """How far we have read, bytes since the ring was made."""
        return self._consumed[0]

    @property
    def producer_position(self) -> int:
        """How far the kernel has written, bytes since the ring was made."""
        return self._produced[0]

    @property
    def is_half_full(self) -> bool:
        """Whether half of its size waits to be read."""
        return self._produced[0] - self._consumed[0] >= self._half_bytes

    def fixed(self, record: np.dtype[np.void]) -> NDArray[np.void]:
        """All finished records in place; they stay valid until :meth:`release`."""
        return fixed_records(self.data, self.consumer_position, self.producer_position, record)

    def each(self) -> Iterator[tuple[int, memoryview]]:
        """All finished records one by one, with the position to :meth:`release` behind each."""
        return any_records(self.data, self.consumer_position, self.producer_position)

    def release(self, position: int) -> None:
        """Give everything in front of ``position`` back to the kernel; views of it must not be read any more."""
        self._consumed[0] = position

    def close(self) -> None:
        """Unmap. Views handed out must be gone."""
        for view in (self.data, self._consumed, self._produced):
            view.release()
        self._producer.close()
        self._consumer.close()
