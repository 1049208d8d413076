"""One input: a file or standard input, gzip or not, read once, as lines or whole."""

import gzip
import io
import zlib
from collections.abc import Iterator
from typing import BinaryIO

from flamebus.errors import BadDataError

MAX_LINE_BYTES = 512 * 1024
"""A line is a stack in folded text: with the tables of its frames it must fit into a record of a megabyte."""

MAX_WHOLE_BYTES = 256 * 1024 * 1024
"""Of a pprof profile, unpacked: it can only be read as a whole, and takes a few times its size in memory."""

_HEAD_BYTES = 64 * 1024
_GZIP_MAGIC = b"\x1f\x8b"


class _Rest(io.RawIOBase):
    """What follows a head that was already taken off a stream."""

    def __init__(self, head: bytes, stream: BinaryIO | gzip.GzipFile) -> None:
        self._head = head
        self._stream = stream

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: bytearray | memoryview) -> int:  # type: ignore[override]  # narrower than any buffer
        data = self._head[: len(buffer)] or self._stream.read(len(buffer))
        self._head = self._head[len(data) :]
        buffer[: len(data)] = data
        return len(data)


class Source:
    """An input that was opened.

    Args:
        name: what messages call it.
        stream: its bytes; packed ones are unpacked on the way.

    Raises:
        BadDataError: it is empty, or a gzip file that cannot be unpacked.
    """

    def __init__(self, name: str, stream: BinaryIO) -> None:
        self.name = name
        self._stream = _with_head(stream)
        try:
            if self._stream.peek(2)[:2] == _GZIP_MAGIC:
                self._stream = _with_head(gzip.GzipFile(fileobj=self._stream))
            self.head = self._stream.peek(_HEAD_BYTES)
        except _UNPACKING_ERRORS as error:
            raise self._not_unpacked(error) from error
        if not self.head:
            raise BadDataError("empty", f"{name} is empty")

    @property
    def is_binary(self) -> bool:
        """Whether its beginning cannot be text."""
        return any(byte < 9 or 13 < byte < 27 for byte in self.head)

    def lines(self) -> Iterator[tuple[int, str]]:
        """Lines with their numbers, from 1, without their ends.

        Raises:
            BadDataError: ``invalid_utf8``, ``oversized`` or ``truncated``.
        """
        number = 0
        while True:
            number += 1
            try:
                line = self._stream.readline(MAX_LINE_BYTES + 1)
            except _UNPACKING_ERRORS as error:
                raise self._not_unpacked(error) from error
            if not line:
                return
            if len(line) > MAX_LINE_BYTES:
                raise self.bad("oversized", number, f"the line is longer than {MAX_LINE_BYTES} bytes")
            try:
                yield number, line.decode("utf-8-sig" if number == 1 else "utf-8").rstrip("\r\n")
            except UnicodeDecodeError as error:
                raise self.bad("invalid_utf8", number, f"not UTF-8 ({error.reason} at byte {error.start})") from error

    def whole(self) -> bytes:
        """Everything.

        Raises:
            BadDataError: ``oversized`` or ``truncated``.
        """
        try:
            data = self._stream.read(MAX_WHOLE_BYTES + 1)
        except _UNPACKING_ERRORS as error:
            raise self._not_unpacked(error) from error
        if len(data) > MAX_WHOLE_BYTES:
            raise BadDataError("oversized", f"{self.name} has more than {MAX_WHOLE_BYTES} bytes unpacked")
        return data

    def bad(self, reason: str, line: int, what: str) -> BadDataError:
        """An error about one line."""
        return BadDataError(reason, f"{self.name}, line {line}: {what}")

    def _not_unpacked(self, error: Exception) -> BadDataError:
        reason = "truncated" if isinstance(error, EOFError) else "malformed"
        return BadDataError(reason, f"{self.name} cannot be unpacked, its gzip data is {reason}: {error}")


_UNPACKING_ERRORS = (EOFError, gzip.BadGzipFile, zlib.error)


def _with_head(stream: BinaryIO | gzip.GzipFile) -> io.BufferedReader:
    """The stream with its first ``_HEAD_BYTES`` ready to be peeked at, also where a pipe brings them in pieces."""
    head = bytearray()
    try:
        while len(head) < _HEAD_BYTES and (data := stream.read(_HEAD_BYTES - len(head))):
            head += data
    except _UNPACKING_ERRORS:
        if not head:
            raise
    return io.BufferedReader(_Rest(bytes(head), stream), _HEAD_BYTES)
