"""How right the agent is: shares of functions, CPU time of processes, of bursts and of processes that live 20 ms.

Programs whose truth is known run under the real agent, which publishes to a real Kafka; what is compared is what
arrives there. A sampler is a throw of dice, so each deviation stands beside its expected size (σ). For shares of n
samples that is the binomial √(p(1−p)/n); for a total it is at most √n samples, reached only when each run on a CPU is
short against the sampling period: a clock that ticks evenly errs by less.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from math import sqrt
from typing import TYPE_CHECKING

import numpy as np

from benchmarks.agent_stage import AgentRun, delivered, samples_by_service, stage
from benchmarks.load import build, run_known
from benchmarks.report import Figure, main
from flamebus.profile import service_of

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from flamebus.profile import SampleBatch

HZ = 99
SPLITS, SPLIT_S = 6, 15
BURSTERS, BURSTS, BUSY_MS, SLEEP_MS = 6, 400, 10, 100
LIVES, LIFE_MS, NAP_MS = 400, 20, 30
FUNCTIONS = ("seventy_percent", "twenty_percent", "ten_percent")
BURST_BAR = 0.98
_WORST_BAR_SIGMAS = 4.0  # of 18 shares; met by chance once in 900 runs
_POOLED_BAR_SIGMAS = 3.3  # of 3


@dataclass(frozen=True, slots=True)
class Split:
    """One run of the program of three functions.

    Attributes:
        truth: share of each function's CPU time, as the program measured it; counts: its samples.
    """

    truth: tuple[float, ...]
    counts: tuple[float, ...]

    def sigmas(self) -> list[float]:
        """Deviation of each function's share, in units of its binomial error."""
        total = sum(self.counts)
        pairs = zip(self.truth, self.counts, strict=True)
        return [(count / total - truth) / sqrt(truth * (1 - truth) / total) for truth, count in pairs]


def samples_by_function(batches: Sequence[SampleBatch], service: str) -> dict[str, float]:
    """Samples of a service by weight, by the known function nearest the leaf."""
    found: dict[str, float] = {}
    for batch in batches:
        names = _known_function(batch)
        services = [service_of(resource) for resource in batch.tables.resources]
        columns = (batch.samples.stack.tolist(), batch.samples.resource.tolist(), batch.samples.weight.tolist())
        for stack, resource, weight in zip(*columns, strict=True):
            if services[resource] == service:
                found[names[stack]] = found.get(names[stack], 0.0) + weight
    return found


def _known_function(batch: SampleBatch) -> list[str]:
    """For each stack of a batch; empty where none is on it."""
    tables = batch.tables
    first_lines = tables.locations.first_line.tolist()
    of_node = [""] * len(tables.nodes.parent)
    for node in range(1, len(of_node)):
        location = int(tables.nodes.location[node])
        stop = first_lines[location + 1] if location + 1 < len(first_lines) else len(tables.lines.function)
        functions = tables.lines.function[first_lines[location] : stop].tolist()
        names = [tables.strings[tables.functions.name[function]] for function in functions]
        known = [name for name in names if name in FUNCTIONS]
        of_node[node] = known[0] if known else of_node[int(tables.nodes.parent[node])]
    return [of_node[node] for node in tables.stacks.node.tolist()]


def run_all(known: Path, bus: str, folder: Path) -> tuple[list[dict[str, float]], list[dict[str, float]], float]:
    """Run everything under the agent; what the splits, the bursters and the launcher of short lives say they did."""
    with AgentRun(bus, folder, ["--hz", str(HZ)]), ThreadPoolExecutor(BURSTERS) as pool:
        split = [str(known), "split", str(SPLIT_S)]
        splits = list(pool.map(lambda number: run_known(f"split-{number}", split), range(SPLITS)))
        lives = run_known("lives", [str(known), "lives", str(LIVES), str(LIFE_MS), str(NAP_MS)])
        burst = [str(known), "bursts", str(BURSTS), str(BUSY_MS), str(SLEEP_MS)]
        bursts = list(pool.map(lambda number: run_known(f"bursts-{number}", burst), range(BURSTERS)))
    return splits, bursts, lives["cpu_s"] + lives["children_cpu_s"]


def seen(name: str, sampled: float, charged_s: float, bar: float | None = None) -> list[Figure]:
    """Sampled over charged CPU time, and how far chance alone may take it from 1."""
    expected = charged_s * HZ
    return [
        Figure(f"{name}: sampled ÷ charged CPU time", sampled / expected, "", bar, bar_is_upper=False),
        Figure(f"{name}: σ of that, at most", 1 / sqrt(expected)),
    ]


def measure() -> list[Figure]:
    """All programs once, under one agent."""
    with stage() as (bus, folder):
        said, burst_said, lives_s = run_all(build(folder).known, bus, folder)
        batches = delivered(bus)
    samples = samples_by_service(batches)
    splits = []
    for number, truth in enumerate(said):
        counts = samples_by_function(batches, f"split-{number}")
        total_s = sum(truth[name] for name in FUNCTIONS)
        splits.append(Split(tuple(truth[n] / total_s for n in FUNCTIONS), tuple(counts.get(n, 0.0) for n in FUNCTIONS)))
    pooled = Split(
        tuple(np.mean([split.truth for split in splits], axis=0)),
        tuple(np.sum([split.counts for split in splits], axis=0)),
    )
    shares = [count / sum(pooled.counts) for count in pooled.counts]
    worst = max(abs(sigma) for split in splits for sigma in split.sigmas())
    together = max(abs(sigma) for sigma in pooled.sigmas())
    split_samples = sum(samples.get(f"split-{number}", 0.0) for number in range(SPLITS))
    burst_samples = sum(samples.get(f"bursts-{number}", 0.0) for number in range(BURSTERS))
    return [
        *(
            Figure(f"share of {name} (true: {100 * truth:.2f} %)", 100 * share, "%")
            for name, truth, share in zip(FUNCTIONS, pooled.truth, shares, strict=True)
        ),
        Figure(f"largest deviation of a share in {SPLITS} runs", worst, "σ", _WORST_BAR_SIGMAS),
        Figure("largest deviation of a share, runs together", together, "σ", _POOLED_BAR_SIGMAS),
        *seen("steady", split_samples, sum(each["cpu_s"] for each in said)),
        *seen(f"bursts of {BUSY_MS} ms", burst_samples, sum(each["cpu_s"] for each in burst_said), BURST_BAR),
        *seen(f"{LIVES} processes of {LIFE_MS} ms", samples.get("lives", 0.0), lives_s),
    ]


if __name__ == "__main__":
    main("agent_accuracy", measure)
