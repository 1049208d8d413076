"""Reads MessagePack whose lengths cannot be believed.

A declared array length is compared with the bytes that remain before anything is allocated for it; every element takes
at least one byte, so a kilobyte that declares a billion elements is refused at once.
"""

from collections.abc import Callable, Iterator
from typing import TypeVar

import msgpack

from flamebus.errors import BadDataError

T = TypeVar("T")

MAX_RECORD_BYTES = 8 * 1024 * 1024
"""Largest record we decode, uncompressed: producers split at 500 KB, but compression hides bombs from the broker."""

_SMALL_ARRAY = 2  # sample_type: the only array that may be read in one go
_MAX_MAP = 64  # attributes of a resource, columns of a table, keys of a record
_MAX_DEPTH_ERRORS = (ValueError, TypeError, msgpack.exceptions.UnpackException, RecursionError)


class RecordReader:
    """One record, read from front to back."""

    def __init__(self, data: bytes) -> None:
        """Start at the first byte of ``data``.

        Raises:
            BadDataError: ``oversized`` (more than ``MAX_RECORD_BYTES``) or ``empty`` (no bytes).
        """
        if not data:
            raise BadDataError("empty", "the record has no value")
        if len(data) > MAX_RECORD_BYTES:
            raise BadDataError("oversized", f"the record has {len(data)} bytes; the limit is {MAX_RECORD_BYTES}")
        self._size = len(data)
        self._unpacker = msgpack.Unpacker(
            raw=False,
            strict_map_key=True,
            max_buffer_size=self._size,
            max_array_len=_SMALL_ARRAY,
            max_map_len=_MAX_MAP,
            max_ext_len=0,
            max_str_len=self._size,
            max_bin_len=self._size,
        )
        self._unpacker.feed(data)

    def fields(self) -> Iterator[str]:
        """Keys of the map that starts here; the caller reads or skips each value before asking for the next key."""
        for _ in range(self._header(self._unpacker.read_map_header, "map")):
            key = self.value()
            if not isinstance(key, str):
                raise BadDataError("wrong_type", f"a map key is {type(key).__name__}, not a string")
            yield key

    def value(self) -> object:
        """The next value, whole. Arrays longer than a pair are refused: read them with :meth:`array`."""
        return self._guarded(self._unpacker.unpack)

    def skip(self) -> None:
        """Pass over the next value: an unknown key of a known version is not an error."""
        self._guarded(self._unpacker.skip)

    def array(self, read: Callable[[], T]) -> list[T]:
        """The array that starts here, each element by ``read``."""
        return [read() for _ in range(self._header(self._unpacker.read_array_header, "array"))]

    def end(self) -> None:
        """Check that nothing follows.

        Raises:
            BadDataError: ``trailing_bytes``.
        """
        if self._unpacker.tell() != self._size:
            raise BadDataError("trailing_bytes", f"{self._size - self._unpacker.tell()} bytes follow the record")

    def _header(self, read: Callable[[], int], what: str) -> int:
        length = self._guarded(read)
        if length > self._size - self._unpacker.tell():
            raise BadDataError("bad_length", f"a {what} declares {length} elements; fewer bytes remain")
        return length

    def _guarded(self, read: Callable[[], T]) -> T:
        try:
            return read()
        except msgpack.exceptions.OutOfData as error:
            raise BadDataError("truncated", f"the record ends early, after {self._size} bytes") from error
        except UnicodeDecodeError as error:
            raise BadDataError("invalid_utf8", f"a string is not UTF-8: {error}") from error
        except _MAX_DEPTH_ERRORS as error:
            raise BadDataError("malformed", f"not the MessagePack we expect: {error}") from error
