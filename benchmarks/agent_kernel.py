"""What a sample costs in the kernel: the BPF program's own time, and with the timer's interrupt around it.

The program's time is the kernel's (``bpf_stats``), on one CPU where one program of known stacks works, at the rate and
with the maps of the agent; medians, because the clock goes on while a hypervisor takes the CPU away. The interrupt
around it shows only as the same work taking longer: pairs of runs with and without sampling, at a rate high enough to
see it.

The bar is for 25 frames that are walked by frame pointers. A kernel built without them (as distributions build it for
x86-64) walks its own stack by its ORC tables, at about a microsecond a frame where caches are cold.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
import tempfile
import time
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from benchmarks.load import build, end, run_known, start
from benchmarks.report import Figure, main
from producers.cpu import CpuProducer, unpacked
from producers.kernel.maps import online_cpus
from producers.kernel.programs import enable_stats

if TYPE_CHECKING:
    from collections.abc import Iterator

HZ = 99
BAR_NS = 15_000
WINDOWS, WINDOW_S = 5, 3.0
_PAIRS, _PAIR_HZ = 7, 4_999
_FIXED_UNITS = "12000"  # about half a second of work
_HIGHEST_PRIORITY = -20


@dataclass(frozen=True, slots=True)
class Cost:
    """Of a sample in one case, medians over windows: ns in the program, frames of user and of kernel stack."""

    ns: float
    user_frames: float
    kernel_frames: float


@contextmanager
def sampling(tgid: int, cpu: int, hz: float) -> Iterator[CpuProducer]:
    """The agent's own program and events on one CPU for one process; the few samples of others end at once."""
    producer = CpuProducer(only_tgid=tgid, online=lambda: (cpu,))
    producer.start(hz)
    try:
        yield producer
    finally:
        producer.stop()


def measure_case(command: list[str], cpu: int, hz: float) -> Cost:
    """Run a workload alone on a CPU, as far as the machine allows, and sample it."""
    process = start("benchmark", command)
    try:
        os.sched_setaffinity(process.pid, {cpu})
        os.setpriority(os.PRIO_PROCESS, process.pid, _HIGHEST_PRIORITY)
        _raise_group(process.pid)
        with sampling(process.pid, cpu, hz) as producer:
            time.sleep(1)
            lengths = {key: len(unpacked(each)) for key, each in producer.drain().new_stacks.items()}
            costs = [_window(producer, lengths) for _ in range(WINDOWS)]
    finally:
        end(process)
    return Cost(*(float(np.median([getattr(cost, name) for cost in costs])) for name in Cost.__slots__))


def _raise_group(tgid: int) -> None:
    """Sessions share a CPU as groups: the priority of a process counts inside its own only."""
    with contextlib.suppress(FileNotFoundError):  # a kernel without such groups
        Path(f"/proc/{tgid}/autogroup").write_text(str(_HIGHEST_PRIORITY))


def _window(producer: CpuProducer, lengths: dict[int, int]) -> Cost:
    before = producer.stats()
    time.sleep(WINDOW_S)
    after = producer.stats()
    drain = producer.drain()
    lengths.update({key: len(unpacked(each)) for key, each in drain.new_stacks.items()})
    samples = max(len(drain.tgid), 1)
    user = np.median([lengths.get(key, 0) for key in drain.user_hash.tolist()] or [0])
    kernel = np.median([lengths.get(key, 0) for key in drain.kernel_hash.tolist()] or [0])
    return Cost((after.run_time_ns - before.run_time_ns) / samples, float(user), float(kernel))


def interrupt_ns(program: str, cpu: int) -> float:
    """Median over pairs: CPU time that sampling adds to the same work, per sample taken."""
    found = []
    command = ["taskset", "--cpu-list", str(cpu), program, "fixed", "25", _FIXED_UNITS]
    for _ in range(_PAIRS):
        without_s = run_known("benchmark", command)["cpu_s"]
        process = start("benchmark", command, subprocess.PIPE)
        with sampling(process.pid, cpu, _PAIR_HZ) as producer:
            output, _ = process.communicate()
            with_s = float(output.split(b":")[1].strip(b" }\n"))
            samples = len(producer.drain().tgid)
        found.append((with_s - without_s) * 1e9 / max(samples, 1))
    return float(np.median(found))


def measure() -> list[Figure]:
    """Deep and shallow stacks, in user mode and inside the kernel."""
    cpu = online_cpus()[-1]
    statistics = enable_stats()
    figures: list[Figure] = []
    with tempfile.TemporaryDirectory(prefix="flamebus-bench-") as folder:
        known = str(build(Path(folder)).known)
        for words, bar in (
            (["spin", "5"], None),
            (["spin", "25"], BAR_NS),
            (["spin", "100"], None),
            (["kernel", "14"], None),  # reading from /proc is 10 frames deep in Linux 6.18, and main is one: 25
            (["kernel", "25"], None),
        ):
            cost = measure_case([known, *words, "600"], cpu, HZ)
            name = f"{words[1]} user frames" + (" and a kernel stack" if words[0] == "kernel" else "")
            figures.append(Figure(f"{name}: program", cost.ns, "ns/sample", bar))
            if words[0] == "kernel":
                figures.append(Figure(f"{name}: frames walked", cost.user_frames + cost.kernel_frames))
        os.close(statistics)
        cost_ns = interrupt_ns(known, cpu)
        figures.append(Figure(f"25 user frames: all that sampling adds, at {_PAIR_HZ} Hz", cost_ns, "ns/sample"))
    return figures


if __name__ == "__main__":
    main("agent_kernel", measure)
