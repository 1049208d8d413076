"""Turns the small files of windows into few large ones, while others write and read the same folders.

One step is: write a file that holds what several hold, and later delete those. A kill between any two operations leaves
files that hold the same window twice, which readers count once, and the next run goes on from there. Deleting waits
until the file that replaces others is older than any reader's listing.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import xxhash

from flamebus.clock import Clock
from flamebus.errors import BadDataError, StoreUnavailableError
from flamebus.store.columns import ROW_GROUP_ROWS, SCHEMAS, SORT_KEYS, SOURCE_COLUMN, sorted_table
from flamebus.store.files import StoreFiles, open_files
from flamebus.store.layout import HOUR_NS, Dataset, Source, compacted_file, hour_start
from flamebus.store.parts import COVER_METADATA, Cover, Covers, FolderParts, Part, damage, folder_parts

GRACE_NS = 5 * 60 * 10**9
"""How long replaced files stay: a reader that listed a folder before must have read them by then."""

SETTLE_NS = 10 * 60 * 10**9
"""How long after its end an hour is put into its final files: windows close seconds after their end, unless workers
were down."""

MAX_ROWS = 4_000_000
"""Of a compacted file: about 300 MB while it is sorted. A busier hour becomes several files."""

MIN_OPEN_FILES = 16
"""In an hour that is still being written, fewer files than this are left alone."""

_ABANDONED_NS = HOUR_NS
"""No writer takes an hour for a file."""

_LIST_WEIGHT = {Dataset.HEAT: 250, Dataset.STACKS: 20}
"""A row with a list weighs as much as so many of plain columns."""


@dataclass(slots=True)
class CompactionReport:
    """What a run did.

    Attributes:
        folders: looked at; merged: files whose rows were put into ``written`` others; deleted: files that were replaced
            earlier; swept: remains of killed writers; damaged: name → why it was left alone.
    """

    folders: int = 0
    merged: int = 0
    written: int = 0
    deleted: int = 0
    swept: int = 0
    damaged: dict[str, str] | None = None

    def add_damaged(self, name: str, why: str) -> None:
        """Note a file that was left alone."""
        self.damaged = (self.damaged or {}) | {name: why}


class Compactor:
    """Compacts one store; several may run at once.

    Args:
        location: a directory or ``s3://bucket/prefix``.
        clock: decides which hours are over and which files have been replaced for long enough.
        s3_endpoint: of a server other than AWS.
        grace_ns: how long replaced files stay.
        max_rows: of one compacted file.
    """

    def __init__(
        self,
        location: str,
        clock: Clock,
        s3_endpoint: str = "",
        grace_ns: int = GRACE_NS,
        max_rows: int = MAX_ROWS,
    ) -> None:
        self._files = open_files(location, s3_endpoint)
        self._covers = Covers(self._files)
        self._clock = clock
        self._grace_ns = grace_ns
        self._max_rows = max_rows

    def run(self) -> CompactionReport:
        """Look at every folder once.

        Raises:
            StoreUnavailableError: the disk is full or read-only, or S3 does not answer. What was done so far counts.
        """
        self._files.check()
        report = CompactionReport()
        for dataset in Dataset:
            for folder, start in hour_folders(self._files, dataset):
                report.folders += 1
                self.compact(dataset, folder, start, report)
        return report

    def compact(self, dataset: Dataset, folder: str, start_unix_nano: int, report: CompactionReport) -> None:
        """One folder: delete what was replaced long enough ago, then merge."""
        now = self._clock.unix_nano()
        report.swept += self._files.sweep(folder, now - _ABANDONED_NS)
        try:
            there = folder_parts(self._covers, folder, self._files.list(folder))
            for name in self._deletable(there, now):
                self._files.delete(name)
                report.deleted += 1
            for name, why in there.damaged.items():
                report.add_damaged(name, why)
            is_over = start_unix_nano + HOUR_NS + SETTLE_NS <= now
            for group in self._groups(dataset, there.active, report, is_over=is_over):
                self._merge(dataset, folder, group, report)
        except FileNotFoundError:
            return  # another compactor or the retention was here: the next run sees what they left

    def _deletable(self, there: FolderParts, now: int) -> list[str]:
        """Files that were replaced before any reader that still runs made its list, by files that can be read."""
        replacing = frozenset[str]().union(*there.obsolete.values())
        is_safe = {
            name: self._files.size_and_time(name)[1] <= now - self._grace_ns and not damage(self._files, name)
            for name in sorted(replacing)
        }
        return [name for name, others in there.obsolete.items() if all(is_safe[other] for other in others)]

    def _groups(
        self, dataset: Dataset, active: Sequence[Part], report: CompactionReport, *, is_over: bool
    ) -> Iterator[list[Part]]:
        """Files to put together: in an hour that is over all of them, else only new ones; none above the row limit."""
        candidates = [part for part in active if is_over or not part.is_compacted]
        if not is_over and len(candidates) < MIN_OPEN_FILES:
            return
        limit = self._max_rows // _LIST_WEIGHT.get(dataset, 1)
        group: list[Part] = []
        rows = 0
        for part in candidates:
            count = self._row_count(part, report)
            if count is None:
                continue
            if group and rows + count > limit:
                yield from self._worthwhile(group)
                group, rows = [], 0
            group.append(part)
            rows += count
        yield from self._worthwhile(group)

    @staticmethod
    def _worthwhile(group: list[Part]) -> Iterator[list[Part]]:
        if len(group) > 1 or any(not part.is_compacted or part.excluded for part in group):
            yield group

    def _row_count(self, part: Part, report: CompactionReport) -> int | None:
        try:
            return int(pq.read_metadata(f"{self._files.root}/{part.name}", filesystem=self._files.filesystem).num_rows)
        except FileNotFoundError:
            raise
        except (OSError, pa.ArrowException) as error:
            self._note_damage(part, error, report)
            return None

    def _merge(self, dataset: Dataset, folder: str, group: Sequence[Part], report: CompactionReport) -> None:
        """Write one file that holds what these do."""
        tables: list[pa.Table] = []
        sources: list[Source] = []
        generation = merged = 0
        for part in group:
            try:
                table = self._load(dataset, part)
                cover = self._cover(part)
            except FileNotFoundError:
                raise
            except (OSError, pa.ArrowException, BadDataError) as error:
                self._note_damage(part, error, report)
                continue
            merged += 1
            generation = max(generation, cover.generation)
            tables.append(_with_source(table, part, len(sources)))
            sources += [source for index, source in enumerate(cover.sources) if index not in part.excluded]
        if not tables:
            return
        table = sorted_table(dataset, pa.concat_tables(tables))
        if dataset.is_dictionary:
            table = _without_repeats(dataset, table)
        cover = Cover(generation + 1, tuple(sources))
        name = f"{folder}/{compacted_file(_content(cover))}"
        self._files.write_table(name, table, ROW_GROUP_ROWS[dataset], cover.to_metadata())
        report.merged += merged
        report.written += 1

    def _load(self, dataset: Dataset, part: Part) -> pa.Table:
        schema = SCHEMAS[dataset].append(SOURCE_COLUMN) if part.is_compacted else SCHEMAS[dataset]
        with pq.ParquetFile(f"{self._files.root}/{part.name}", filesystem=self._files.filesystem) as file:
            return file.read(columns=schema.names).cast(schema)

    def _cover(self, part: Part) -> Cover:
        return part.cover or self._covers.of(part.name)

    def _note_damage(self, part: Part, error: Exception, report: CompactionReport) -> None:
        """A file that cannot be read is left alone, unless it is the store as a whole that cannot."""
        self._files.check()
        if isinstance(error, PermissionError):
            raise StoreUnavailableError(f"cannot read {part.name} in the store {self._files.location}") from error
        report.add_damaged(part.name, " ".join(str(error).split()))


def hour_folders(files: StoreFiles, dataset: Dataset) -> Iterator[tuple[str, int]]:
    """All folders of a dataset, oldest first within a kind, and when the hour of each begins (ns UTC)."""
    for kind in files.list(str(dataset)):
        for date in files.list(f"{dataset}/{kind}"):
            for hour in files.list(f"{dataset}/{kind}/{date}"):
                start = hour_start(date.removeprefix("date="), hour.removeprefix("hour="))
                yield f"{dataset}/{kind}/{date}/{hour}", start


def _with_source(table: pa.Table, part: Part, first: int) -> pa.Table:
    """The rows that count, with the number of their source in the merged file, which counts from ``first`` for them."""
    if not part.is_compacted:
        return table.append_column(SOURCE_COLUMN, pa.array(np.full(table.num_rows, first, dtype=np.uint32)))
    old = table[SOURCE_COLUMN.name].to_numpy()
    is_kept = ~np.isin(old, np.array(sorted(part.excluded), dtype=np.uint32))
    new = first + old[is_kept] - np.searchsorted(np.array(sorted(part.excluded)), old[is_kept])
    kept = table.filter(pa.array(is_kept)).drop_columns([SOURCE_COLUMN.name])
    return kept.append_column(SOURCE_COLUMN, pa.array(new.astype(np.uint32)))


def _without_repeats(dataset: Dataset, table: pa.Table) -> pa.Table:
    """A sorted dictionary with each id of a service once."""
    service, key = SORT_KEYS[dataset]
    if table.num_rows < 2:
        return table
    names, ids = table[service].combine_chunks(), table[key].to_numpy()
    is_new_name = pc.not_equal(names[1:], names[:-1]).to_numpy(zero_copy_only=False)
    is_first = np.concatenate(([True], is_new_name | (ids[1:] != ids[:-1])))
    return table.filter(pa.array(is_first))


def _content(cover: Cover) -> str:
    """The same for the same rows in the same order, so that compactors that do the same work write the same file."""
    return f"{xxhash.xxh3_64_intdigest(cover.to_metadata()[COVER_METADATA].encode()):016x}"
