"""BPF programs: loaded from bytecode, listed, and measured."""

from __future__ import annotations

import ctypes
import os
import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING

from flamebus.errors import KernelUnavailableError
from producers.kernel.syscalls import bpf, unavailable

if TYPE_CHECKING:
    from collections.abc import Mapping

    from producers.kernel.maps import BpfMap

_PROG_LOAD, _PROG_GET_NEXT_ID, _PROG_GET_FD_BY_ID, _OBJ_GET_INFO, _ENABLE_STATS = 5, 11, 13, 15, 32
_LOG_BYTES = 1 << 20  # the verifier's last words; it is asked for them only after a refusal
_INSTRUCTION_BYTES = 8
_LOAD_IMMEDIATE_64 = 0x18
_PSEUDO_MAP = 1  # src_reg of a LD_IMM64 that names a map
PERF_EVENT = 7  # BPF_PROG_TYPE_PERF_EVENT


@dataclass(frozen=True, slots=True)
class ProgramStats:
    """What the kernel counted while statistics were on.

    Attributes:
        runs_count: how often the program ran.
        run_time_ns: in all, ns.
    """

    runs_count: int
    run_time_ns: int


def place_maps(instructions: bytes, descriptors: Mapping[int, int]) -> bytes:
    """Put map descriptors in place of the numbers by which the C code names its maps (``enum map_number``).

    Args:
        instructions: 8 bytes each, as compiled.
        descriptors: descriptor of each map number.

    Raises:
        KeyError: the code names a map that is not there.
    """
    code = bytearray(instructions)
    for at in range(0, len(code), _INSTRUCTION_BYTES):
        if code[at] == _LOAD_IMMEDIATE_64 and code[at + 1] >> 4 == _PSEUDO_MAP:
            (number,) = struct.unpack_from("<i", code, at + 4)
            struct.pack_into("<i", code, at + 4, descriptors[number])
    return bytes(code)


class Program:
    """A loaded program; it is gone when its descriptor and all events it is attached to are closed."""

    def __init__(self, name: str, instructions: bytes, maps: Mapping[int, BpfMap], program_type: int) -> None:
        """Load it.

        Args:
            name: at most 15 characters, shown by ``bpftool prog``.
            instructions: as compiled, maps by number.
            maps: the map of each number.
            program_type: ``enum bpf_prog_type``.

        Raises:
            KernelUnavailableError: the kernel refuses; the message ends with the verifier's last lines.
        """
        code = place_maps(instructions, {number: each.fd for number, each in maps.items()})
        try:
            self.fd = _load(name, code, program_type, None)
        except OSError as error:
            raise _refused(name, code, program_type, error) from error

    def stats(self) -> ProgramStats:
        """Runs and run time, counted only while :func:`enable_stats` is in force."""
        return _stats(_info(self.fd))

    def close(self) -> None:
        """Give the descriptor back."""
        os.close(self.fd)


def _load(name: str, code: bytes, program_type: int, log: ctypes.Array[ctypes.c_char] | None) -> int:
    instructions = ctypes.create_string_buffer(code, len(code))
    licence = ctypes.create_string_buffer(b"GPL")  # the stack and clock helpers are for GPL-compatible programs
    attributes = struct.pack(
        "<IIQQIIQII16s",
        program_type,
        len(code) // _INSTRUCTION_BYTES,
        ctypes.addressof(instructions),
        ctypes.addressof(licence),
        1 if log else 0,
        len(log) if log else 0,
        ctypes.addressof(log) if log else 0,
        0,
        0,
        name.encode()[:15],
    )
    return bpf(_PROG_LOAD, ctypes.create_string_buffer(attributes, 120))


def _refused(name: str, code: bytes, program_type: int, cause: OSError) -> KernelUnavailableError:
    """Ask once more, for the verifier's words; nothing is left loaded."""
    log = ctypes.create_string_buffer(_LOG_BYTES)
    try:
        os.close(_load(name, code, program_type, log))
    except OSError:
        last_lines = log.value.decode(errors="replace").splitlines()[-12:]
        message = str(unavailable(f"load the BPF program {name}", cause.errno or 0))
        return KernelUnavailableError("\n".join([message, *last_lines]))
    return unavailable(f"load the BPF program {name}", cause.errno or 0)


def enable_stats() -> int:
    """Make the kernel count runs and run time of all programs while the returned descriptor is open (Linux 5.8)."""
    return bpf(_ENABLE_STATS, ctypes.create_string_buffer(4))


@dataclass(frozen=True, slots=True)
class LoadedProgram:
    """A program in the kernel, whoever loaded it.

    Attributes:
        number: the kernel's id, never used twice while the machine runs.
        name: as given when it was loaded, at most 15 bytes.
        stats: runs and run time.
    """

    number: int
    name: str
    stats: ProgramStats


def loaded_programs() -> list[LoadedProgram]:
    """All BPF programs in the kernel now, in the order they were loaded."""
    found: list[LoadedProgram] = []
    attributes = ctypes.create_string_buffer(12)
    while True:
        try:
            bpf(_PROG_GET_NEXT_ID, attributes)
        except FileNotFoundError:
            return found
        (number,) = struct.unpack_from("<I", attributes.raw, 4)
        struct.pack_into("<I", attributes, 0, number)
        try:
            descriptor = bpf(_PROG_GET_FD_BY_ID, ctypes.create_string_buffer(struct.pack("<III", number, 0, 0), 12))
        except FileNotFoundError:
            continue  # unloaded since
        try:
            info = _info(descriptor)
        finally:
            os.close(descriptor)
        found.append(LoadedProgram(number, info[64:80].rstrip(b"\0").decode(errors="replace"), _stats(info)))


def loaded_names() -> list[str]:
    """Names of all BPF programs in the kernel now, in the order they were loaded."""
    return [program.name for program in loaded_programs()]


def _info(descriptor: int) -> bytes:
    """``struct bpf_prog_info`` of a program."""
    info = ctypes.create_string_buffer(232)
    attributes = struct.pack("<IIQ", descriptor, len(info), ctypes.addressof(info))
    bpf(_OBJ_GET_INFO, ctypes.create_string_buffer(attributes, 16))
    return info.raw


def _stats(info: bytes) -> ProgramStats:
    # run_time_ns and run_cnt lie behind prog_tags, at bytes 192 and 200; name[16] at byte 64.
    run_time_ns, runs = struct.unpack_from("<QQ", info, 192)
    return ProgramStats(runs_count=runs, run_time_ns=run_time_ns)
