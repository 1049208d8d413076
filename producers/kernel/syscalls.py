"""The two system calls that Python lacks, bpf() and perf_event_open(), with errors a person can act on."""

from __future__ import annotations

import ctypes
import errno
import os
import platform
from functools import cache

from flamebus.errors import KernelUnavailableError

_NUMBERS = {"x86_64": (321, 298), "aarch64": (280, 241)}  # bpf, perf_event_open

RIGHTS = "run as root, or give CAP_BPF, CAP_PERFMON, CAP_SYS_PTRACE and CAP_SYSLOG"
"""What to do where rights are missing; flamebus doctor says which."""

_REMEDIES = {
    errno.EPERM: RIGHTS,
    errno.EACCES: RIGHTS,
    errno.ENOSYS: "the kernel was built without it, or a seccomp filter hides it",
    errno.ENOMEM: "memory (or, before Linux 5.11, RLIMIT_MEMLOCK) is exhausted",
    errno.EINVAL: "the kernel is probably too old: Linux 5.8 or newer is needed",
    errno.ENOENT: "the kernel does not offer this kind of event",
}


@cache
def _numbers() -> tuple[int, int]:
    machine = platform.machine()
    if machine not in _NUMBERS:
        raise KernelUnavailableError(f"flamebus samples x86_64 and aarch64 only; this machine is {machine}")
    return _NUMBERS[machine]


@cache
def _libc() -> ctypes.CDLL:
    return ctypes.CDLL(None, use_errno=True)


def unavailable(doing: str, code: int) -> KernelUnavailableError:
    """The error for ``errno`` ``code`` met while ``doing``; says what to do where that is known."""
    remedy = _REMEDIES.get(code)
    return KernelUnavailableError(f"cannot {doing}: {os.strerror(code)}" + (f"; {remedy}" if remedy else ""))


def bpf(command: int, attributes: ctypes.Array[ctypes.c_char]) -> int:
    """``bpf(2)``: returns what the call returns.

    Raises:
        OSError: the call failed; callers who know what they were doing translate it.
    """
    result: int = _libc().syscall(_numbers()[0], command, ctypes.byref(attributes), len(attributes))
    if result < 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))
    return result


def perf_event_open(attributes: bytes, cpu: int) -> int:
    """``perf_event_open(2)`` for every process on one CPU, close-on-exec; returns the descriptor.

    Raises:
        OSError: the call failed.
    """
    close_on_exec = 8  # PERF_FLAG_FD_CLOEXEC
    buffer = ctypes.create_string_buffer(attributes, len(attributes))
    result: int = _libc().syscall(_numbers()[1], buffer, -1, cpu, -1, close_on_exec)
    if result < 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))
    return result
