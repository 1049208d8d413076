"""What happens to processes: the vocabulary between the kernel's side-band records and the process table.

All times are nanoseconds of the kernel's boot clock (CLOCK_BOOTTIME), the clock of the samples and of the start time in
``/proc/PID/stat``. Events come out of :meth:`producers.kernel.sideband.Sideband.drain` ordered by time.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Fork:
    """A process was made by another and starts with a copy of its mappings (threads are not reported).

    Attributes:
        tgid: the new process.
        parent_tgid: the process it is a copy of.
        time_boot_nano: when, in ns of the boot clock.
    """

    tgid: int
    parent_tgid: int
    time_boot_nano: int


@dataclass(frozen=True, slots=True)
class Comm:
    """A thread took a name; with ``is_exec`` the process began a new program and all its old mappings are gone.

    Attributes:
        tgid: the process.
        tid: the thread that took the name; equal to ``tgid`` when ``is_exec``.
        name: at most 15 bytes in the kernel; invalid UTF-8 is kept by surrogate escapes.
        is_exec: whether the name comes from exec rather than from a thread naming itself.
        time_boot_nano: when, in ns of the boot clock.
    """

    tgid: int
    tid: int
    name: str
    is_exec: bool
    time_boot_nano: int


@dataclass(frozen=True, slots=True)
class Mmap:
    """A process mapped a file (or anonymous memory, named as the kernel names it: ``//anon``, ``[heap]``, ``[vdso]``).

    Attributes:
        tgid: the process.
        start: first address.
        length: bytes mapped.
        offset: byte offset into the file.
        inode: the file's inode, 0 when the kernel sent ``build_id`` in its place.
        device: ``(major, minor)`` packed as :func:`os.makedev` does, 0 when the kernel sent ``build_id`` in its place.
        path: as seen in the mount namespace of the process; may be gone by now.
        build_id: the GNU build id of the ELF file, read by the kernel at the time of mapping; None when it has none.
        time_boot_nano: when, in ns of the boot clock.
        is_executable: whether the mapping can be run (PROT_EXEC).
    """

    tgid: int
    start: int
    length: int
    offset: int
    inode: int
    device: int
    path: str
    build_id: bytes | None
    time_boot_nano: int
    is_executable: bool


@dataclass(frozen=True, slots=True)
class Exit:
    """A thread ended; the process ended when ``tid == tgid`` and no other thread of it is left.

    Attributes:
        tgid: the process.
        tid: the thread.
        time_boot_nano: when, in ns of the boot clock.
    """

    tgid: int
    tid: int
    time_boot_nano: int


@dataclass(frozen=True, slots=True)
class EventsLost:
    """The kernel dropped side-band records on one CPU: what is known of processes may be stale and must be read again.

    Attributes:
        count: how many records.
        time_boot_nano: when it was noticed, in ns of the boot clock.
    """

    count: int
    time_boot_nano: int


ProcessEvent = Fork | Comm | Mmap | Exit | EventsLost
