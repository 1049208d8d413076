"""Reads MessagePack whose lengths cannot be believed.

Nothing is allocated for a declared length before it has been compared with the bytes that remain, and what a record
becomes in memory is paid out of an allowance that grows with its size: a megabyte of empty strings is refused, though
each of its lengths is true. Decoding N bytes takes at most 10 N + 64 KiB: 1 N for msgpack's own buffer, up to 4 N for
the characters of strings (a single emoji makes Python spend four bytes on each), 5 N for objects, see ``OBJECT_BYTES``.
"""

from collections.abc import Callable, Container, Iterator
from itertools import islice
from typing import TypeVar

import msgpack

from flamebus.errors import BadDataError

T = TypeVar("T")

MAX_RECORD_BYTES = 8 * 1024 * 1024
"""Largest record we decode, uncompressed: producers split at 500 KB, but compression hides bombs from the broker."""
MAX_KEYS = 64
"""Attributes of a resource, columns of a table, keys of a record."""

OBJECT_BYTES = 96
"""A short string with its place in a list and in a tuple, in CPython 3.11 to 3.13 (49 + 8 + 8, rounded up)."""
_OBJECT_SHARE = 5
_FREE_BYTES = 64 * 1024
"""What small records may take beyond their share: constant costs would drown the rule."""

_FINE = object()
_MALFORMED = (msgpack.exceptions.FormatError, msgpack.exceptions.StackError, msgpack.exceptions.BufferFull)


class RecordReader:
    """One record, read from front to back."""

    def __init__(self, data: bytes, max_bytes: int = MAX_RECORD_BYTES) -> None:
        """Start at the first byte of ``data``.

        Raises:
            BadDataError: ``oversized`` (more than ``max_bytes``) or ``empty`` (no bytes).
        """
        if not data:
            raise BadDataError("empty", "the record has no value")
        if len(data) > max_bytes:
            raise BadDataError("oversized", f"the record has {len(data)} bytes; the limit is {max_bytes}")
        self._size = len(data)
        self._allowance_bytes = _OBJECT_SHARE * len(data) + _FREE_BYTES
        # Containers are read by their headers only, so that none is ever made from its declared length.
        self._unpacker = msgpack.Unpacker(
            raw=False,
            strict_map_key=True,
            max_buffer_size=self._size,
            max_array_len=0,
            max_map_len=0,
            max_ext_len=0,
            max_str_len=self._size,
            max_bin_len=self._size,
        )
        self._unpacker.feed(data)

    def fields(self) -> Iterator[str]:
        """Keys of the map that starts here; the caller reads or skips each value before asking for the next key.

        Raises:
            BadDataError: besides what any value may raise, ``duplicate_key``; ``bad_length`` beyond ``MAX_KEYS``.
        """
        met: set[str] = set()
        for _ in range(self._map_length()):
            key = self.value()
            if type(key) is not str or key in met:
                raise _bad_key(key)
            met.add(key)
            yield key

    def values(self, known: Container[str]) -> dict[str, object]:
        """The map of single values that starts here, those of other keys passed over; in one go, for there are dozens.

        Raises:
            BadDataError: as :meth:`fields` and :meth:`value`.
        """
        length, unpack = self._map_length(), self._unpacker.unpack
        found: dict[str, object] = {}

        def read() -> object:
            """What is no key, or one that came before."""
            for _ in range(length):
                key = unpack()
                if type(key) is not str or key in found:
                    return key
                if key in known:
                    found[key] = unpack()
                else:
                    found[key] = None
                    self._unpacker.skip()
            return _FINE

        bad = self._guarded(read)
        if bad is not _FINE:
            raise _bad_key(bad)
        return found

    def value(self) -> object:
        """The next single value; a container with anything in it is refused: read it with its own method."""
        return self._guarded(self._unpacker.unpack)

    def skip(self) -> None:
        """Pass over the next value: an unknown key of a known version is not an error."""
        self._guarded(self._unpacker.skip)

    def enter_array(self, length: int) -> None:
        """Enter the array that starts here; its elements are what comes next.

        Raises:
            BadDataError: ``wrong_type``: it has another length.
        """
        found = self._header(self._unpacker.read_array_header, "array")
        if found != length:
            raise BadDataError("wrong_type", f"an array has {found} elements, not {length}")

    def array(self, read: Callable[[], T], element_bytes: int = OBJECT_BYTES) -> list[T]:
        """The array that starts here, each element by ``read``.

        Args:
            read: reads one element and nothing more.
            element_bytes: memory that an element takes with its place in the array, at most, beside characters.
        """
        length = self._header(self._unpacker.read_array_header, "array")
        self.spend(length * element_bytes)
        return [read() for _ in range(length)]

    def texts(self) -> list[str]:
        """The array of strings that starts here; fast, for there are thousands in a batch."""
        length = self._header(self._unpacker.read_array_header, "array")
        self.spend(length * OBJECT_BYTES)
        texts = self._guarded(lambda: list(islice(self._unpacker, length)))
        if len(texts) < length:
            raise BadDataError("truncated", f"the record ends early, after {self._size} bytes")
        wrong = set(map(type, texts)) - {str}
        if wrong:
            raise BadDataError("wrong_type", f"an array of strings holds {min(each.__name__ for each in wrong)}")
        return texts

    def spend(self, memory_bytes: int) -> None:
        """Take memory out of the record's allowance, before it is used.

        Raises:
            BadDataError: ``bad_length``: there is not so much left.
        """
        self._allowance_bytes -= memory_bytes
        if self._allowance_bytes < 0:
            raise BadDataError("bad_length", f"{self._size} bytes declare more elements than a record of that size has")

    def end(self) -> None:
        """Check that nothing follows.

        Raises:
            BadDataError: ``trailing_bytes``.
        """
        if self._unpacker.tell() != self._size:
            raise BadDataError("trailing_bytes", f"{self._size - self._unpacker.tell()} bytes follow the record")

    def _map_length(self) -> int:
        length = self._header(self._unpacker.read_map_header, "map")
        if length > MAX_KEYS:
            raise BadDataError("bad_length", f"a map declares {length} keys; the limit is {MAX_KEYS}")
        return length

    def _header(self, read: Callable[[], int], what: str) -> int:
        length = self._guarded(read, what)
        if length > self._size - self._unpacker.tell():
            raise BadDataError("bad_length", f"a {what} declares {length} elements; fewer bytes remain")
        return length

    def _guarded(self, read: Callable[[], T], what: str = "single value") -> T:
        try:
            return read()
        except msgpack.exceptions.OutOfData as error:
            raise BadDataError("truncated", f"the record ends early, after {self._size} bytes") from error
        except UnicodeDecodeError as error:
            # Not the error itself in the message: it would repeat the string, whatever its length.
            raise BadDataError("invalid_utf8", f"a string is not UTF-8: {error.reason}") from error
        except _MALFORMED as error:
            raise BadDataError("malformed", f"not MessagePack: {str(error) or type(error).__name__}") from error
        except ValueError as error:
            raise BadDataError("wrong_type", f"a {what} was expected: {error}") from error


def _bad_key(key: object) -> BadDataError:
    """Of a map: not a string, or there twice."""
    if isinstance(key, str):
        return BadDataError("duplicate_key", f"a map has the key {key[:80]!r} twice")
    return BadDataError("wrong_type", f"a map key is {type(key).__name__}, not a string")
