"""What the agent itself takes from the machine."""

import os
import resource
from dataclasses import dataclass
from pathlib import Path

_PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")


@dataclass(frozen=True, slots=True)
class OwnCost:
    """CPU time of all threads of this process since its start, in seconds, and resident memory in bytes."""

    cpu_s: float
    memory_bytes: int


def own_cost() -> OwnCost:
    """The cost up to now."""
    usage = resource.getrusage(resource.RUSAGE_SELF)
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return OwnCost(usage.ru_utime + usage.ru_stime, pages * _PAGE_BYTES)
