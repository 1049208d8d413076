"""What the agent itself takes from the machine."""

import os
import resource
from dataclasses import dataclass
from pathlib import Path

_PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")
NICENESS = -5
"""Three times the share of a process of normal priority, while there is contention."""


@dataclass(frozen=True, slots=True)
class OwnCost:
    """CPU time of all threads of this process since its start, in seconds, and resident memory in bytes."""

    cpu_s: float
    memory_bytes: int


def claim_priority(niceness: int = NICENESS) -> bool:
    """Run ahead of the load that is measured, as far as we may; whether it worked.

    The agent needs little, but in time: on a crowded machine, where it matters most, processes end before it has had
    its turn to read them.
    """
    try:
        os.setpriority(os.PRIO_PROCESS, 0, niceness)
    except PermissionError:
        return False
    return True


def own_cost() -> OwnCost:
    """The cost up to now."""
    usage = resource.getrusage(resource.RUSAGE_SELF)
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return OwnCost(usage.ru_utime + usage.ru_stime, pages * _PAGE_BYTES)
