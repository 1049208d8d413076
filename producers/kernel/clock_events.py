"""The cpu-clock event of every online CPU, each running one program at every period; follows CPUs that come and go."""

from __future__ import annotations

import logging
import os
from typing import TYPE_CHECKING

from flamebus.errors import KernelUnavailableError
from producers.kernel import perf
from producers.kernel.maps import online_cpus

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable

LOG = logging.getLogger("flamebus.agent")


class ClockEvents:
    """Open events by CPU. Idle is excluded: a CPU without work costs a timer tick and no run of the program.

    The kernel takes the event of a CPU that goes offline away for good, so one that comes back needs a new one, also
    when nobody looked meanwhile: its clock stands still.
    """

    def __init__(
        self, program_descriptor: int, period_ns: int, online: Callable[[], Iterable[int]] = online_cpus
    ) -> None:
        """Open and start an event on every online CPU.

        Args:
            program_descriptor: the BPF program to run.
            period_ns: CPU time between runs.
            online: numbers of the CPUs that run now.

        Raises:
            KernelUnavailableError: the kernel refuses one; none stays open.
        """
        self._program_descriptor, self._period_ns, self._online = program_descriptor, period_ns, online
        self._descriptors: dict[int, int] = {}
        self._counts: dict[int, int] = {}
        self._refused: set[int] = set()
        try:
            for cpu in online():
                self._open(cpu)
        except KernelUnavailableError:
            self.close()
            raise

    @property
    def cpus(self) -> tuple[int, ...]:
        """CPUs that are sampled, ascending."""
        return tuple(sorted(self._descriptors))

    def _open(self, cpu: int) -> None:
        attribute = perf.attributes(
            (perf.SOFTWARE, perf.CPU_CLOCK), period=self._period_ns, flags=perf.DISABLED | perf.EXCLUDE_IDLE
        )
        try:
            descriptor = perf.open_event(attribute, cpu, "the cpu-clock event")
        except KernelUnavailableError:
            if cpu in self._online():
                raise
            return  # it went offline between the look and the call
        self._descriptors[cpu], self._counts[cpu] = descriptor, -1
        perf.attach(descriptor, self._program_descriptor)
        perf.enable(descriptor)

    def follow(self, alive: Collection[int] = ()) -> None:
        """Sample CPUs that came online, give up those that went. One that the kernel refuses is told once.

        Args:
            alive: CPUs whose program ran since the last call; the others' clocks are looked at, which interrupts them.
        """
        online = set(self._online())
        for cpu in list(self._descriptors):
            if cpu not in online or (cpu not in alive and self._stands_still(cpu)):
                os.close(self._descriptors.pop(cpu))
        self._refused &= online
        for cpu in online - self._descriptors.keys() - self._refused:
            try:
                self._open(cpu)
            except KernelUnavailableError as error:
                self._refused.add(cpu)
                LOG.warning("CPU %d came online and is not sampled: %s", cpu, error)

    def _stands_still(self, cpu: int) -> bool:
        before, self._counts[cpu] = self._counts[cpu], perf.read_count(self._descriptors[cpu])
        return self._counts[cpu] == before

    def set_period(self, period_ns: int) -> None:
        """Change the period of all events; nothing is reloaded."""
        self._period_ns = period_ns
        for descriptor in self._descriptors.values():
            perf.set_period(descriptor, period_ns)

    def close(self) -> None:
        """Detach: the program does not run any more when this returns. May be called twice."""
        while self._descriptors:
            os.close(self._descriptors.popitem()[1])
