"""Reads profiles: files are chosen by their folders and names, DuckDB adds up, numpy puts the stacks together."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from flamebus.errors import StoreUnavailableError, UsageError
from flamebus.frames import EMPTY_STACK_ID, Frame, FrameKind
from flamebus.profile import I64, U32, U64, Loss
from flamebus.store.files import open_files
from flamebus.store.layout import Dataset
from flamebus.store.scan import Scanner, Scope
from flamebus.store.totals import StackTotals
from flamebus.time_range import TimeRange
from flamebus.tree import CallTree
from flamebus.window_profile import HEAT_BIN_NS

LOST_MAPPING = "[store]"
"""Stands where the name of a frame or stack was in a file that cannot be read: its value still counts."""


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
        self._scanner = Scanner(self._files)

    def check(self) -> None:
        """Prove that the store is there.

        Raises:
            StoreUnavailableError: it is not, or something else is there.
        """
        self._files.check()
        names = self._files.list("")
        if names and not set(names) & set(Dataset):
            raise StoreUnavailableError(
                f"{self._files.location} is no store: it holds {names[0]} and none of {', '.join(Dataset)}"
            )

    @property
    def damaged(self) -> Mapping[str, str]:
        """Files that were passed over because they cannot be read, and why; what only they hold is missing."""
        return self._scanner.damaged

    def kinds(self, span: TimeRange) -> list[str]:
        """Kinds with samples in the range."""
        return [kind for kind in self._all_kinds() if self._scanner.has_files(Scope(Dataset.WINDOWS, kind, span))]

    def services(self, span: TimeRange, kind: str | None = None) -> list[str]:
        """Services with samples in the range, by name."""
        found: set[str] = set()
        where, arguments = _where(None, span)
        for name in [kind] if kind else self._all_kinds():
            sql = f"SELECT DISTINCT service FROM data WHERE {where}"
            found |= {row[0] for row in self._scanner.rows(Scope(Dataset.WINDOWS, name, span), sql, arguments)}
        return sorted(found)

    def service_totals(self, span: TimeRange, kind: str) -> dict[str, int]:
        """Sum of each service's values of one kind in the range."""
        where, arguments = _where(None, span)
        sql = f"SELECT service, CAST(sum(total) AS BIGINT) FROM data WHERE {where} GROUP BY service"
        return dict(self._scanner.rows(Scope(Dataset.WINDOWS, kind, span), sql, arguments))

    def has_service(self, service: str, span: TimeRange) -> bool:
        """Whether a service has samples in the range."""
        where, arguments = _where(service, span)
        sql = f"SELECT 1 FROM data WHERE {where} LIMIT 1"
        scopes = (Scope(Dataset.WINDOWS, kind, span, service) for kind in self._all_kinds())
        return any(self._scanner.rows(scope, sql, arguments) for scope in scopes)

    def unit(self, service: str | None, kind: str, span: TimeRange) -> str:
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
        sums = self._scanner.table(
            Scope(Dataset.SAMPLES, kind, span, service),
            "SELECT service, stack_id, CAST(sum(value) AS BIGINT) AS value, sum(samples) AS samples, "
            f"sum(variance) AS variance FROM data WHERE {where} GROUP BY service, stack_id ORDER BY service, stack_id",
            arguments,
        )  # fmt: skip
        if sums is None or not sums.num_rows:
            empty = np.zeros(0)
            return StackTotals((), empty.astype(np.uint32), np.zeros(1, np.int64), empty.astype(np.int64), empty, empty)
        ids = sums["stack_id"].to_numpy()
        frame_ids, first = self._frame_ids(np.unique(ids), service, kind, span)
        known, numbers = np.unique(frame_ids, return_inverse=True)
        frames = self._frames(known, service, kind, span)
        rows, first = _gathered(numbers.astype(np.uint32), first, np.searchsorted(np.unique(ids), ids))
        if service is None:
            encoded = sums["service"].combine_chunks().dictionary_encode()
            rows, first = _with_outermost(rows, first, encoded.indices.to_numpy() + len(frames))
            frames += [Frame(name, "[service]") for name in encoded.dictionary.to_pylist()]
        return StackTotals(tuple(frames), rows, first, *(sums[name].to_numpy() for name in _SUMS))

    def _frame_ids(self, ids: U64, service: str | None, kind: str, span: TimeRange) -> tuple[U64, I64]:
        """Ids of frames of these stacks one after another, and where each stack begins, shape ``(n_stacks + 1,)``."""
        found = self._dictionary(Dataset.STACKS, "stack_id", "frames", ids, service, kind, span)
        lost = np.setdiff1d(ids, [] if found is None else found["stack_id"].to_numpy())
        lost_table = pa.table(
            {
                "stack_id": pa.array(lost, pa.uint64()),
                # The empty stack has no frames to lose; any other is its own frame, so that it can be told apart.
                "frames": pa.array([[] if number == EMPTY_STACK_ID else [number] for number in lost.tolist()], _LIST),
            }
        )
        table = lost_table if found is None else pa.concat_tables([found.cast(lost_table.schema), lost_table])
        table = table.take(pa.array(_first_of_each(table["stack_id"].to_numpy())))
        lists = table["frames"].combine_chunks()
        lengths = pc.list_value_length(lists).to_numpy()
        return lists.flatten().to_numpy(), np.concatenate(([0], np.cumsum(lengths, dtype=np.int64)))

    def _frames(self, ids: U64, service: str | None, kind: str, span: TimeRange) -> list[Frame]:
        """The frames of these ids, in their order."""
        columns = "function, mapping, frame_kind, file, line"
        found = self._dictionary(Dataset.FRAMES, "frame_id", columns, ids, service, kind, span)
        frames = {}
        if found is not None:
            found = found.take(pa.array(_first_of_each(found["frame_id"].to_numpy())))
            values = zip(*(column.to_pylist() for column in found.columns), strict=True)
            frames = {key: Frame(name, at, FrameKind(world), file, line) for key, name, at, world, file, line in values}
        return [frames.get(number) or Frame(f"{number:#018x}", LOST_MAPPING) for number in ids.tolist()]

    def _dictionary(
        self, dataset: Dataset, key: str, columns: str, ids: U64, service: str | None, kind: str, span: TimeRange
    ) -> pa.Table | None:
        """Rows of a dictionary for these ids; several for an id that was written several times."""
        condition, arguments = ("service = ? AND ", [service]) if service is not None else ("", [])
        sql = f"SELECT {key}, {columns} FROM data WHERE {condition}{key} IN (SELECT id FROM wanted)"
        wanted = pa.table({"id": pa.array(ids, pa.uint64())})
        return self._scanner.table(Scope(dataset, kind, span, service), sql, arguments, {"wanted": wanted})

    def tree(self, service: str | None, kind: str, span: TimeRange, max_nodes: int) -> CallTree:
        """The profile's call tree, its ``max_nodes`` heaviest nodes."""
        return self.stacks(service, kind, span).tree().prune(max_nodes)

    def require_service(self, service: str, span: TimeRange) -> None:
        """Refuse a service that has nothing in the range.

        Raises:
            UsageError: naming those that have.
        """
        self.check()
        if not self.has_service(service, span):
            names = ", ".join(self.services(span)[:10]) or "none"
            raise UsageError(f"no samples of service {service!r} in this range; there are: {names}")

    def _all_kinds(self) -> list[str]:
        return [entry.removeprefix("kind=") for entry in self._files.list(str(Dataset.WINDOWS))]

    def _of(
        self, dataset: Dataset, service: str | None, kind: str, span: TimeRange, select: str, tail: str = ""
    ) -> list[Any]:
        where, arguments = _where(service, span)
        return self._scanner.rows(Scope(dataset, kind, span, service), f"{select} WHERE {where} {tail}", arguments)


_SUMS = ("value", "samples", "variance")
_LIST = pa.list_(pa.uint64())


def _where(service: str | None, span: TimeRange) -> tuple[str, list[object]]:
    condition = "window_start >= ? AND window_start < ?"
    arguments: list[object] = [span.from_unix_nano, span.to_unix_nano]
    return (condition, arguments) if service is None else (f"{condition} AND service = ?", [*arguments, service])


def _first_of_each(ids: U64) -> I64:
    """Positions of the first row of each id, in the order of ids."""
    positions: I64 = np.unique(ids, return_index=True)[1]
    return positions


def _gathered(rows: U32, first: I64, chosen: I64) -> tuple[U32, I64]:
    """The lists ``chosen`` of ``rows[first[i]:first[i + 1]]``, one after another, and where each begins."""
    lengths = np.diff(first)[chosen]
    begins = np.concatenate(([0], np.cumsum(lengths)))
    within = np.arange(begins[-1]) - np.repeat(begins[:-1], lengths)
    return rows[np.repeat(first[chosen], lengths) + within], begins


def _with_outermost(rows: U32, first: I64, outermost: I64) -> tuple[U32, I64]:
    """The same lists, each with one more row at its end."""
    return np.insert(rows, first[1:], outermost.astype(np.uint32)), first + np.arange(len(first))
