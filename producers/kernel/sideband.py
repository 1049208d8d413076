"""The kernel's side-band: forks, execs, mappings and exits of all processes, from one perf event per CPU.

The event itself counts nothing (``PERF_COUNT_SW_DUMMY``); the kernel writes records beside it into a ring that is
mapped here and read in place (include/uapi/linux/perf_event.h): page 0 holds head and tail, then the data, a power of
two. A full ring drops records and says how many.
"""

from __future__ import annotations

import mmap
import os
import select
import struct
import time
from typing import TYPE_CHECKING

from flamebus.errors import KernelUnavailableError
from producers.kernel import perf
from producers.kernel.maps import online_cpus
from producers.kernel.syscalls import unavailable
from producers.lives import Comm, EventsLost, Exit, Fork, Mmap, ProcessEvent

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator

RING_BYTES = 1 << 18
"""Per CPU: the lives of about 250 programs of a shell script between two drains."""
_WAKEUP_BYTES = 192  # a static program that has been mapped and not begun
_HEAD = 1024  # byte offset of data_head in struct perf_event_mmap_page; data_tail follows
_LOST, _COMM, _EXIT, _FORK, _MMAP2 = 2, 3, 4, 7, 10  # enum perf_event_type
_MISC_EXEC, _MISC_BUILD_ID = 1 << 13, 1 << 14
_PROT_EXEC = 4
_SAMPLE_TIME = 1 << 2  # PERF_SAMPLE_TIME: with sample_id_all every record ends in its time
_MAX_BUILD_ID_BYTES = 20
_FLAGS = (
    perf.MMAP | perf.MMAP2 | perf.COMM | perf.COMM_EXEC | perf.TASK | perf.SAMPLE_ID_ALL | perf.USE_CLOCK_ID
    | perf.WATERMARK | perf.DISABLED
)  # fmt: skip


def records(data: memoryview, tail: int, head: int) -> Iterator[tuple[int, int, memoryview]]:
    """The records between two positions of a ring: type, misc bits and body; only one that wraps is copied."""
    size = len(data)
    while tail < head:
        at = tail % size
        kind, misc, length = struct.unpack_from("<IHH", data, at)  # records are multiples of 8: a header never wraps
        if length < 8:
            return  # not a record: the rest of this drain cannot be told apart
        end = at + length
        body = data[at + 8 : end] if end <= size else memoryview(bytes(data[at + 8 :]) + bytes(data[: end - size]))
        yield kind, misc, body
        tail += length


def decode(kind: int, misc: int, body: memoryview) -> ProcessEvent | None:
    """The event in a record; ``None`` for threads that begin, and for records that say nothing of processes."""
    (boot_nano,) = struct.unpack_from("<Q", body, len(body) - 8)
    if kind == _MMAP2:
        return _mmap(misc, body, boot_nano)
    if kind == _COMM:
        tgid, tid = struct.unpack_from("<II", body)
        return Comm(tgid, tid, _text(body[8:-8]), bool(misc & _MISC_EXEC), boot_nano)
    if kind == _FORK:
        tgid, parent_tgid, tid = struct.unpack_from("<III", body)
        return Fork(tgid, parent_tgid, boot_nano) if tgid == tid else None
    if kind == _EXIT:
        tgid, _, tid = struct.unpack_from("<III", body)
        return Exit(tgid, tid, boot_nano)
    if kind == _LOST:
        return EventsLost(struct.unpack_from("<Q", body, 8)[0], boot_nano)
    return None


def _mmap(misc: int, body: memoryview, boot_nano: int) -> Mmap:
    tgid, _, start, length, offset = struct.unpack_from("<IIQQQ", body)
    protection = struct.unpack_from("<I", body, 56)[0]
    inode, device, build_id = 0, 0, None
    if misc & _MISC_BUILD_ID:
        size = min(body[32], _MAX_BUILD_ID_BYTES)
        build_id = bytes(body[36 : 36 + size])
    else:
        major, minor, inode = struct.unpack_from("<IIQ", body, 32)
        device = os.makedev(major, minor)
    path = _text(body[64:-8])
    return Mmap(tgid, start, length, offset, inode, device, path, build_id, boot_nano, bool(protection & _PROT_EXEC))


def _text(padded: memoryview) -> str:
    return os.fsdecode(bytes(padded).partition(b"\0")[0])


def boot_nano() -> int:
    """The clock of all events and samples."""
    return time.clock_gettime_ns(time.CLOCK_BOOTTIME)


class _Ring:
    """One CPU's ring."""

    def __init__(self, descriptor: int, size_bytes: int) -> None:
        self.descriptor = descriptor
        try:
            self._pages = mmap.mmap(descriptor, mmap.PAGESIZE + size_bytes, mmap.MAP_SHARED)
        except OSError as error:
            os.close(descriptor)
            raise unavailable("map the ring that reports processes", error.errno or 0) from error
        self._all = memoryview(self._pages)
        self._data = self._all[mmap.PAGESIZE :]

    def take(self) -> list[ProcessEvent]:
        """All records written so far, decoded; their room is given back."""
        head, tail = struct.unpack_from("<QQ", self._pages, _HEAD)
        if head == tail:
            return []
        decoded = (decode(*record) for record in records(self._data, tail, head))
        found = [event for event in decoded if event is not None]
        struct.pack_into("<Q", self._pages, _HEAD + 8, head)
        return found

    def close(self) -> None:
        self._data.release()
        self._all.release()
        self._pages.close()
        os.close(self.descriptor)


class Sideband:
    """Reads the lives of all processes. One thread."""

    def __init__(self, ring_bytes: int = RING_BYTES, clock: Callable[[], int] = boot_nano) -> None:
        """Nothing happens yet.

        Args:
            ring_bytes: data of each CPU's ring, a power of two of at least a page.
            clock: the boot clock, ns.
        """
        self._ring_bytes, self._clock = ring_bytes, clock
        self._rings: dict[int, _Ring] = {}
        self._held: list[ProcessEvent] = []
        self._refused: set[int] = set()
        self._wakeups = select.epoll()

    def start(self) -> None:
        """Open the event on every CPU; from now on nothing is missed but what a full ring drops, which is counted.

        Raises:
            KernelUnavailableError: the kernel refuses; nothing stays open.
        """
        try:
            for cpu in online_cpus():
                self._open(cpu)
        except BaseException:  # supervisor: gives back what was opened, and raises
            self.stop()
            raise

    def _open(self, cpu: int) -> None:
        try:
            descriptor = self._event(cpu, _FLAGS | perf.BUILD_ID)
        except KernelUnavailableError:
            # Build ids in records came with Linux 5.12; an older kernel names inodes, and refuses the unknown flag.
            descriptor = self._event(cpu, _FLAGS)
        self._rings[cpu] = _Ring(descriptor, self._ring_bytes)
        self._wakeups.register(descriptor, select.EPOLLIN)
        perf.enable(descriptor)

    def follow(self, online: Collection[int]) -> None:
        """Watch CPUs that came online; of those that went take the last records. A new one that refuses is left out.

        Args:
            online: numbers of the CPUs that run now.
        """
        for cpu in self._rings.keys() - set(online):
            ring = self._rings.pop(cpu)
            self._held += ring.take()
            self._wakeups.unregister(ring.descriptor)
            ring.close()
        for cpu in set(online) - self._rings.keys() - self._refused:
            try:
                self._open(cpu)
            except KernelUnavailableError:
                self._refused.add(cpu)
                continue
            # Its first programs may have started before.
            self._held.append(EventsLost(1, self._clock()))

    def _event(self, cpu: int, flags: int) -> int:
        wakeup_bytes = min(_WAKEUP_BYTES, self._ring_bytes // 2)
        attribute = perf.attributes(
            (perf.SOFTWARE, perf.DUMMY), flags=flags, sample_type=_SAMPLE_TIME, wakeup_bytes=wakeup_bytes
        )
        return perf.open_event(attribute, cpu, "the event that reports processes")

    def fileno(self) -> int:
        """A descriptor that becomes readable when a program has started somewhere; see :meth:`woken`."""
        return self._wakeups.fileno()

    def woken(self) -> bool:
        """Whether records have come since the last call; afterwards the descriptor is no longer readable."""
        return bool(self._wakeups.poll(0))

    def drain(self) -> list[ProcessEvent]:
        """What happened since the last drain, by time.

        Rings are read one after another, so what happened while they were is held back until the next drain: a later
        event never comes before an earlier one.
        """
        now = self._clock()
        found = self._held
        for ring in self._rings.values():
            found += ring.take()
        found.sort(key=lambda event: event.time_boot_nano)
        count = len(found)
        while count and found[count - 1].time_boot_nano > now:
            count -= 1
        self._held = found[count:]
        return found[:count]

    def locked_bytes(self) -> int:
        """Kernel memory of the rings, bytes."""
        return len(self._rings) * (self._ring_bytes + mmap.PAGESIZE)

    def stop(self) -> None:
        """Close everything; may be called twice."""
        for ring in self._rings.values():
            ring.close()
        self._rings = {}
        if not self._wakeups.closed:
            self._wakeups.close()
