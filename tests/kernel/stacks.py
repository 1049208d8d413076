"""Runs tests/workloads/cpu_stacks.c for the tests beside this file."""

from __future__ import annotations

import subprocess
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from producers.cpu import CpuDrain, CpuProducer

_SOURCE = Path(__file__).parents[1] / "workloads" / "cpu_stacks.c"
_FLAGS = ("-O1", "-fno-omit-frame-pointer", "-fno-optimize-sibling-calls")
DEADLINE_S = 20


@contextmanager
def running_stacks(folder: Path, *words: str) -> Iterator[int]:
    """The workload with these arguments; gives its process id."""
    program = folder / "cpu_stacks"
    subprocess.run(["gcc", *_FLAGS, "-o", program, _SOURCE], check=True)
    with subprocess.Popen([program, *words]) as child:
        try:
            yield child.pid
        finally:
            child.kill()


def drain_until(producer: CpuProducer, is_enough: Callable[[list[CpuDrain]], bool]) -> list[CpuDrain]:
    """Drains, oldest first, until they are enough."""
    drains: list[CpuDrain] = []
    end = time.monotonic() + DEADLINE_S
    while not is_enough(drains):
        assert time.monotonic() < end, f"what the test waits for did not come within {DEADLINE_S} s"
        producer.wait(0.1)
        drains.append(producer.drain())
    return drains
