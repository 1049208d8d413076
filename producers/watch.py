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
    """Wakes for three reasons: the time is up, a stop is asked for, or programs start.

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
        self._stop = select.poll()
        self._stop.register(stop_descriptor, select.POLLIN)
        self._either = select.poll()
        self._either.register(stop_descriptor, select.POLLIN)
        self._either.register(sideband.fileno(), select.POLLIN)
        self._glance_until_ns = 0
        self._next_glance_ns = 0

    def rest(self, until_ns: int) -> None:
        """Sleep until a time of the monotonic clock, or until a stop is asked for."""
        while (left_ns := until_ns - self._monotonic_ns()) > 0:
            is_glancing = self._monotonic_ns() < self._glance_until_ns
            wait_ns = min(left_ns, GLANCE_NS) if is_glancing else left_ns
            woken = (self._stop if is_glancing else self._either).poll(max(1, wait_ns // 10**6))
            if is_glancing and not woken:
                self._glance()
            elif any(descriptor == self._sideband.fileno() for descriptor, _ in woken):
                self._sideband.woken()
                self._glance_until_ns = self._monotonic_ns() + GLANCE_NS
            elif woken:
                return

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
