"""Questions of the API and their answers as JSON: docs/http.md describes each field."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

from dashboard import parameters
from dashboard.graphs import tree_columns
from dashboard.problems import UnknownKindError, UnknownServiceError
from dashboard.profiles import Question, StoredProfiles
from flamebus.errors import UsageError
from flamebus.folded import format_folded
from flamebus.hotspot import FunctionHotspot, Share
from flamebus.loss import LossClass, loss_class
from flamebus.profile import Kind
from flamebus.store.totals import Match, StackTotals, matching, search, top_functions
from flamebus.svg import Caption, render_svg
from flamebus.time_range import TimeRange
from flamebus.window_profile import HEAT_BIN_NS

_MS = 10**6
_HEAT_COLUMN_NS = 10**9
_EXPORTS = {"folded": "text/plain; charset=utf-8", "svg": "image/svg+xml"}
"""Formats of files and their media types."""

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
    """Answers questions about stored profiles; called from several threads at once."""

    def __init__(self, profiles: StoredProfiles) -> None:
        self._profiles = profiles

    def check(self) -> None:
        """Raise unless the store answers."""
        self._profiles.check()

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
        services = self._profiles.services(span, parameters.kind(query))
        if not services:
            # A store that has gone looks like an empty one.
            self._profiles.check()
        return _span(span) | {"services": [{"name": name, "total": total} for name, total in services]}

    def kinds(self, query: Parameters, now_unix_nano: int) -> Json:
        """Kinds with samples in the range."""
        span = parameters.time_range(query, now_unix_nano)
        return _span(span) | {"kinds": list(self._profiles.kinds(span))}

    def series(self, query: Parameters, now_unix_nano: int) -> Json:
        """The profile over time."""
        question = self._question(query, now_unix_nano)
        span, step_ns = question.span, parameters.step_ns(query, question.span)
        start = span.from_unix_nano - span.from_unix_nano % step_ns
        points = {point.start_unix_nano: point for point in self._profiles.series(question, step_ns)}
        steps = [points.get(step) for step in range(start, span.to_unix_nano, step_ns)]
        return _span(span) | {
            "unit": self._profiles.unit(question),
            "start_unix_ms": start / _MS,
            "step_ms": step_ns / _MS,
            "values": [point.total if point else 0 for point in steps],
            "samples": [point.samples if point else 0.0 for point in steps],
        }

    def flamegraph(self, query: Parameters, now_unix_nano: int) -> Json:
        """The call tree as columns."""
        question = self._question(query, now_unix_nano)
        most = parameters.count(query, "max_nodes", parameters.DEFAULT_MAX_NODES, parameters.MAX_MAX_NODES)
        text = parameters.search(query)
        found = self._profiles.stacks(question)
        graph = tree_columns(found.tree().prune(most), found.effective)
        return self._head(question, found) | graph | {"search": _match(text, search(found, text)) if text else None}

    def top(self, query: Parameters, now_unix_nano: int) -> Json:
        """The hottest functions."""
        question = self._question(query, now_unix_nano)
        limit = parameters.count(query, "limit", parameters.DEFAULT_TOP_LIMIT, parameters.MAX_TOP_LIMIT)
        text = parameters.search(query)
        found = self._profiles.stacks(question)
        return self._head(question, found) | {
            "functions": [_function(row) for row in top_functions(found, text, limit)],
            "function_count": len(matching(found.frames, text)),
        }

    def losses(self, query: Parameters, now_unix_nano: int) -> Json:
        """What is missing from the profile."""
        question = self._question(query, now_unix_nano)
        samples = float(self._profiles.stacks(question).samples.sum())
        rows = [
            (str(loss_class(loss.reason)), loss.reason, float(loss.samples)) for loss in self._profiles.losses(question)
        ]
        late = self._profiles.late_samples(question)
        if late:
            rows.append(("late", "window_closed", late))
        missing = sum(count for word, _, count in rows if word != LossClass.INCOMPLETE)
        # Shares of everything that was taken, so that what is there and what is missing add up to one.
        whole = samples + missing
        return _span(question.span) | {
            "samples": samples,
            "missing_samples": missing,
            "missing_share": missing / whole if whole else 0.0,
            "losses": [
                {"class": word, "reason": reason, "samples": count, "share": count / whole if whole else 0.0}
                for word, reason, count in sorted(rows, key=lambda row: -row[2])
            ],
        }

    def heatmap(self, query: Parameters, now_unix_nano: int) -> Json:
        """Samples by second and 20 ms within it, of the last hour of the range; column after column."""
        question = self._question(query, now_unix_nano)
        span = question.span
        if span.length_ns > MAX_HEAT_NS:
            span = TimeRange(span.to_unix_nano - MAX_HEAT_NS, span.to_unix_nano)
        start, counts = self._profiles.heat(replace(question, span=span))
        rows = _HEAT_COLUMN_NS // HEAT_BIN_NS
        return _span(span) | {
            "start_unix_ms": start / _MS,
            "column_ms": _HEAT_COLUMN_NS / _MS,
            "row_ms": HEAT_BIN_NS / _MS,
            "rows": rows,
            "columns": len(counts) // rows,
            "counts": counts.tolist(),
        }

    def export(self, query: Parameters, now_unix_nano: int) -> Export:
        """The whole profile as a file.

        Raises:
            UsageError: a format that is not offered.
        """
        question = self._question(query, now_unix_nano)
        form = query.get("format") or "folded"
        if form not in _EXPORTS:
            raise UsageError(f"no such format: {form!r}; there are {', '.join(_EXPORTS)}")
        found = self._profiles.stacks(question)
        if form == "svg":
            unit, samples = self._profiles.unit(question), float(found.samples.sum())
            caption = Caption.of_profile(question.service, question.kind, question.span, samples, unit)
            content = render_svg(found.tree(), caption)
        else:
            content = "".join(f"{line}\n" for line in format_folded(found.named_stacks()))
        return Export(content.encode("utf-8", "replace"), _EXPORTS[form], f"profile-{question.kind}.{form}")

    def _question(self, query: Parameters, now_unix_nano: int) -> Question:
        span = parameters.time_range(query, now_unix_nano)
        service, kind = parameters.service(query), parameters.kind(query)
        if kind not in list(Kind):
            raise UnknownKindError(f"unknown kind {kind!r}; there are {', '.join(Kind)}")
        if not self._profiles.has_service(service):
            self._profiles.check()
            raise UnknownServiceError(f"unknown service {service!r}; /api/v1/services lists those in a range")
        return Question(service, kind, span)

    def _head(self, question: Question, found: StackTotals) -> Json:
        samples = float(found.samples.sum())
        unit = self._profiles.unit(question)
        return _span(question.span) | {"unit": unit, "total": found.total, "samples": samples}


def _span(span: TimeRange) -> Json:
    return {"from_unix_ms": span.from_unix_nano / _MS, "to_unix_ms": span.to_unix_nano / _MS}


def _match(text: str, found: Match) -> Json:
    return {"text": text, "value": found.value, "share": _share(found.share), "functions": found.function_count}


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
