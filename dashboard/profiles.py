"""Profiles of one store as the API asks for them; one that was just read is kept for the next question about it."""

import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from flamebus.profile import I64, Loss
from flamebus.store.reader import SeriesPoint, StoreReader
from flamebus.store.totals import StackTotals
from flamebus.time_range import TimeRange

_EVER = TimeRange(0, 2**62)
_KEPT_PROFILES = 8
_KEPT_S = 5.0
"""The page asks for the same profile several times (graph, table, losses); data younger than this may miss from it."""


@dataclass(frozen=True, slots=True)
class Question:
    """One profile: a service's samples of one kind in a range of window starts."""

    service: str
    kind: str
    span: TimeRange


class StoredProfiles:
    """Calls block, come from several threads, and raise StoreUnavailableError.

    Args:
        reader: of the store.
        monotonic_s: a clock, in seconds.
    """

    def __init__(self, reader: StoreReader, monotonic_s: Callable[[], float] = time.monotonic) -> None:
        self._reader = reader
        self._monotonic_s = monotonic_s
        self._lock = threading.Lock()
        self._known: set[str] = set()
        self._kept: OrderedDict[Question, tuple[float, StackTotals]] = OrderedDict()

    def check(self) -> None:
        """Raise unless profiles can be read at all."""
        self._reader.check()

    def services(self, span: TimeRange, kind: str) -> Sequence[tuple[str, int]]:
        """Services with samples of any kind in the range and the sum of their values of this one, heaviest first."""
        totals = self._reader.service_totals(span, kind)
        found = [(name, totals.get(name, 0)) for name in self._reader.services(span)]
        return sorted(found, key=lambda service: (-service[1], service[0]))

    def kinds(self, span: TimeRange) -> Sequence[str]:
        """Kinds with samples in the range, by name."""
        return self._reader.kinds(span)

    def has_service(self, service: str) -> bool:
        """Whether the service was ever seen: an empty profile is no unknown service."""
        if service not in self._known and self._reader.has_service(service, _EVER):
            self._known.add(service)
        return service in self._known

    def unit(self, question: Question) -> str:
        """Unit of the profile's values."""
        return self._reader.unit(question.service, question.kind, question.span)

    def series(self, question: Question, step_ns: int) -> Sequence[SeriesPoint]:
        """Sums per step of the epoch; steps without samples are left out."""
        return self._reader.series(question.service, question.kind, question.span, step_ns)

    def losses(self, question: Question) -> Sequence[Loss]:
        """What is missing from the profile, by reason, late samples not included."""
        return self._reader.losses(question.service, question.kind, question.span)

    def late_samples(self, question: Question) -> float:
        """Samples that came after their window had closed."""
        return self._reader.late_samples(question.service, question.kind, question.span)

    def heat(self, question: Question) -> tuple[int, I64]:
        """Start, ns UTC, and samples per ``HEAT_BIN_NS`` from there."""
        return self._reader.heat(question.service, question.kind, question.span)

    def stacks(self, question: Question) -> StackTotals:
        """The profile, whole."""
        now = self._monotonic_s()
        with self._lock:
            kept = self._kept.get(question)
        if kept and now - kept[0] < _KEPT_S:
            return kept[1]
        found = self._reader.stacks(question.service, question.kind, question.span)
        with self._lock:
            self._kept[question] = now, found
            self._kept.move_to_end(question)
            while len(self._kept) > _KEPT_PROFILES:
                self._kept.popitem(last=False)
        return found
