"""Which files of a folder count: each window's rows exactly once, whatever was written twice or is being compacted.

A compacted file names its sources in its footer and tags every row with the one it came from. So no file lists others,
nothing has to change together, and compactors need no lock: of all files that hold a source, a fixed order picks one.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.parquet as pq

from flamebus.errors import BadDataError, StoreUnavailableError
from flamebus.store.files import StoreFiles
from flamebus.store.layout import Source, is_compacted_file, parse_window_file

SOURCES_METADATA = "flamebus.sources"


@dataclass(frozen=True, slots=True)
class Part:
    """A file of which at least some rows count.

    Attributes:
        name: relative to the store; sources: what it holds, in the order of its ``source`` column; empty when nobody
            had to look, since the file is alone in its folder.
        excluded: rows of ``sources`` that another file holds in a later form.
    """

    name: str
    is_compacted: bool
    sources: tuple[Source, ...] = ()
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
    """Sources of compacted files, remembered: such a file never changes."""

    def __init__(self, files: StoreFiles) -> None:
        self._files = files
        self._known: dict[str, tuple[Source, ...]] = {}

    def of(self, name: str) -> tuple[Source, ...]:
        """What a compacted file holds.

        Raises:
            FileNotFoundError: it has gone; the folder has to be listed again.
            BadDataError: ``damaged``; its footer cannot be read.
            StoreUnavailableError: the store does not answer.
        """
        if name not in self._known:
            self._known[name] = _read_sources(self._files, name)
        return self._known[name]


def _read_sources(files: StoreFiles, name: str) -> tuple[Source, ...]:
    try:
        metadata = pq.read_metadata(f"{files.root}/{name}", filesystem=files.filesystem).metadata or {}
        return tuple(Source(*row) for row in json.loads(metadata[SOURCES_METADATA.encode()]))
    except FileNotFoundError:
        raise
    except (OSError, pa.ArrowException, KeyError, ValueError, TypeError) as error:
        raise BadDataError("damaged", f"{name} is damaged: {error}") from error


def sources_metadata(sources: Sequence[Source]) -> dict[str, str]:
    """The footer entry that names the sources."""
    return {SOURCES_METADATA: json.dumps([[source.key, source.last_offset, source.first_offset] for source in sources])}


def folder_parts(
    files: StoreFiles, covers: Covers, folder: str, passed_over: frozenset[str] = frozenset()
) -> FolderParts:
    """The files of one folder that count.

    Args:
        files: the store's.
        covers: what its compacted files hold.
        folder: of one hour of a dataset.
        passed_over: files known to be damaged: what they hold is taken from others, where others have it.

    Raises:
        FileNotFoundError: a file went meanwhile; ask again.
        StoreUnavailableError: the store does not answer.
    """
    names = [name for name in files.list(folder) if f"{folder}/{name}" not in passed_over]
    windows = {name: source for name in names if (source := parse_window_file(name))}
    compacted = [name for name in names if is_compacted_file(name)]
    if len(compacted) == 1 and not windows:
        return FolderParts((Part(f"{folder}/{compacted[0]}", is_compacted=True),), {}, {})
    held: dict[str, tuple[Source, ...]] = {name: (source,) for name, source in windows.items()}
    damaged = {}
    for name in compacted:
        try:
            held[name] = covers.of(f"{folder}/{name}")
        except BadDataError as error:
            damaged[f"{folder}/{name}"] = str(error)
    return _choose(folder, held, damaged)


def _choose(folder: str, held: Mapping[str, tuple[Source, ...]], damaged: Mapping[str, str]) -> FolderParts:
    """Of all files with the same source the one that saw most of the log, then the one that holds most."""
    best: dict[str, tuple[tuple[int, int], int, str]] = {}
    for name, sources in held.items():
        for source in sources:
            candidate = (source.coverage, len(sources) if is_compacted_file(name) else 0, name)
            best[source.key] = max(best.get(source.key, candidate), candidate)
    active, obsolete = [], {}
    for name, sources in sorted(held.items()):
        lost = frozenset(index for index, source in enumerate(sources) if best[source.key][2] != name)
        if len(lost) == len(sources):
            obsolete[f"{folder}/{name}"] = frozenset(f"{folder}/{best[source.key][2]}" for source in sources)
        else:
            active.append(Part(f"{folder}/{name}", is_compacted_file(name), sources, lost))
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
