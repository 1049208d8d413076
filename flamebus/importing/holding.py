"""Holds the records of an import until all of it has been read: nothing of a damaged file is published."""

import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Self

_IN_MEMORY_BYTES = 64 * 1024 * 1024
"""Above this they go to an unnamed file in the folder for temporary files."""


@dataclass(frozen=True, slots=True, order=True)
class _Place:
    window_start: int
    offset: int
    length: int


class Held:
    """Records by window; use it as a context manager."""

    def __init__(self) -> None:
        self._file = tempfile.SpooledTemporaryFile(max_size=_IN_MEMORY_BYTES)  # noqa: SIM115 - closed in __exit__
        self._places: list[_Place] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def __len__(self) -> int:
        """Records held."""
        return len(self._places)

    def add(self, window_start: int, record: bytes) -> None:
        """Keep one record."""
        self._places.append(_Place(window_start, self._file.tell(), len(record)))
        self._file.write(record)

    def in_order(self) -> Iterator[bytes]:
        """All records, those of earlier windows first, as workers want them; those of a window as they came."""
        for place in sorted(self._places):
            self._file.seek(place.offset)
            yield self._file.read(place.length)
