"""Questions of the API and their answers as JSON: docs/http.md describes each field."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from dashboard import parameters
from dashboard.parameters import TimeRange
from dashboard.problems import UnknownKindError, UnknownServiceError
from dashboard.source import Question, Source, Sums, Tree
from flamebus.errors import UsageError
from flamebus.folded import format_folded
from flamebus.hotspot import FunctionHotspot, Share
from flamebus.interval import effective_count, wilson_interval
from flamebus.loss import DROPPED_REASONS
from flamebus.profile import Kind

_MS = 10**6
_HEAT_COLUMN_NS = 10**9
MAX_HEAT_NS = 3600 * 10**9
"""An hour of seconds is 3,600 columns: more than a screen has pixels."""

Parameters = Mapping[str, str]
Json = dict[str, object]


@dataclass(frozen=True, slots=True)
class Export:
    """An answer that is a file instead of JSON."""

    content: bytes
    media_type: str
    file_name: str


class Queries:
    """Answers questions from a source; called from several threads at once."""

    def __init__(self, source: Source) -> None:
        self._source = source

    def check(self) -> None:
        """Raise unless the source answers."""
        self._source.check()

    def questions(self) -> Mapping[str, Callable[[Parameters, int], object]]:
        """Last part of each path → what answers it, from query parameters and the time now (ns UTC)."""
        return {
            "services": self.services,
            "kinds": self.kinds,
            "series": self.series,
            "flamegraph": self.flamegraph,
            "top": self.top,
            "heatmap": self.heatmap,
            "losses": self.losses,
            "export": self.export,
        }

    def services(self, query: Parameters, now_unix_nano: int) -> Json:
        """Services with samples in the range, the heaviest first."""
        span = parameters.time_range(query, now_unix_nano)
        services = self._source.services(span, parameters.kind(query))
        if not services:
            # A store that has gone looks like an empty one.
            self._source.check()
        return _span(span) | {"services": [{"name": service.name, "total": service.total} for service in services]}

    def kinds(self, query: Parameters, now_unix_nano: int) -> Json:
        """Kinds with samples in the range."""
        span = parameters.time_range(query, now_unix_nano)
        return _span(span) | {"kinds": list(self._source.kinds(span))}

    def series(self, query: Parameters, now_unix_nano: int) -> Json:
        """The profile over time."""
        question = self._question(query, now_unix_nano)
        series = self._source.series(question, parameters.step_ns(query, question.span))
        return _span(question.span) | {
            "unit": series.unit,
            "start_unix_ms": series.start_unix_nano / _MS,
            "step_ms": series.step_ns / _MS,
            "values": list(series.values),
            "samples": list(series.samples),
        }

    def flamegraph(self, query: Parameters, now_unix_nano: int) -> Json:
        """The call tree as columns."""
        question = self._question(query, now_unix_nano)
        most = parameters.count(query, "max_nodes", parameters.DEFAULT_MAX_NODES, parameters.MAX_MAX_NODES)
        text = parameters.search(query)
        sums = self._source.sums(question)
        tree = self._source.tree(question, most)
        return _head(question.span, sums) | _tree(tree, sums) | {"search": self._found(question, text)}

    def _found(self, question: Question, text: str) -> Json | None:
        if not text:
            return None
        found = self._source.search(question, text)
        return {"text": text, "value": found.value, "share": _share(found.share), "functions": found.function_count}

    def top(self, query: Parameters, now_unix_nano: int) -> Json:
        """The hottest functions."""
        question = self._question(query, now_unix_nano)
        limit = parameters.count(query, "limit", parameters.DEFAULT_TOP_LIMIT, parameters.MAX_TOP_LIMIT)
        sums = self._source.sums(question)
        top = self._source.top(question, limit, parameters.search(query))
        return _head(question.span, sums) | {
            "functions": [_function(row) for row in top.functions],
            "function_count": top.function_count,
        }

    def losses(self, query: Parameters, now_unix_nano: int) -> Json:
        """What is missing from the profile."""
        question = self._question(query, now_unix_nano)
        sums = self._source.sums(question)
        rows = [
            ("dropped" if loss.reason in DROPPED_REASONS else "lost", loss.reason, float(loss.samples))
            for loss in self._source.losses(question)
        ]
        if sums.late_samples:
            rows.append(("late", "window_closed", sums.late_samples))
        missing = sum(samples for _, _, samples in rows)
        # Shares of everything that was taken, so that what is there and what is missing add up to one.
        whole = sums.samples + missing
        return _span(question.span) | {
            "samples": sums.samples,
            "missing_samples": missing,
            "missing_share": missing / whole if whole else 0.0,
            "losses": [
                {"class": word, "reason": reason, "samples": samples, "share": samples / whole if whole else 0.0}
                for word, reason, samples in sorted(rows, key=lambda row: -row[2])
            ],
        }

    def heatmap(self, query: Parameters, now_unix_nano: int) -> Json:
        """Samples by second and 20 ms within it, of the last hour of the range; column after column."""
        question = self._question(query, now_unix_nano)
        span = question.span
        if span.length_ns > MAX_HEAT_NS:
            span = TimeRange(span.end_unix_nano - MAX_HEAT_NS, span.end_unix_nano)
        heat = self._source.heat(Question(question.service, question.kind, span))
        rows = _HEAT_COLUMN_NS // heat.bin_ns
        return _span(span) | {
            "start_unix_ms": heat.start_unix_nano / _MS,
            "column_ms": _HEAT_COLUMN_NS / _MS,
            "row_ms": heat.bin_ns / _MS,
            "rows": rows,
            "columns": len(heat.counts) // rows,
            "counts": list(heat.counts),
        }

    def export(self, query: Parameters, now_unix_nano: int) -> Export:
        """Every stack as folded text.

        Raises:
            UsageError: a format that is not offered.
        """
        question = self._question(query, now_unix_nano)
        if query.get("format", "folded") != "folded":
            raise UsageError(f"no such format: {query['format']!r}; there is folded")
        text = "".join(f"{line}\n" for line in format_folded(self._source.stacks(question)))
        content = text.encode("utf-8", "replace")
        return Export(content, "text/plain; charset=utf-8", f"profile-{question.kind}.folded")

    def _question(self, query: Parameters, now_unix_nano: int) -> Question:
        span = parameters.time_range(query, now_unix_nano)
        service, kind = parameters.service(query), parameters.kind(query)
        if kind not in list(Kind):
            raise UnknownKindError(f"unknown kind {kind!r}; there are {', '.join(Kind)}")
        if not self._source.has_service(service):
            self._source.check()
            raise UnknownServiceError(f"unknown service {service!r}; /api/v1/services lists those in a range")
        return Question(service, kind, span)


def _span(span: TimeRange) -> Json:
    return {"from_unix_ms": span.start_unix_nano / _MS, "to_unix_ms": span.end_unix_nano / _MS}


def _head(span: TimeRange, sums: Sums) -> Json:
    return _span(span) | {"unit": sums.unit, "total": sums.total, "samples": sums.samples}


def _share(share: Share) -> list[float]:
    return [share.value, share.low, share.high]


def _function(row: FunctionHotspot) -> Json:
    return {
        "function": row.function,
        "mapping": row.mapping,
        "kind": row.frame_kind,
        "self": row.self_value,
        "total": row.total_value,
        "self_share": _share(row.self_share),
        "total_share": _share(row.total_share),
    }


class _Words:
    """Texts by number: each is sent once, however many nodes carry it. Number 0 is the empty text."""

    def __init__(self) -> None:
        self._numbers = {"": 0}

    def number(self, text: str) -> int:
        return self._numbers.setdefault(text, len(self._numbers))

    def all(self) -> list[str]:
        return list(self._numbers)


def _tree(tree: Tree, sums: Sums) -> Json:
    names, mappings, kinds = _Words(), _Words(), _Words()
    independent = effective_count(sums.total, sums.variance)
    shares = [node.total_value / sums.total if sums.total else 0.0 for node in tree.nodes]
    intervals = [wilson_interval(min(share, 1.0), independent) for share in shares]
    columns = {
        "parent": [node.parent for node in tree.nodes],
        # The root has no frame.
        "name": [0, *(names.number(node.frame.function) for node in tree.nodes[1:])],
        "mapping": [0, *(mappings.number(node.frame.mapping) for node in tree.nodes[1:])],
        "kind": [0, *(kinds.number(node.frame.kind.label) for node in tree.nodes[1:])],
        "self": [node.self_value for node in tree.nodes],
        "total": [node.total_value for node in tree.nodes],
        "low": [round(low, 6) for low, _ in intervals],
        "high": [round(high, 6) for _, high in intervals],
    }
    return {
        "nodes": columns,
        "names": names.all(),
        "mappings": mappings.all(),
        "kinds": kinds.all(),
        "pruned_nodes": tree.pruned_nodes,
    }
