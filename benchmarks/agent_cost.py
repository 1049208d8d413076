"""What the agent takes from a busy machine, and how much of the machine's CPU time it delivers as samples.

The real agent publishes to a real Kafka while the mixed load keeps all CPUs busy, at 19 and at 99 Hz; once more at 99
Hz without the parts that start processes all the time: what services cost that run for days. The cost is CPU time of
the agent's threads and run time of its BPF program (``bpf_stats``), so that it hardly depends on who else is there. The
first seconds, in which it gets to know the host, are told apart.
"""

from __future__ import annotations

import os
import re
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from benchmarks.agent_stage import AgentRun, delivered, losses_by_reason, stage
from benchmarks.load import RESTLESS_PARTS, Load, build
from benchmarks.report import Figure, main
from producers.kernel.maps import online_cpus
from producers.kernel.programs import enable_stats

if TYPE_CHECKING:
    from collections.abc import Sequence

    from flamebus.profile import SampleBatch

RATES_HZ = (19, 99)
STEADY_HZ = 99
WARM_UP_S, WINDOW_S = 15, 40
_TICKS_PER_S = os.sysconf("SC_CLK_TCK")
_IDLE_FIELDS = (3, 4, 7)  # of /proc/stat's first line: idle, iowait, and what the hypervisor took


@dataclass(frozen=True, slots=True)
class Moment:
    """What has been used up to now: seconds of CPU time, runs of the program, ns of them, and the clock."""

    unix_nano: int
    agent_s: float
    runs_count: int
    bpf_ns: int
    away_s: float


@dataclass(frozen=True, slots=True)
class Window:
    """What one rate cost and brought; seconds, and counts of samples."""

    name: str
    hz: int
    start_s: float
    elapsed_s: float
    agent_s: float
    bpf_s: float
    fired_count: int
    expected_count: float
    delivered_count: float
    losses: dict[str, int]

    @property
    def machine_s(self) -> float:
        """CPU time that the machine had."""
        return self.elapsed_s * len(online_cpus())

    def figures(self) -> list[Figure]:
        """As the table shows it."""
        at = self.name
        total_s = self.agent_s + self.bpf_s
        return [
            Figure(f"CPU time of the first {WARM_UP_S} s {at}", self.start_s, "s"),
            Figure(f"CPU time per 100,000 samples {at}", total_s / self.fired_count * 1e5, "s"),
            Figure(f"share of the machine {at}, user space", 100 * self.agent_s / self.machine_s, "%"),
            Figure(f"share of the machine {at}, BPF", 100 * self.bpf_s / self.machine_s, "%"),
            Figure(f"share of the machine {at}", 100 * total_s / self.machine_s, "%"),
            Figure(f"BPF time of a sample {at}", self.bpf_s / self.fired_count * 1e9, "ns"),
            Figure(f"samples fired ÷ expected {at}", self.fired_count / self.expected_count),
            Figure(f"samples delivered ÷ expected {at}", self.delivered_count / self.expected_count),
            *(Figure(f"lost {at}: {reason}", count) for reason, count in sorted(self.losses.items())),
        ]


def now(agent: AgentRun) -> Moment:
    """Read all counters."""
    stats = agent.program_stats()
    fields = Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:]
    away_s = sum(int(fields[field]) for field in _IDLE_FIELDS) / _TICKS_PER_S
    return Moment(time.time_ns(), agent.cpu_s(), stats.runs_count, stats.run_time_ns, away_s)


def samples_between(batches: Sequence[SampleBatch], begin: Moment, end: Moment) -> float:
    """Samples by weight, of the time between two moments."""
    total = 0.0
    for batch in batches:
        times = batch.times_unix_nano()
        inside = (times >= begin.unix_nano) & (times < end.unix_nano)
        total += float(batch.samples.weight[inside].astype(np.float64).sum())
    return total


def window(bus: str, folder: Path, name: str, hz: int) -> Window:
    """One run of the agent at one rate, under a load that runs already."""
    prefix = re.sub(r"\W+", "-", f"cost {name}") + "."
    with AgentRun(bus, folder, ["--hz", str(hz)], topic_prefix=prefix) as agent:
        time.sleep(WARM_UP_S)
        begin = now(agent)
        time.sleep(WINDOW_S)
        end = now(agent)
    batches = delivered(bus, prefix)
    elapsed_s = (end.unix_nano - begin.unix_nano) / 1e9
    busy_s = elapsed_s * len(online_cpus()) - (end.away_s - begin.away_s)
    return Window(
        name=name,
        hz=hz,
        start_s=begin.agent_s,
        elapsed_s=elapsed_s,
        agent_s=end.agent_s - begin.agent_s,
        bpf_s=(end.bpf_ns - begin.bpf_ns) / 1e9,
        fired_count=end.runs_count - begin.runs_count,
        expected_count=busy_s * hz,
        delivered_count=samples_between(batches, begin, end),
        losses=losses_by_reason(batches),
    )


def measure() -> list[Figure]:
    """One window after the other."""
    statistics = enable_stats()
    figures: list[Figure] = []
    try:
        with stage() as (bus, folder):
            programs = build(folder)
            with Load(programs) as load:
                print("parts of the load: " + ", ".join(load.parts))
                if load.missing:
                    print("not here: " + ", ".join(load.missing))
                for hz in RATES_HZ:
                    figures += window(bus, folder, f"at {hz} Hz", hz).figures()
            with Load(programs, without=RESTLESS_PARTS):
                figures += window(bus, folder, f"at {STEADY_HZ} Hz, steady services", STEADY_HZ).figures()
    finally:
        os.close(statistics)
    return figures


if __name__ == "__main__":
    main("agent_cost", measure)
