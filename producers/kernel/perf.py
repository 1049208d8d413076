"""Perf events: attributes as the kernel wants them, opened on every CPU."""

from __future__ import annotations

import fcntl
import os
import struct
from pathlib import Path

from producers.kernel.syscalls import perf_event_open, unavailable

_ENABLE, _PERIOD, _SET_BPF = 0x2400, 0x40082404, 0x40042408
_ATTRIBUTE_BYTES = 136  # PERF_ATTR_SIZE_VER8; older kernels accept it while the tail is zero
SOFTWARE, HARDWARE = 1, 0  # perf_type_id
CPU_CLOCK, DUMMY, CPU_CYCLES = 0, 9, 0
CLOCK_BOOTTIME = 7
# Bits of perf_event_attr's flag word.
DISABLED, EXCLUDE_IDLE, MMAP, COMM, FREQUENCY = 1 << 0, 1 << 7, 1 << 8, 1 << 9, 1 << 10
TASK, WATERMARK, SAMPLE_ID_ALL, MMAP2, COMM_EXEC = 1 << 13, 1 << 14, 1 << 18, 1 << 23, 1 << 24
USE_CLOCK_ID, BUILD_ID = 1 << 25, 1 << 34


def attributes(
    event: tuple[int, int], *, period: int = 0, flags: int = 0, sample_type: int = 0, wakeup_bytes: int = 0
) -> bytes:
    """A ``struct perf_event_attr``.

    Args:
        event: type and config.
        period: events between samples, or samples per second with ``FREQUENCY``.
        flags: the flag word.
        sample_type: which fields records carry.
        wakeup_bytes: with ``WATERMARK``, wake readers when this much waits.
    """
    kind, config = event
    head = struct.pack(
        "<IIQQQQQIIQQ", kind, _ATTRIBUTE_BYTES, config, period, sample_type, 0, flags, wakeup_bytes, 0, 0, 0
    )
    # branch_sample_type, sample_regs_user, sample_stack_user, then clockid
    tail = struct.pack("<QQIi", 0, 0, 0, CLOCK_BOOTTIME if flags & USE_CLOCK_ID else 0)
    return (head + tail).ljust(_ATTRIBUTE_BYTES, b"\0")


def open_event(attribute: bytes, cpu: int, what: str) -> int:
    """Open on one CPU for every process.

    Raises:
        KernelUnavailableError: the kernel refuses.
    """
    try:
        return perf_event_open(attribute, cpu)
    except OSError as error:
        raise unavailable(f"open {what} on CPU {cpu}", error.errno or 0) from error


def enable(descriptor: int) -> None:
    """Start counting."""
    fcntl.ioctl(descriptor, _ENABLE, 0)


def set_period(descriptor: int, period: int) -> None:
    """Change the period of a running event (55 µs, nothing is reloaded)."""
    fcntl.ioctl(descriptor, _PERIOD, struct.pack("<Q", period))


def read_count(descriptor: int) -> int:
    """What the event has counted: ns for the cpu-clock; stands still once the event's CPU has gone offline."""
    (count,) = struct.unpack("<Q", os.read(descriptor, 8))
    return int(count)


def attach(descriptor: int, program_descriptor: int) -> None:
    """Run a BPF program at each overflow; it is detached when the event is closed."""
    fcntl.ioctl(descriptor, _SET_BPF, program_descriptor)


def has_hardware_cycles() -> bool:
    """Whether a PMU counts cycles here (virtual machines often have none)."""
    if not Path("/sys/bus/event_source/devices/cpu").exists():
        return False
    try:
        os.close(perf_event_open(attributes((HARDWARE, CPU_CYCLES), flags=DISABLED), 0))
    except OSError:
        return False
    return True
