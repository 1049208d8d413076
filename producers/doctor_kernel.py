"""Checks of what this kernel offers: what sampling needs, and what kinds to come would use."""

from __future__ import annotations

import ctypes
import os
import platform
import re
import struct
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from flamebus.errors import KernelUnavailableError
from producers.doctor import Check, Finding, State
from producers.kernel import perf
from producers.kernel.bytecode import load_bytecode
from producers.kernel.maps import BpfMap, MapSpec, MapType
from producers.kernel.programs import PERF_EVENT, Program
from producers.kernel.syscalls import bpf

if TYPE_CHECKING:
    from collections.abc import Callable

_OLDEST = (5, 8)  # BPF ring buffers, CAP_BPF and CAP_PERFMON
_ARCHITECTURES = ("x86_64", "aarch64")
_RETURN_0 = bytes.fromhex("b7000000000000009500000000000000")  # r0 = 0; exit
_RAW_TRACEPOINT = 17  # BPF_PROG_TYPE_RAW_TRACEPOINT, and the command BPF_RAW_TRACEPOINT_OPEN
_BTF = Path("/sys/kernel/btf/vmlinux")
_EVENT_SOURCES = Path("/sys/bus/event_source/devices")
_TRACEFS = (Path("/sys/kernel/tracing"), Path("/sys/kernel/debug/tracing"))


def kernel_checks(release: str = "", machine: str = "") -> tuple[Check, ...]:
    """What the agent needs.

    Args:
        release: of the kernel; empty for the one that runs.
        machine: the architecture; empty for the one that runs.
    """
    return (
        Check("kernel_version", "has ring buffers", partial(kernel_version, release or platform.release())),
        Check(
            "architecture", "has system call numbers that we know", partial(architecture, machine or platform.machine())
        ),
        Check("bytecode", "is the program that samples", bytecode),
        Check("bpf", "runs the program", bpf_program),
        Check("ring_buffer", "brings samples to the agent", ring_buffer),
        Check("lru_map", "remembers stacks already sent", lru_map),
        Check("cpu_clock", "makes the kernel sample", cpu_clock),
        Check("process_events", "tells of processes that live shortly", process_events),
    )


def optional_checks() -> tuple[Check, ...]:
    """What later kinds use."""
    return (
        Check("btf", "places of fields in kernel structures", partial(btf, _BTF)),
        Check("tp_btf", "off-CPU time at the least cost", partial(tp_btf, _BTF)),
        Check("raw_tracepoint", "off-CPU time", raw_tracepoint),
        Check("tracepoint", "page faults, system calls", partial(tracepoint, _TRACEFS)),
        Check("kprobe", "functions of the kernel", partial(event_source, "kprobe")),
        Check("uprobe", "allocations, functions of programs", partial(event_source, "uprobe")),
        Check("hardware_counters", "cycles, cache misses", hardware_counters),
    )


def _tried(attempt: Callable[[ExitStack], str]) -> Finding:
    """What an attempt shows; whatever it opened is closed, and its error is the answer."""
    with ExitStack() as opened:
        try:
            return Finding(State.OK, attempt(opened))
        except KernelUnavailableError as error:
            found, _, remedy = str(error).partition("; ")
            return Finding(State.MISSING, found, remedy or "see the message; docs/agent.md says what the agent needs")


def kernel_version(release: str) -> Finding:
    """Whether the kernel is new enough."""
    numbers = re.match(r"(\d+)\.(\d+)", release)
    if numbers and (int(numbers[1]), int(numbers[2])) >= _OLDEST:
        return Finding(State.OK, release)
    return Finding(State.MISSING, release, "use Linux 5.8 or newer")


def architecture(machine: str) -> Finding:
    """Whether we know its system calls."""
    if machine in _ARCHITECTURES:
        return Finding(State.OK, machine)
    return Finding(State.MISSING, machine, f"flamebus samples {' and '.join(_ARCHITECTURES)} only")


def bytecode() -> Finding:
    """Whether the sampling program is shipped, cached or can be compiled; compiles it where it must (0.3 s)."""

    def attempt(_: ExitStack) -> str:
        code = load_bytecode("cpu")
        return f"cpu, {sum(map(len, code.programs.values())) // 8} instructions"

    return _tried(attempt)


def bpf_program() -> Finding:
    """Whether the smallest of programs loads."""

    def attempt(opened: ExitStack) -> str:
        opened.callback(Program("fb_doctor", _RETURN_0, {}, PERF_EVENT).close)
        return "a program loads"

    return _tried(attempt)


def ring_buffer() -> Finding:
    """Whether a ring buffer can be made."""
    return _map_can_be_made(MapSpec("fb_doctor", MapType.RING_BUFFER, 0, 0, os.sysconf("SC_PAGE_SIZE")))


def lru_map() -> Finding:
    """Whether a hash that forgets can be made."""
    return _map_can_be_made(MapSpec("fb_doctor", MapType.LRU_HASH, 8, 4, 64))


def _map_can_be_made(spec: MapSpec) -> Finding:
    def attempt(opened: ExitStack) -> str:
        opened.callback(BpfMap(spec).close)
        return "can be made"

    return _tried(attempt)


def cpu_clock() -> Finding:
    """Whether the clock that samples can be opened for all processes."""
    attribute = perf.attributes((perf.SOFTWARE, perf.CPU_CLOCK), period=10**9, flags=perf.DISABLED)
    return _event_opens(attribute, "the cpu-clock event")


def process_events() -> Finding:
    """Whether the kernel tells us of forks, execs, mappings and exits."""
    flags = perf.DISABLED | perf.MMAP | perf.MMAP2 | perf.COMM | perf.TASK | perf.SAMPLE_ID_ALL
    return _event_opens(perf.attributes((perf.SOFTWARE, perf.DUMMY), flags=flags), "the event that tells of processes")


def _event_opens(attribute: bytes, what: str) -> Finding:
    def attempt(opened: ExitStack) -> str:
        opened.callback(os.close, perf.open_event(attribute, 0, what))
        return "can be opened for all processes"

    return _tried(attempt)


def btf(path: Path) -> Finding:
    """Whether the kernel describes its own types."""
    if path.exists():
        return Finding(State.OK, f"{path.stat().st_size // 1024} kB of type information")
    return Finding(State.ABSENT, "none", "use a kernel with CONFIG_DEBUG_INFO_BTF")


def tp_btf(path: Path) -> Finding:
    """Whether programs can be attached to scheduler tracepoints with types."""
    try:
        is_offered = b"\0btf_trace_sched_switch\0" in path.read_bytes()
    except OSError:
        is_offered = False
    if is_offered:
        return Finding(State.OK, "sched_switch has one")
    return Finding(State.ABSENT, "none for sched_switch", "use Linux 5.5 or newer with BTF")


def raw_tracepoint() -> Finding:
    """Whether a program can be attached to a raw tracepoint; it is detached at once."""
    try:
        program = Program("fb_doctor", _RETURN_0, {}, _RAW_TRACEPOINT)
    except KernelUnavailableError as error:
        return Finding(State.ABSENT, str(error).partition("; ")[0])
    name = ctypes.create_string_buffer(b"sched_process_exec")
    attributes = struct.pack("<QI", ctypes.addressof(name), program.fd)
    try:
        os.close(bpf(_RAW_TRACEPOINT, ctypes.create_string_buffer(attributes, 16)))
    except OSError as error:
        return Finding(State.ABSENT, f"cannot be attached: {error.strerror}")
    finally:
        program.close()
    return Finding(State.OK, "a program can be attached")


def tracepoint(folders: tuple[Path, ...]) -> Finding:
    """Whether tracepoints have numbers that we can read."""
    for folder in folders:
        try:
            number = (folder / "events/sched/sched_switch/id").read_text().strip()
        except OSError:
            continue
        return Finding(State.OK, f"{folder}: sched_switch is {number}")
    return Finding(State.ABSENT, "tracefs is not mounted, or not for us", "mount -t tracefs none /sys/kernel/tracing")


def event_source(name: str, folder: Path = _EVENT_SOURCES) -> Finding:
    """Whether the kernel has a source of events, by name."""
    if (folder / name / "type").exists():
        return Finding(State.OK, "offered")
    return Finding(State.ABSENT, "not in this kernel")


def hardware_counters() -> Finding:
    """Whether the processor's counters can be used."""
    if perf.has_hardware_cycles():
        return Finding(State.OK, "cycles can be counted")
    return Finding(State.ABSENT, "none that we may use (virtual machines often have none)")
