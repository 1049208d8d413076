"""What is in a store, and whether all of it can be read."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from flamebus.store.compaction import hour_folders
from flamebus.store.files import StoreFiles, open_files
from flamebus.store.layout import HOUR_NS, Dataset, is_compacted_file
from flamebus.store.parts import damage


@dataclass(frozen=True, slots=True)
class DatasetInfo:
    """One dataset of one kind.

    Attributes:
        start_unix_nano, end_unix_nano: of the hours that it has, half-open.
        hours: with files; files: of these ``compacted`` hold several windows; bytes: of all files.
    """

    dataset: Dataset
    kind: str
    start_unix_nano: int
    end_unix_nano: int
    hours: int
    files: int
    compacted: int
    bytes: int


def describe(location: str, s3_endpoint: str = "") -> list[DatasetInfo]:
    """What a store holds, by dataset and kind.

    Raises:
        StoreUnavailableError: there is no store, or it does not answer.
    """
    files = open_files(location, s3_endpoint)
    files.check()
    found = []
    for dataset in Dataset:
        by_kind: dict[str, list[tuple[str, int]]] = {}
        for folder, start in hour_folders(files, dataset):
            by_kind.setdefault(folder.split("/")[1].removeprefix("kind="), []).append((folder, start))
        found += [_info(files, dataset, kind, folders) for kind, folders in by_kind.items()]
    return found


def _info(files: StoreFiles, dataset: Dataset, kind: str, folders: list[tuple[str, int]]) -> DatasetInfo:
    names = [f"{folder}/{name}" for folder, _ in folders for name in files.list(folder)]
    starts = [start for _, start in folders]
    return DatasetInfo(
        dataset=dataset,
        kind=kind,
        start_unix_nano=min(starts),
        end_unix_nano=max(starts) + HOUR_NS,
        hours=len(folders),
        files=len(names),
        compacted=sum(is_compacted_file(name.rsplit("/", 1)[-1]) for name in names),
        bytes=sum(files.size_and_time(name)[0] for name in names),
    )


@dataclass(frozen=True, slots=True)
class VerifyReport:
    """How many files were read from end to end, and which could not be: name → why."""

    files: int
    damaged: Mapping[str, str]


def verify(location: str, s3_endpoint: str = "") -> VerifyReport:
    """Read every file.

    Raises:
        StoreUnavailableError: there is no store, or it does not answer.
    """
    files = open_files(location, s3_endpoint)
    files.check()
    count, damaged = 0, {}
    for name in _all_files(files):
        try:
            problem = damage(files, name)
        except FileNotFoundError:
            continue  # compacted or past its retention since it was listed
        count += 1
        if problem:
            damaged[name] = problem
    return VerifyReport(count, damaged)


def _all_files(files: StoreFiles) -> Iterator[str]:
    for dataset in Dataset:
        for folder, _ in hour_folders(files, dataset):
            yield from (f"{folder}/{name}" for name in files.list(folder))
