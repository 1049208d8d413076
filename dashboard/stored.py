"""Answers the API's questions from the object store."""

from collections.abc import Iterable, Sequence

from dashboard.parameters import TimeRange
from dashboard.source import Found, Heat, Question, Series, Sums, Top, Tree, TreeNode
from flamebus.frames import Frame
from flamebus.profile import Loss
from flamebus.store import layout
from flamebus.store.reader import StoreReader
from flamebus.store.totals import StackTotals, matching, search, top_functions
from flamebus.window_profile import HEAT_BIN_NS

_NO_FRAME = Frame("all")
_EVER = layout.TimeRange(0, 2**62)


class StoredProfiles:
    """Profiles of one store."""

    def __init__(self, reader: StoreReader) -> None:
        self._reader = reader

    def check(self) -> None:
        """See Source."""
        self._reader.check()

    def services(self, span: TimeRange) -> Sequence[str]:
        """See Source."""
        return self._reader.services(_range(span))

    def kinds(self, span: TimeRange) -> Sequence[str]:
        """See Source."""
        return self._reader.kinds(_range(span))

    def has_service(self, service: str) -> bool:
        """See Source."""
        return service in self._reader.services(_EVER)

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
        return self._reader.stacks(*_parts(question))


def _range(span: TimeRange) -> layout.TimeRange:
    return layout.TimeRange(span.start_unix_nano, span.end_unix_nano)


def _parts(question: Question) -> tuple[str, str, layout.TimeRange]:
    return question.service, question.kind, _range(question.span)
