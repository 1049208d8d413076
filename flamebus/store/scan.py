"""Runs a query over the files of a dataset that count, while others write, compact and delete."""

import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import duckdb
import pyarrow as pa
import pyarrow.dataset as pads

from flamebus.errors import StoreUnavailableError
from flamebus.store.columns import SCHEMAS, SOURCE_COLUMN
from flamebus.store.files import StoreFiles
from flamebus.store.layout import Dataset, dates_of, hours_of, may_hold
from flamebus.store.parts import Covers, Part, damage, folder_parts
from flamebus.time_range import TimeRange

_ATTEMPTS = 5
"""A file may go between listing and reading, when it is compacted or past its retention."""

_GLOB_CHARACTERS = frozenset("*?[")
_Result = TypeVar("_Result")


@dataclass(frozen=True, slots=True)
class Scope:
    """What a query is about; files that cannot hold any of it are not opened, and of the others all rows are seen."""

    dataset: Dataset
    kind: str
    span: TimeRange
    service: str | None = None


@dataclass(frozen=True, slots=True)
class _Damage:
    why: str
    size_and_time: tuple[int, int]


class Scanner:
    """Queries of one store; safe for threads."""

    def __init__(self, files: StoreFiles) -> None:
        self._files = files
        self._covers = Covers(files)
        self._connection = duckdb.connect(config={"autoinstall_known_extensions": "false"})
        self._lock = threading.Lock()
        self._damaged: dict[str, _Damage] = {}
        # DuckDB expands patterns in file names, and its S3 reader is an extension that is downloaded at run time.
        self._is_native = files.is_local and _GLOB_CHARACTERS.isdisjoint(files.root)

    @property
    def damaged(self) -> Mapping[str, str]:
        """Files that were passed over because they cannot be read, and why; what only they hold is missing."""
        return {name: found.why for name, found in self._damaged.items()}

    def rows(self, scope: Scope, sql: str, arguments: Sequence[object] = ()) -> list[tuple[Any, ...]]:
        """Rows of a query over ``data``, which has the dataset's columns; none when there are no files.

        Raises:
            StoreUnavailableError: the store cannot be read.
        """
        result = self._run(scope, sql, arguments, {}, lambda relation: relation.fetchall())
        return result or []

    def table(
        self, scope: Scope, sql: str, arguments: Sequence[object] = (), tables: Mapping[str, pa.Table] | None = None
    ) -> pa.Table | None:
        """The same as one table; ``tables`` may be named in the query besides ``data``. None when there are no files.

        Raises:
            StoreUnavailableError: the store cannot be read.
        """
        return self._run(scope, sql, arguments, tables or {}, _combined)

    def has_files(self, scope: Scope) -> bool:
        """Whether any file may hold the range."""
        return any(names for _, names in self._folders(scope))

    def _folders(self, scope: Scope) -> Iterator[tuple[str, Sequence[str]]]:
        """Hours that may hold the range, oldest first, with their files; for dictionaries all hours of its dates."""
        is_dictionary = scope.dataset.is_dictionary
        first, last = dates_of(scope.span) if is_dictionary else hours_of(scope.span)
        top = f"{scope.dataset}/kind={scope.kind}"
        for date in self._files.list(top):
            if not first[:10] <= date.removeprefix("date=") <= last[:10]:
                continue
            for hour, names in self._files.walk(f"{top}/{date}").items():
                moment = f"{date.removeprefix('date=')}/{hour.removeprefix('hour=')}"
                if is_dictionary or first <= moment <= last:
                    yield f"{top}/{date}/{hour}", names

    def _run(
        self,
        scope: Scope,
        sql: str,
        arguments: Sequence[object],
        tables: Mapping[str, pa.Table],
        fetch: Callable[[duckdb.DuckDBPyRelation], _Result],
    ) -> _Result | None:
        problem: Exception | None = None
        for _ in range(_ATTEMPTS):
            parts: list[Part] = []
            try:
                parts = self._parts(scope)
                return self._execute(scope.dataset, parts, sql, arguments, tables, fetch) if parts else None
            except FileNotFoundError as error:
                problem = error
            except (OSError, duckdb.Error, pa.ArrowException) as error:
                problem = error
                if not self._explain(parts):
                    break
        raise StoreUnavailableError(
            f"cannot read {scope.dataset} in the store {self._files.location}: {problem}"
        ) from problem

    def _parts(self, scope: Scope) -> list[Part]:
        found: list[Part] = []
        passed_over = self._still_damaged()
        for folder, names in self._folders(scope):
            there = folder_parts(self._covers, folder, names, passed_over)
            for name, why in there.damaged.items():
                self._note_damage(name, why)
            found += [part for part in there.active if scope.service is None or may_hold(part.name, scope.service)]
        return found

    def _note_damage(self, name: str, why: str) -> None:
        self._damaged[name] = _Damage(why, self._files.size_and_time(name))

    def _still_damaged(self) -> set[str]:
        """Damaged files that are still what they were: one may be replaced by a whole one, or go."""
        for name, found in list(self._damaged.items()):
            if self._files.size_and_time(name) != found.size_and_time:
                self._damaged.pop(name, None)
        return set(self._damaged)

    def _execute(
        self,
        dataset: Dataset,
        parts: Sequence[Part],
        sql: str,
        arguments: Sequence[object],
        tables: Mapping[str, pa.Table],
        fetch: Callable[[duckdb.DuckDBPyRelation], _Result],
    ) -> _Result:
        columns = ", ".join(SCHEMAS[dataset].names)
        selects, values, opened = [], [], dict(tables)
        for number, (paths, is_compacted, excluded) in enumerate(self._groups(parts)):
            source = f"data{number}"
            if self._is_native:
                source = "read_parquet(?, hive_partitioning = false)"
                values.append(paths)
            else:
                opened[source] = self._dataset(dataset, paths, is_compacted=is_compacted)
            left_out = f" WHERE {SOURCE_COLUMN.name} NOT IN ({', '.join(map(str, excluded))})" if excluded else ""
            selects.append(f"SELECT {columns} FROM {source}{left_out}")  # noqa: S608 - our own names and numbers
        query = f"WITH data AS NOT MATERIALIZED ({' UNION ALL '.join(selects)}) {sql}"
        with self._lock:
            cursor = self._connection.cursor()
        with cursor:
            for name, table in opened.items():
                cursor.register(name, table)
            return fetch(cursor.sql(query, params=[*values, *arguments]))

    def _groups(self, parts: Sequence[Part]) -> list[tuple[list[str], bool, list[int]]]:
        """Paths that can be read as one: files of windows, whole compacted files, and each of the others alone."""
        windows = [f"{self._files.root}/{part.name}" for part in parts if not part.is_compacted]
        whole = [f"{self._files.root}/{part.name}" for part in parts if part.is_compacted and not part.excluded]
        rest = [([f"{self._files.root}/{part.name}"], True, sorted(part.excluded)) for part in parts if part.excluded]
        groups: list[tuple[list[str], bool, list[int]]] = [(windows, False, []), (whole, True, []), *rest]
        return [group for group in groups if group[0]]

    def _dataset(self, dataset: Dataset, paths: list[str], *, is_compacted: bool) -> pads.Dataset:
        schema = SCHEMAS[dataset].append(SOURCE_COLUMN) if is_compacted else SCHEMAS[dataset]
        return pads.dataset(paths, schema=schema, filesystem=self._files.filesystem, format="parquet")

    def _explain(self, parts: Sequence[Part]) -> bool:
        """Find out what a failed query stumbled over; true when another attempt may succeed."""
        self._files.check()
        is_explained = False
        for part in parts:
            try:
                problem = damage(self._files, part.name)
            except FileNotFoundError:
                is_explained = True
                continue
            if problem:
                self._note_damage(part.name, problem)
                is_explained = True
        return is_explained


def _combined(relation: duckdb.DuckDBPyRelation) -> pa.Table:
    table: pa.Table = relation.to_arrow_table().combine_chunks()
    return table
