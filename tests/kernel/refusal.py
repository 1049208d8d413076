"""A kernel that refuses: runs a command under a filter that answers one system call with an error.

Usage: python refusal.py CALL COMMAND ERRNO PROGRAM ARGUMENT…; COMMAND is the call's first argument, ``any`` for all.
"""

import ctypes
import errno
import os
import platform
import struct
import sys

_NUMBERS = {"x86_64": {"bpf": 321, "perf_event_open": 298}, "aarch64": {"bpf": 280, "perf_event_open": 241}}
_NO_NEW_PRIVILEGES, _SET_SECCOMP, _FILTER = 38, 22, 2
_LOAD, _JUMP_IF_EQUAL, _RETURN = 0x20, 0x15, 0x06
_ALLOW, _ERRNO = 0x7FFF0000, 0x00050000
_NUMBER_AT, _FIRST_ARGUMENT_AT = 0, 16  # in struct seccomp_data


def instructions(number: int, command: int | None, code: int) -> list[tuple[int, int, int, int]]:
    """Classic BPF: operation, jump if true, jump if false, value."""
    picky = [] if command is None else [(_LOAD, 0, 0, _FIRST_ARGUMENT_AT), (_JUMP_IF_EQUAL, 0, 1, command)]
    head = [(_LOAD, 0, 0, _NUMBER_AT), (_JUMP_IF_EQUAL, 0, len(picky) + 1, number)]
    return [*head, *picky, (_RETURN, 0, 0, _ERRNO | code), (_RETURN, 0, 0, _ALLOW)]


def install(program: list[tuple[int, int, int, int]]) -> None:
    """From now on, and in every program that is executed."""
    code = ctypes.create_string_buffer(b"".join(struct.pack("<HBBI", *each) for each in program))
    header = ctypes.create_string_buffer(struct.pack("<HxxxxxxQ", len(program), ctypes.addressof(code)))
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(_NO_NEW_PRIVILEGES, 1, 0, 0, 0) or libc.prctl(_SET_SECCOMP, _FILTER, header, 0, 0):
        raise OSError(ctypes.get_errno(), "prctl")


if __name__ == "__main__":
    call, only, name, *run = sys.argv[1:]
    wanted = None if only == "any" else int(only)
    install(instructions(_NUMBERS[platform.machine()][call], wanted, getattr(errno, name)))
    os.execv(run[0], run)  # noqa: S606 - the filter lives in this process and passes on
