"""Reads profiles: files are chosen by their folders and names, DuckDB does the rest."""

import threading
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import duckdb
import numpy as np
import pyarrow.dataset as pads

from flamebus.errors import UsageError
from flamebus.frames import Frame, FrameKind
from flamebus.hotspot import FunctionHotspot, Share
from flamebus.interval import effective_count, wilson_interval
from flamebus.profile import F64, I64, Loss
from flamebus.store.files import open_files
from flamebus.store.layout import Dataset, TimeRange, parse_window_file
from flamebus.tree import CallTree, build_tree
from flamebus.window_profile import HEAT_BIN_NS

_ATTEMPTS = 3
"""A file may go between listing and reading, when it is compacted or past its retention."""


@dataclass(frozen=True, slots=True)
class StackTotals:
    """A profile as stacks: rows of ``frames``, leaf first, and columns of shape ``(n_stacks,)``."""

    frames: tuple[Frame, ...]
    stacks: tuple[tuple[int, ...], ...]
    value: I64
    samples: F64
    variance: F64

    @property
    def total(self) -> int:
        """Sum of values."""
        return int(self.value.sum())

    @property
    def effective(self) -> float:
        """Effective number of samples, for intervals."""
        return effective_count(float(self.total), float(self.variance.sum()))

    def pairs(self) -> Iterator[tuple[tuple[int, ...], int]]:
        """Stacks with their values."""
        return zip(self.stacks, self.value.tolist(), strict=True)


@dataclass(frozen=True, slots=True)
class SeriesPoint:
    """Sums of one step."""

    start_unix_nano: int
    total: int
    samples: float
    hosts: int


class StoreReader:
    """Reads one store; safe for threads.

    Args:
        location: a directory or ``s3://bucket/prefix``.
        s3_endpoint: of a server other than AWS.
    """

    def __init__(self, location: str, s3_endpoint: str = "") -> None:
        self._files = open_files(location, s3_endpoint)
        self._connection = duckdb.connect()
        self._lock = threading.Lock()

    def check(self) -> None:
        """Prove that the store is there.

        Raises:
            StoreUnavailableError: it is not.
        """
        self._files.check()

    def kinds(self, span: TimeRange) -> list[str]:
        """Kinds with samples in the range."""
        return [kind for kind in self._all_kinds() if self._select(Dataset.WINDOWS, kind, span)]

    def services(self, span: TimeRange, kind: str | None = None) -> list[str]:
        """Services with samples in the range, by name."""
        found: set[str] = set()
        for name in [kind] if kind else self._all_kinds():
            rows = self._query(
                Dataset.WINDOWS, name, span, "SELECT DISTINCT service FROM data WHERE window_start >= ? AND "
                "window_start < ?", [span.from_unix_nano, span.to_unix_nano],
            )  # fmt: skip
            found |= {row[0] for row in rows}
        return sorted(found)

    def unit(self, service: str, kind: str, span: TimeRange) -> str:
        """Unit of the profile's values, ``nanoseconds`` when there is none."""
        rows = self._of(Dataset.WINDOWS, service, kind, span, "SELECT any_value(unit) FROM data")
        return str(rows[0][0]) if rows and rows[0][0] else "nanoseconds"

    def late_samples(self, service: str, kind: str, span: TimeRange) -> float:
        """Samples that came after their window had closed."""
        rows = self._of(Dataset.WINDOWS, service, kind, span, "SELECT coalesce(sum(late_samples), 0) FROM data")
        return float(rows[0][0]) if rows else 0.0

    def series(self, service: str, kind: str, span: TimeRange, step_ns: int) -> list[SeriesPoint]:
        """Sums per step of the epoch; steps without samples are left out."""
        rows = self._of(
            Dataset.WINDOWS, service, kind, span,
            f"SELECT window_start - window_start % {int(step_ns)} AS step, CAST(sum(total) AS BIGINT), sum(samples), "
            "max(len(hosts)) FROM data", "GROUP BY step ORDER BY step",
        )  # fmt: skip
        return [SeriesPoint(*row) for row in rows]

    def losses(self, service: str, kind: str, span: TimeRange) -> list[Loss]:
        """What is missing, by reason."""
        rows = self._of(
            Dataset.LOSSES, service, kind, span,
            "SELECT reason, CAST(sum(samples) AS BIGINT), CAST(sum(value) AS BIGINT) FROM data",
            "GROUP BY reason ORDER BY reason",
        )  # fmt: skip
        return [Loss(*row) for row in rows]

    def heat(self, service: str, kind: str, span: TimeRange) -> tuple[int, I64]:
        """Start of the first window and samples per ``HEAT_BIN_NS`` from there."""
        rows = self._of(Dataset.HEAT, service, kind, span, "SELECT window_start, bins FROM data")
        if not rows:
            return span.from_unix_nano, np.zeros(0, dtype=np.int64)
        start = min(row[0] for row in rows)
        end = max(row[0] // HEAT_BIN_NS + len(row[1]) for row in rows)
        result = np.zeros(end - start // HEAT_BIN_NS, dtype=np.int64)
        for window_start, bins in rows:
            first = window_start // HEAT_BIN_NS - start // HEAT_BIN_NS
            result[first : first + len(bins)] += np.array(bins, dtype=np.int64)
        return start, result

    def stacks(self, service: str | None, kind: str, span: TimeRange) -> StackTotals:
        """A service's stacks with their sums, or those of all services with the service as the outermost frame."""
        where, arguments = _where(service, span)
        rows = self._query(
            Dataset.SAMPLES, kind, span,
            "SELECT service, stack_id, CAST(sum(value) AS BIGINT), sum(samples), sum(variance) FROM data "
            f"WHERE {where} GROUP BY service, stack_id ORDER BY service, stack_id", arguments,
        )  # fmt: skip
        frames, numbers = self._frames(kind, span, service)
        of_stack = self._stack_frames(kind, span, service)
        stacks = []
        for name, stack_id, *_ in rows:
            inner = tuple(numbers[frame] for frame in of_stack.get(stack_id, ()))
            if service is None:
                key = f"service:{name}"
                if key not in numbers:
                    numbers[key] = len(frames)
                    frames.append(Frame(name, "[service]"))
                inner = (*inner, numbers[key])
            stacks.append(inner)
        return StackTotals(
            tuple(frames),
            tuple(stacks),
            np.array([row[2] for row in rows], dtype=np.int64),
            np.array([row[3] for row in rows], dtype=np.float64),
            np.array([row[4] for row in rows], dtype=np.float64),
        )

    def _frames(self, kind: str, span: TimeRange, service: str | None) -> tuple[list[Frame], dict[Any, int]]:
        rows = self._query(
            Dataset.FRAMES, kind, span,
            "SELECT frame_id, any_value(function), any_value(mapping), any_value(frame_kind), any_value(file), "
            "any_value(line) FROM data " + ("WHERE service = ? " if service else "") + "GROUP BY frame_id",
            [service] if service else [],
        )  # fmt: skip
        frames = [Frame(row[1], row[2], FrameKind(row[3]), row[4], row[5]) for row in rows]
        return frames, {row[0]: number for number, row in enumerate(rows)}

    def _stack_frames(self, kind: str, span: TimeRange, service: str | None) -> dict[int, list[int]]:
        rows = self._query(
            Dataset.STACKS, kind, span,
            "SELECT stack_id, any_value(frames) FROM data " + ("WHERE service = ? " if service else "")
            + "GROUP BY stack_id",
            [service] if service else [],
        )  # fmt: skip
        return dict(rows)

    def tree(self, service: str | None, kind: str, span: TimeRange, max_nodes: int) -> CallTree:
        """The profile's call tree, its ``max_nodes`` heaviest nodes."""
        found = self.stacks(service, kind, span)
        return build_tree(found.frames, found.pairs()).prune(max_nodes)

    def require_service(self, service: str, span: TimeRange) -> None:
        """Refuse a service that has nothing in the range.

        Raises:
            UsageError: naming those that have.
        """
        self.check()
        known = self.services(span)
        if service not in known:
            names = ", ".join(known[:10]) or "none"
            raise UsageError(f"no samples of service {service!r} in this range; there are: {names}")

    def _all_kinds(self) -> list[str]:
        return [entry.removeprefix("kind=") for entry in self._files.list(str(Dataset.WINDOWS))]

    def _of(self, dataset: Dataset, service: str, kind: str, span: TimeRange, select: str, tail: str = "") -> list[Any]:
        where, arguments = _where(service, span)
        return self._query(dataset, kind, span, f"{select} WHERE {where} {tail}", arguments)

    def _query(self, dataset: Dataset, kind: str, span: TimeRange, sql: str, arguments: Sequence[object]) -> list[Any]:
        """Rows of a query over ``data``; none when there are no files."""
        for attempt in range(_ATTEMPTS):
            names = self._select(dataset, kind, span)
            if not names:
                return []
            paths = [f"{self._files.root}/{name}" for name in names]
            try:
                with self._lock:
                    source = pads.dataset(paths, filesystem=self._files.filesystem, format="parquet")
                    self._connection.register("data", source)
                    return self._connection.execute(sql, list(arguments)).fetchall()
            except (FileNotFoundError, duckdb.IOException):
                if attempt == _ATTEMPTS - 1:
                    raise
        return []

    def _select(self, dataset: Dataset, kind: str, span: TimeRange) -> list[str]:
        """Files that may hold the range; of two computations of a window only the one that saw more of the log."""
        first, last = span.dates() if dataset.is_dictionary else span.hours()
        chosen: dict[str, tuple[int, str]] = {}
        top = f"{dataset}/kind={kind}"
        for date in self._between(top, "date=", first[:10], last[:10]):
            for hour in self._files.list(f"{top}/date={date}"):
                moment = f"{date}/{hour.removeprefix('hour=')}"
                if not dataset.is_dictionary and not first <= moment <= last:
                    continue
                base = f"{top}/date={date}/{hour}"
                for file in filter(None, map(parse_window_file, self._files.list(base))):
                    key = f"{base}/{file.key}"
                    chosen[key] = max(chosen.get(key, (-1, "")), (file.last_offset, f"{base}/{file.name}"))
        return [name for _, name in sorted(chosen.values())]

    def _between(self, top: str, prefix: str, first: str, last: str) -> list[str]:
        dates = [entry.removeprefix(prefix) for entry in self._files.list(top) if entry.startswith(prefix)]
        return [date for date in dates if first <= date <= last]


def _where(service: str | None, span: TimeRange) -> tuple[str, list[object]]:
    condition = "window_start >= ? AND window_start < ?"
    arguments: list[object] = [span.from_unix_nano, span.to_unix_nano]
    return (condition, arguments) if service is None else (f"{condition} AND service = ?", [*arguments, service])


def top_functions(found: StackTotals, search: str = "") -> list[FunctionHotspot]:
    """Functions by self value, then total value; from all stacks, however small. Recursion counts once."""
    own: dict[int, int] = {}
    whole: dict[int, int] = {}
    for stack, value in found.pairs():
        if stack:
            own[stack[0]] = own.get(stack[0], 0) + value
        for row in set(stack):
            whole[row] = whole.get(row, 0) + value
    rows = [row for row in whole if search.lower() in found.frames[row].function.lower()]
    rows.sort(key=lambda row: (-own.get(row, 0), -whole[row], found.frames[row].function))
    own_shares = _shares([own.get(row, 0) for row in rows], found)
    whole_shares = _shares([whole[row] for row in rows], found)
    return [
        FunctionHotspot(
            function=found.frames[row].function,
            mapping=found.frames[row].mapping,
            frame_kind=found.frames[row].kind.label,
            self_value=own.get(row, 0),
            total_value=whole[row],
            self_share=own_share,
            total_share=whole_share,
        )
        for row, own_share, whole_share in zip(rows, own_shares, whole_shares, strict=True)
    ]


def share_of(value: int, found: StackTotals) -> Share:
    """A value as part of the profile, with its interval."""
    return _shares([value], found)[0]


def _shares(values: Iterable[int], found: StackTotals) -> list[Share]:
    part = np.array(list(values), dtype=np.float64) / max(found.total, 1)
    low, high = wilson_interval(part, found.effective)
    return [Share(*three) for three in zip(part.tolist(), low.tolist(), high.tolist(), strict=True)]
