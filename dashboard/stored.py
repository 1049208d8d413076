"""Answers the API's questions from the object store."""

import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Iterable, Sequence

from dashboard.parameters import TimeRange
from dashboard.source import Found, Heat, Question, Series, ServiceTotal, Sums, Top, Tree, TreeNode
from flamebus.frames import Frame
from flamebus.profile import Loss
from flamebus.store import layout
from flamebus.store.reader import StoreReader
from flamebus.store.totals import StackTotals, matching, search, top_functions
from flamebus.window_profile import HEAT_BIN_NS

_NO_FRAME = Frame("all")
_EVER = layout.TimeRange(0, 2**62)


_KEPT_PROFILES = 8
_KEPT_S = 5.0
"""An answer asks for the same profile several times (sums, tree, search); data younger than this may miss from it."""


class StoredProfiles:
    """Profiles of one store.

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
        """See Source."""
        self._reader.check()

    def services(self, span: TimeRange, kind: str) -> Sequence[ServiceTotal]:
        """See Source."""
        totals = self._reader.service_totals(_range(span), kind)
        names = self._reader.services(_range(span))
        found = [ServiceTotal(name, totals.get(name, 0)) for name in names]
        return sorted(found, key=lambda service: (-service.total, service.name))

    def kinds(self, span: TimeRange) -> Sequence[str]:
        """See Source."""
        return self._reader.kinds(_range(span))

    def has_service(self, service: str) -> bool:
        """See Source."""
        if service not in self._known and self._reader.has_service(service, _EVER):
            self._known.add(service)
        return service in self._known

    def sums(self, question: Question) -> Sums:
        """See Source."""
        found = self._stacks(question)
        service, kind, span = _parts(question)
        return Sums(
            unit=self._reader.unit(service, kind, span),
            total=found.total,
            samples=float(found.samples.sum()),
            variance=float(found.variance.sum()),
            late_samples=self._reader.late_samples(service, kind, span),
        )

    def series(self, question: Question, step_ns: int) -> Series:
        """See Source."""
        service, kind, span = _parts(question)
        points = {p.start_unix_nano: p for p in self._reader.series(service, kind, span, step_ns)}
        start = span.from_unix_nano - span.from_unix_nano % step_ns
        steps = range(start, span.to_unix_nano, step_ns)
        return Series(
            unit=self._reader.unit(service, kind, span),
            start_unix_nano=start,
            step_ns=step_ns,
            values=[points[step].total if step in points else 0 for step in steps],
            samples=[points[step].samples if step in points else 0.0 for step in steps],
        )

    def tree(self, question: Question, max_nodes: int) -> Tree:
        """See Source."""
        found = self._stacks(question)
        tree = found.tree().prune(max_nodes)
        columns = (tree.parent.tolist(), tree.frame.tolist(), tree.self_value.tolist(), tree.total_value.tolist())
        frames = tree.frames or (_NO_FRAME,)
        nodes = [TreeNode(p, frames[f], own, whole) for p, f, own, whole in zip(*columns, strict=True)]
        return Tree(nodes, tree.pruned_count)

    def top(self, question: Question, limit: int, search: str) -> Top:
        """See Source."""
        found = self._stacks(question)
        return Top(top_functions(found, search, limit), len(matching(found.frames, search)))

    def search(self, question: Question, text: str) -> Found:
        """See Source."""
        found = search(self._stacks(question), text)
        return Found(found.value, found.share, found.function_count)

    def losses(self, question: Question) -> Sequence[Loss]:
        """See Source."""
        return self._reader.losses(*_parts(question))

    def heat(self, question: Question) -> Heat:
        """See Source."""
        start, counts = self._reader.heat(*_parts(question))
        return Heat(start, HEAT_BIN_NS, counts.tolist())

    def stacks(self, question: Question) -> Iterable[tuple[Sequence[str], int]]:
        """See Source."""
        found = self._stacks(question)
        return (([found.frames[row].function for row in stack], value) for stack, value in found.pairs())

    def _stacks(self, question: Question) -> StackTotals:
        now = self._monotonic_s()
        with self._lock:
            kept = self._kept.get(question)
        if kept and now - kept[0] < _KEPT_S:
            return kept[1]
        found = self._reader.stacks(*_parts(question))
        with self._lock:
            self._kept[question] = now, found
            self._kept.move_to_end(question)
            while len(self._kept) > _KEPT_PROFILES:
                self._kept.popitem(last=False)
        return found


def _range(span: TimeRange) -> layout.TimeRange:
    return layout.TimeRange(span.start_unix_nano, span.end_unix_nano)


def _parts(question: Question) -> tuple[str, str, layout.TimeRange]:
    return question.service, question.kind, _range(question.span)
