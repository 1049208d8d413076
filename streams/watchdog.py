"""Ends a worker that has stopped moving, so that its supervisor starts it again.

Stuck means: the log of a partition has grown, by records that the broker confirmed to us, and yet the partition has not
moved; or the event loop itself no longer turns. A worker that waits for a sink, or is stopping in order, is not stuck.
"""

import logging
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from faust.types import TP

_log = logging.getLogger(__name__)

CHECK_S = 5.0
PATIENCE_CHECKS = 12
"""A minute: longer than a rebalance, a broker's restart (14 s) and the time-outs of both together."""


@dataclass(frozen=True, slots=True)
class Progress:
    """What a worker says of itself.

    Attributes:
        beats: grows while the event loop turns.
        ends: end of the log of each assigned partition as far as it is known.
        next_offsets: the record that each one waits for; of those that nothing was read from yet there is none.
        may_wait: a sink is down, or the worker is stopping.
    """

    beats: int
    ends: Mapping[TP, int]
    next_offsets: Mapping[TP, int]
    may_wait: bool


@dataclass(slots=True)
class StuckDetector:
    """Decides from a series of observations; no clock, no thread."""

    patience: int = PATIENCE_CHECKS
    _beats: int = -1
    _still_loop: int = 0
    _since: dict[TP, tuple[int | None, int, int]] = field(default_factory=dict)

    def observe(self, progress: Progress) -> str:
        """Why the worker is stuck, or an empty string."""
        if progress.may_wait:
            self._since.clear()
            self._still_loop = 0
            return ""
        self._still_loop = self._still_loop + 1 if progress.beats == self._beats else 0
        self._beats = progress.beats
        if self._still_loop >= self.patience:
            return f"the event loop has not turned for {self._still_loop} checks"
        self._since = {tp: self._observed(tp, end, progress) for tp, end in progress.ends.items()}
        for tp, (offset, end_then, checks) in self._since.items():
            if checks >= self.patience and progress.ends[tp] > end_then:
                return f"{tp}: nothing was taken in for {checks} checks, while the log grew to {progress.ends[tp]}" + (
                    f" (waiting for record {offset})" if offset is not None else ""
                )
        return ""

    def _observed(self, tp: TP, end: int, progress: Progress) -> tuple[int | None, int, int]:
        offset = progress.next_offsets.get(tp)
        before = self._since.get(tp)
        if before is None or before[0] != offset or (offset is not None and offset >= end):
            return offset, end, 0
        return offset, before[1], before[2] + 1


class Watchdog:
    """Looks every few seconds, from a thread of its own, since the event loop may be what is stuck."""

    def __init__(self, look: Callable[[], Progress], give_up: Callable[[str], None], check_s: float = CHECK_S) -> None:
        self._look, self._give_up, self._check_s = look, give_up, check_s
        self._is_stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="watchdog", daemon=True)

    def start(self) -> None:
        """Begin to look."""
        self._thread.start()

    def stop(self) -> None:
        """No longer look."""
        self._is_stopping.set()

    def join(self, timeout_s: float) -> None:
        """Wait until it has ended."""
        self._thread.join(timeout_s)

    def _run(self) -> None:
        detector = StuckDetector()
        while not self._is_stopping.wait(self._check_s):
            why = detector.observe(self._look())
            if why:
                _log.critical("stuck: %s", why)
                self._give_up(why)
                return
