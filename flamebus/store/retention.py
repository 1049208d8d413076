"""Drops what is past its retention, an hour at a time; names of stacks and frames a day at a time."""

from collections.abc import Mapping
from dataclasses import dataclass

from flamebus.clock import Clock
from flamebus.store.compaction import hour_folders
from flamebus.store.files import open_files
from flamebus.store.layout import DAY_NS, HOUR_NS, Dataset

_ORDER = (Dataset.SAMPLES, Dataset.HEAT, Dataset.LOSSES, Dataset.WINDOWS, Dataset.STACKS, Dataset.FRAMES)
"""A kill halfway leaves names that nothing refers to, never samples without names."""


@dataclass(frozen=True, slots=True)
class RetentionReport:
    """Hours and files that were dropped, all datasets together."""

    folders: int
    deleted: int


def retain(location: str, keep_ns: Mapping[Dataset, int], clock: Clock, s3_endpoint: str = "") -> RetentionReport:
    """Delete every hour that ended longer ago than its dataset is kept.

    Args:
        location: a directory or ``s3://bucket/prefix``.
        keep_ns: how long each dataset is kept; one that is missing is kept for ever. Stacks and frames stay at least
            until the last samples of their day are gone, whatever is said here.
        clock: the time.
        s3_endpoint: of a server other than AWS.

    Raises:
        StoreUnavailableError: the store cannot be written.
    """
    files = open_files(location, s3_endpoint)
    files.check()
    now = clock.unix_nano()
    folders = deleted = 0
    for dataset in _ORDER:
        keep = keep_ns.get(dataset)
        if dataset.is_dictionary:
            samples = keep_ns.get(Dataset.SAMPLES)
            keep = None if keep is None or samples is None else max(keep, samples)
        if keep is None:
            continue
        for folder, start in list(hour_folders(files, dataset)):
            end = start - start % DAY_NS + DAY_NS if dataset.is_dictionary else start + HOUR_NS
            if end + keep > now:
                continue
            folders += 1
            for name in files.list(folder):
                files.delete(f"{folder}/{name}")
                deleted += 1
            files.delete_empty(folder)
    return RetentionReport(folders, deleted)
