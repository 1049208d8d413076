"""Sleeping between drains, with an eye on programs that start: short lives are read while they last."""

from __future__ import annotations

import select
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from producers.cpu import CpuProducer
    from producers.host import LiveHost
    from producers.kernel.sideband import Sideband

GLANCE_NS = 40 * 10**6
"""Between two glances: a process that runs for longer than this and a sampling period is read while it lives."""
_YOUNG_NS = 200 * 10**6
"""How long after a program has started somewhere glances go on; later the drain, once a second, is soon enough."""


class Watch:
    """Wakes when the time is up, a stop is asked for, the kernel's rings are half full, or programs start.

    In the last case it glances a few times at the samples that wait in the ring. Only processes that have been sampled
    are read: most short lives never are, and so cost no more than their side-band records.
    """

    def __init__(
        self,
        sideband: Sideband,
        producer: CpuProducer,
        host: LiveHost,
        stop_descriptor: int,
        monotonic_ns: Callable[[], int] = time.monotonic_ns,
    ) -> None:
        """Sideband and producer must have been started.

        Args:
            sideband: what happens to processes.
            producer: its waiting samples are looked at.
            host: is told of both.
            stop_descriptor: becomes readable when it is time to stop.
            monotonic_ns: the clock of deadlines.
        """
        self._sideband, self._producer, self._host = sideband, producer, host
        self._monotonic_ns = monotonic_ns
        self._stop_descriptor = stop_descriptor
        # While it glances there is no use in being woken by every program that starts.
        self._calm, self._alert = select.poll(), select.poll()
        for poll in (self._calm, self._alert):
            poll.register(stop_descriptor, select.POLLIN)
            poll.register(producer.fileno(), select.POLLIN)
        self._alert.register(sideband.fileno(), select.POLLIN)
        self._glance_until_ns = 0
        self._next_glance_ns = 0

    def rest(self, until_ns: int) -> bool:
        """Sleep until a time of the monotonic clock, or until a stop is asked for.

        Returns:
            Whether it was cut short because the kernel's rings fill up.
        """
        while (left_ns := until_ns - self._monotonic_ns()) > 0:
            is_glancing = self._monotonic_ns() < self._glance_until_ns
            wait_ns = min(left_ns, GLANCE_NS) if is_glancing else left_ns
            poll = self._calm if is_glancing else self._alert
            woken = {descriptor for descriptor, _ in poll.poll(max(1, wait_ns // 10**6))}
            if self._stop_descriptor in woken:
                return False
            if self._producer.fileno() in woken and self._producer.is_due():
                return True
            if self._sideband.fileno() in woken:
                self._sideband.woken()
                self._glance_until_ns = self._monotonic_ns() + GLANCE_NS
            elif is_glancing:
                self._glance()
        return False

    def glance_if_due(self) -> None:
        """For whoever keeps the loop busy for long: the same look at programs that start, if it is time for one."""
        now = self._monotonic_ns()
        if now >= self._next_glance_ns:
            self._next_glance_ns = now + GLANCE_NS
            if now < self._glance_until_ns or self._sideband.woken():
                self._glance()

    def _glance(self) -> None:
        self._next_glance_ns = self._monotonic_ns() + GLANCE_NS
        processes = self._host.processes
        before = processes.born_count
        self._host.follow(self._sideband.drain())
        if processes.born_count != before:
            self._glance_until_ns = self._monotonic_ns() + _YOUNG_NS
        self._host.catch(self._producer.waiting_tgids())
