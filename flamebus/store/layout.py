"""What lies where: datasets, partition folders, and names of files that say which part of the log they came from."""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from urllib.parse import quote

import xxhash

from flamebus.time_range import TimeRange
from flamebus.window_profile import LogRange

HOUR_NS = 3600 * 10**9
DAY_NS = 24 * HOUR_NS
_COMPACTED_FILE = re.compile(r"c-[0-9a-f]{16}\.parquet")
_WINDOW_FILE = re.compile(
    r"(?P<key>w-.+-\d{5}-\d{19}(?:-[0-9a-f]{16})?)_(?P<first>\d+)-(?P<last>\d+)"
    r"(?:_(?P<services>[0-9a-f]{64}))?\.parquet"  # stores written before names said it are still read
)


class Dataset(StrEnum):
    """The folders at the top of a store."""

    SAMPLES = "samples"
    STACKS = "stacks"
    FRAMES = "frames"
    WINDOWS = "windows"
    HEAT = "heat"
    LOSSES = "losses"

    @property
    def is_dictionary(self) -> bool:
        """Whether its rows explain ids of the same date instead of belonging to a window."""
        return self in {Dataset.STACKS, Dataset.FRAMES}


def dates_of(span: TimeRange) -> tuple[str, str]:
    """First and last date that a range touches."""
    return date_of(span.from_unix_nano), date_of(span.to_unix_nano - 1)


def hours_of(span: TimeRange) -> tuple[str, str]:
    """First and last hour that a range touches, as ``2026-01-31/07``."""
    return hour_of(span.from_unix_nano), hour_of(span.to_unix_nano - 1)


def date_of(unix_nano: int) -> str:
    """UTC date as in ``date=``."""
    return f"{datetime.fromtimestamp(unix_nano // 10**9, UTC):%Y-%m-%d}"


def hour_of(unix_nano: int) -> str:
    """UTC date and hour, ``2026-01-31/07``: sorts as time does."""
    return f"{datetime.fromtimestamp(unix_nano // 10**9, UTC):%Y-%m-%d/%H}"


def hour_start(date: str, hour: str) -> int:
    """Unix ns at which the hour of a folder begins."""
    return int(datetime.fromisoformat(f"{date}T{hour}:00:00+00:00").timestamp()) * 10**9


def folder(dataset: Dataset, kind: str, unix_nano: int) -> str:
    """Folder of the hour that a window starts in, relative to the store."""
    date, hour = hour_of(unix_nano).split("/")
    return f"{dataset}/kind={kind}/date={date}/hour={hour}"


def window_file(origin: LogRange, window_start_unix_nano: int, services: Iterable[str], content: str = "") -> str:
    """Name of the file of one partition's window.

    Args:
        origin: records that it was computed from.
        window_start_unix_nano: the window's start.
        services: those that it has rows of.
        content: 16 hexadecimal digits for dictionaries, whose rows depend on what was written before.
    """
    key = f"w-{quote(origin.topic, safe='.')}-{origin.partition:05d}-{window_start_unix_nano:019d}"
    suffix = f"-{content}" if content else ""
    bits = 0
    for service in services:
        bits |= _service_bits(service)
    return f"{key}{suffix}_{origin.first_offset}-{origin.last_offset}_{bits:064x}.parquet"


def may_hold(name: str, service: str) -> bool:
    """Whether a file may have rows of a service, by its name alone; never wrong when it says no.

    A window's file has a Bloom filter of 256 bits in its name: of other services it lets one in sixty through when it
    stands for 25, one in three when it stands for 100.
    """
    match = _WINDOW_FILE.fullmatch(name.rpartition("/")[2])
    bits = _service_bits(service)
    return match is None or match["services"] is None or int(match["services"], 16) & bits == bits


def _service_bits(service: str) -> int:
    digest = xxhash.xxh3_64_intdigest(service.encode())
    return 1 << (digest & 255) | 1 << (digest >> 8 & 255) | 1 << (digest >> 16 & 255)


@dataclass(frozen=True, slots=True, order=True)
class Source:
    """The contents of one window's file, wherever its rows lie now: in that file or in a compacted one.

    Two with the same ``key`` are the same window of the same partition, computed twice from the log: a worker died
    between writing and committing. Only the one that saw most of the log counts.
    """

    key: str
    last_offset: int
    first_offset: int

    @property
    def coverage(self) -> tuple[int, int]:
        """How much of the log it saw; larger is more."""
        return self.last_offset, -self.first_offset


def parse_window_file(name: str) -> Source | None:
    """What a window's file holds, by its name; ``None`` for any other file."""
    match = _WINDOW_FILE.fullmatch(name)
    return Source(match["key"], int(match["last"]), int(match["first"])) if match else None


def is_compacted_file(name: str) -> bool:
    """Whether a file holds the rows of several windows."""
    return _COMPACTED_FILE.fullmatch(name) is not None


def compacted_file(content: str) -> str:
    """Name of a compacted file; ``content`` is 16 hexadecimal digits that stand for what is in it."""
    return f"c-{content}.parquet"
