"""Which files of a folder count: each window's rows exactly once, whatever was written twice or is being compacted.

A compacted file names its sources in its footer and tags every row with the one it came from. So no file lists others,
nothing has to change together, and compactors need no lock: of all files that hold a source, a fixed order picks one.
"""

import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.parquet as pq

from flamebus.errors import BadDataError, StoreUnavailableError
from flamebus.store.files import StoreFiles
from flamebus.store.layout import Source, is_compacted_file, parse_window_file

COVER_METADATA = "flamebus.cover"


@dataclass(frozen=True, slots=True)
class Cover:
    """What a file holds.

    Attributes:
        generation: how many merges its rows went through: a merged file goes before those that it was made of.
        sources: in the order of its ``source`` column.
    """

    generation: int
    sources: tuple[Source, ...]

    def to_metadata(self) -> dict[str, str]:
        """The entry of a Parquet footer."""
        rows = [[source.key, source.last_offset, source.first_offset] for source in self.sources]
        return {COVER_METADATA: json.dumps([self.generation, rows])}

    @staticmethod
    def from_metadata(metadata: Mapping[bytes, bytes]) -> "Cover":
        """What a footer says; KeyError, ValueError or TypeError when it says nothing of the kind."""
        generation, rows = json.loads(metadata[COVER_METADATA.encode()])
        return Cover(generation, tuple(Source(*row) for row in rows))


@dataclass(frozen=True, slots=True)
class Part:
    """A file of which at least some rows count.

    Attributes:
        name: relative to the store.
        cover: what it holds; None when nobody had to look, since it is alone in its folder.
        excluded: rows of the cover's sources that count in another file.
    """

    name: str
    is_compacted: bool
    cover: Cover | None = None
    excluded: frozenset[int] = frozenset()


@dataclass(frozen=True, slots=True)
class FolderParts:
    """What lies in a folder.

    Attributes:
        active: files that count; obsolete: files whose rows all lie in others → those others.
        damaged: name → why it cannot be read.
    """

    active: tuple[Part, ...]
    obsolete: Mapping[str, frozenset[str]]
    damaged: Mapping[str, str]


class Covers:
    """What compacted files hold, remembered: such a file never changes."""

    def __init__(self, files: StoreFiles) -> None:
        self._files = files
        self._known: dict[str, Cover] = {}

    def of(self, name: str) -> Cover:
        """What a compacted file holds.

        Raises:
            FileNotFoundError: it has gone; the folder has to be listed again.
            BadDataError: ``damaged``; its footer cannot be read.
            StoreUnavailableError: the store does not answer.
        """
        if name not in self._known:
            self._known[name] = _read_cover(self._files, name)
        return self._known[name]


def _read_cover(files: StoreFiles, name: str) -> Cover:
    try:
        metadata = pq.read_metadata(f"{files.root}/{name}", filesystem=files.filesystem).metadata or {}
        return Cover.from_metadata(metadata)
    except FileNotFoundError:
        raise
    except PermissionError as error:
        raise StoreUnavailableError(f"cannot read {name} in the store {files.location}: {error.strerror}") from error
    except (OSError, pa.ArrowException, KeyError, ValueError, TypeError) as error:
        files.check()  # a server that is away damages nothing
        raise BadDataError("damaged", f"not a compacted file: {' '.join(str(error).split())}") from error


def folder_parts(covers: Covers, folder: str, listed: Sequence[str], passed_over: Collection[str] = ()) -> FolderParts:
    """The files of one folder that count.

    Args:
        covers: what the store's compacted files hold.
        folder: of one hour of a dataset.
        listed: names of the files in it.
        passed_over: files known to be damaged: what they hold is taken from others, where others have it.

    Raises:
        FileNotFoundError: a file went meanwhile; ask again.
        StoreUnavailableError: the store does not answer.
    """
    names = [name for name in listed if f"{folder}/{name}" not in passed_over]
    windows = {name: source for name in names if (source := parse_window_file(name))}
    compacted = [name for name in names if is_compacted_file(name)]
    if len(compacted) == 1 and not windows:
        return FolderParts((Part(f"{folder}/{compacted[0]}", is_compacted=True),), {}, {})
    held = {name: Cover(0, (source,)) for name, source in windows.items()}
    damaged = {}
    for name in compacted:
        try:
            held[name] = covers.of(f"{folder}/{name}")
        except BadDataError as error:
            damaged[f"{folder}/{name}"] = str(error)
    return _choose(folder, held, damaged)


def _choose(folder: str, held: Mapping[str, Cover], damaged: Mapping[str, str]) -> FolderParts:
    """Of all files with the same source the one that saw most of the log, then the one that was merged last.

    The order is one of the files alone, whatever else is there: so the last of them is never taken for replaced.
    """
    best: dict[str, tuple[tuple[int, int], int, int, str]] = {}
    for name, cover in held.items():
        for source in cover.sources:
            candidate = (source.coverage, cover.generation, len(cover.sources), name)
            best[source.key] = max(best.get(source.key, candidate), candidate)
    active, obsolete = [], {}
    for name, cover in sorted(held.items()):
        winners = [best[source.key][-1] for source in cover.sources]
        lost = frozenset(index for index, winner in enumerate(winners) if winner != name)
        if len(lost) == len(winners):
            obsolete[f"{folder}/{name}"] = frozenset(f"{folder}/{winner}" for winner in winners)
        else:
            active.append(Part(f"{folder}/{name}", is_compacted_file(name), cover, lost))
    return FolderParts(tuple(active), obsolete, damaged)


def damage(files: StoreFiles, name: str) -> str:
    """Why a file cannot be read from end to end, or nothing.

    Raises:
        FileNotFoundError: it has gone.
        StoreUnavailableError: we may not read it, or the store does not answer.
    """
    try:
        with pq.ParquetFile(f"{files.root}/{name}", filesystem=files.filesystem) as file:
            for _ in file.iter_batches():
                pass
    except FileNotFoundError:
        raise
    except PermissionError as error:
        raise StoreUnavailableError(f"cannot read {name} in the store {files.location}: {error.strerror}") from error
    except (OSError, pa.ArrowException) as error:
        files.check()
        return " ".join(str(error).split())
    return ""
