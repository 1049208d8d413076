"""What the agent holds in memory, its kernel maps included, while it profiles a busy machine with symbols.

Its part of resident memory (PSS, which divides pages that several processes share) is read every second from the start
on; beside it stands resident memory (RSS), which counts shared libraries in full.
"""

from __future__ import annotations

import time

from benchmarks.agent_stage import AgentRun, Memory, stage
from benchmarks.load import Load, build
from benchmarks.report import Figure, main

BAR_BYTES = 64_000_000
MEASURED_S = 75  # the last minute of it is the steady state
STEADY_S = 60
_MEGABYTE = 1e6


def watch(agent: AgentRun) -> list[Memory]:
    """What it holds, second by second."""
    seen = []
    end = time.monotonic() + MEASURED_S
    while time.monotonic() < end:
        seen.append(agent.memory())
        time.sleep(1)
    return seen


def measure() -> list[Figure]:
    """One run at the rate by default."""
    with stage() as (bus, folder), Load(build(folder)) as load:
        print("parts of the load: " + ", ".join(load.parts))
        with AgentRun(bus, folder) as agent:
            seen = watch(agent)
    last, middle = seen[-1], seen[-STEADY_S // 2]
    bar = BAR_BYTES / _MEGABYTE
    most = max(each.pss + each.kernel for each in seen)
    return [
        Figure("PSS and kernel memory after a minute", (last.pss + last.kernel) / _MEGABYTE, "MB", bar),
        Figure("PSS and kernel memory, the most of any second", most / _MEGABYTE, "MB", bar),
        Figure("kernel memory of maps and programs", last.kernel / _MEGABYTE, "MB"),
        Figure("RSS and kernel memory after a minute", (last.rss + last.kernel) / _MEGABYTE, "MB"),
        Figure("RSS and kernel memory, the most ever", (last.peak_rss + last.kernel) / _MEGABYTE, "MB"),
        Figure("growth of PSS in the last half minute", (last.pss - middle.pss) / _MEGABYTE, "MB"),
    ]


if __name__ == "__main__":
    main("agent_memory", measure)
