"""Checks of what the agent needs around it: folders, clock, libraries, and that it is alone."""

from __future__ import annotations

import ctypes
import fcntl
import os
import shutil
import tempfile
from functools import partial
from importlib.util import find_spec
from pathlib import Path

from producers.doctor import Check, Finding, State
from producers.lock import DEFAULT_LOCK
from producers.symbols.demangle import demangled

_CLOCK_UNSYNCHRONISED = 0x40  # STA_UNSYNC of <sys/timex.h>
_MAX_CLOCK_ERROR_US = 1_000_000  # windows wait 2 s for late samples
_MEGABYTE = 1 << 20


def agent_checks(spool: str, spool_bytes: int, lock: Path = DEFAULT_LOCK) -> tuple[Check, ...]:
    """All of them.

    Args:
        spool: folder where batches wait while the bus is away.
        spool_bytes: most bytes it may take.
        lock: the agent's lock.
    """
    return (
        Check("kafka_client", "publishes batches", kafka_client),
        Check("other_agent", "samples this host already", partial(other_agent, lock)),
        Check("spool", "keeps batches while the bus is away", partial(spool_folder, Path(spool), spool_bytes)),
        Check("clock", "puts samples into the right window", clock),
        Check("demangler", "makes C++ names readable", demangler),
    )


def kafka_client() -> Finding:
    """Whether the library is installed."""
    if find_spec("confluent_kafka") is not None:
        return Finding(State.OK, "confluent-kafka")
    return Finding(State.MISSING, "confluent-kafka is not installed", "pip install 'flamebus[agent]'")


def other_agent(path: Path) -> Finding:
    """Whether an agent runs; no fault, but a second one would be refused."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return Finding(State.OK, "none has run here since boot")
    except OSError as error:
        return Finding(State.WARNING, f"cannot read {path}: {error.strerror}", "run as root")
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        holder = os.read(descriptor, 20).decode(errors="replace").strip() or "unknown"
        return Finding(State.OK, f"an agent runs, pid {holder}; a second one would be refused")
    finally:
        os.close(descriptor)
    return Finding(State.OK, "none runs")


def spool_folder(folder: Path, limit_bytes: int) -> Finding:
    """Whether the folder, or the nearest above it that exists, can be written and has the room."""
    remedy = "choose another with --spool, or make it writable"
    existing = next(each for each in (folder, *folder.absolute().parents) if each.exists())
    if not existing.is_dir():
        return Finding(State.MISSING, f"{existing} is no folder", remedy)
    try:
        with tempfile.TemporaryFile(dir=existing):
            free = shutil.disk_usage(existing).free
    except OSError as error:
        return Finding(State.MISSING, f"{existing} cannot be written: {error.strerror}", remedy)
    found = f"{folder}: {free // _MEGABYTE} MB free"
    if free < limit_bytes:
        wanted = f"--spool-bytes allows {limit_bytes // _MEGABYTE} MB"
        return Finding(State.WARNING, f"{found}, {wanted}", "free some, or set --spool-bytes lower")
    return Finding(State.OK, found)


class _Timex(ctypes.Structure):
    """The beginning of ``struct timex``; the kernel fills 208 bytes."""

    _fields_ = (
        ("modes", ctypes.c_uint), ("offset", ctypes.c_long), ("freq", ctypes.c_long), ("maxerror", ctypes.c_long),
        ("esterror", ctypes.c_long), ("status", ctypes.c_int), ("rest", ctypes.c_char * 256),
    )  # fmt: skip


def clock() -> Finding:
    """Whether something keeps the clock right, by what the kernel was told."""
    answer = _Timex()
    if ctypes.CDLL(None, use_errno=True).adjtimex(ctypes.byref(answer)) < 0:
        return Finding(State.WARNING, f"the kernel does not say: {os.strerror(ctypes.get_errno())}")
    return clock_state(answer.status, answer.maxerror)


def clock_state(status: int, max_error_us: int) -> Finding:
    """What the kernel's answer means.

    Args:
        status: flags ``STA_…``.
        max_error_us: most that the clock may be off, µs.
    """
    remedy = "run chrony, systemd-timesyncd or ntpd; samples of a clock that is 2 s late are counted as late"
    if status & _CLOCK_UNSYNCHRONISED:
        return Finding(State.WARNING, "nothing keeps it right, as far as the kernel knows", remedy)
    if max_error_us > _MAX_CLOCK_ERROR_US:
        return Finding(State.WARNING, f"off by up to {max_error_us / 1e6:.1f} s", remedy)
    return Finding(State.OK, f"kept right within {max_error_us / 1e3:.0f} ms")


def demangler() -> Finding:
    """Whether the C++ runtime that knows how is here."""
    if demangled(b"_ZN3foo3barEv") == "foo::bar()":
        return Finding(State.OK, "the C++ runtime")
    return Finding(State.WARNING, "no C++ runtime: names stay as the linker has them", "install libstdc++6")
