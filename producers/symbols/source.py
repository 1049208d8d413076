"""Where an ELF image's bytes come from: an open file or memory. Nothing is mapped.

Files are read with pread and never with mmap: a library overwritten in place shrinks under a mapping, and the next
touch would kill the agent with SIGBUS. The descriptor stays open while the image is in use, so that a file deleted
meanwhile keeps its names.
"""

from __future__ import annotations

import errno
import os
import stat
from typing import Protocol

from producers.symbols.failures import ImageError, SymbolFailure


class ByteSource(Protocol):
    """Random access to the bytes of one image."""

    @property
    def size_bytes(self) -> int:
        """Length of the image in bytes."""

    @property
    def held_bytes(self) -> int:
        """What keeping this source costs in memory."""

    def read(self, offset: int, length: int) -> bytes:
        """Exactly ``length`` bytes from ``offset``.

        Raises:
            ImageError: the range is not wholly inside the image; nothing is allocated for it.
        """

    def read_up_to(self, offset: int, length: int) -> bytes:
        """At most ``length`` bytes from ``offset``, fewer at the end, none beyond it."""

    def close(self) -> None:
        """Give back what is held; reading afterwards is an error."""


def _check_range(offset: int, length: int, size: int) -> None:
    if offset < 0 or length < 0 or offset + length > size:
        raise ImageError(SymbolFailure.TRUNCATED, f"bytes {offset}+{length} lie outside an image of {size} bytes")


class MemorySource:
    """An image held in memory: the vdso, or a table that was compressed inside a file."""

    def __init__(self, content: bytes) -> None:
        """Hold ``content``."""
        self._content = content

    @property
    def size_bytes(self) -> int:
        """Length of the image in bytes."""
        return len(self._content)

    @property
    def held_bytes(self) -> int:
        """The whole content."""
        return len(self._content)

    def read(self, offset: int, length: int) -> bytes:
        """Exactly ``length`` bytes from ``offset``; :class:`ImageError` when they are not there."""
        _check_range(offset, length, len(self._content))
        return self._content[offset : offset + length]

    def read_up_to(self, offset: int, length: int) -> bytes:
        """At most ``length`` bytes from ``offset``."""
        return self._content[max(0, offset) : max(0, offset) + max(0, length)]

    def close(self) -> None:
        """Drop the content."""
        self._content = b""


FileIdentity = tuple[int, int, int, int]
"""Device, inode, time of change of the content (ns) and size: what a file is as long as nobody writes to it."""


def open_regular(path: str) -> int:
    """Open a file for reading; never waits for a FIFO and opens no device.

    Raises:
        OSError: it cannot be opened, or is no regular file.
    """
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOCTTY)
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise OSError(errno.ENOENT, "not a regular file", path)
    return descriptor


def identity_of(descriptor: int) -> FileIdentity:
    """Which file is open."""
    found = os.fstat(descriptor)
    return found.st_dev, found.st_ino, found.st_mtime_ns, found.st_size


class FileSource:
    """An image in an open file, which this object owns from now on.

    It can be closed and opened again, so that a file no one uses keeps no file system busy.
    """

    def __init__(self, descriptor: int) -> None:
        """Take over ``descriptor``."""
        self._descriptor = descriptor
        self.identity = identity_of(descriptor)

    @property
    def size_bytes(self) -> int:
        """Length of the file when it was opened, in bytes."""
        return self.identity[3]

    @property
    def held_bytes(self) -> int:
        """Nothing: the bytes stay on disk."""
        return 0

    @property
    def is_open(self) -> bool:
        """Whether anything can be read now."""
        return self._descriptor >= 0

    def reopen(self, descriptor: int) -> None:
        """Take over ``descriptor`` of the same file, in place of the one held."""
        self.close()
        self._descriptor = descriptor

    def release(self) -> int:
        """Give up the descriptor to the caller, who owns it from now on."""
        descriptor, self._descriptor = self._descriptor, -1
        return descriptor

    def read(self, offset: int, length: int) -> bytes:
        """Exactly ``length`` bytes from ``offset``; :class:`ImageError` when they are not there (any more)."""
        _check_range(offset, length, self.size_bytes)
        content = self.read_up_to(offset, length)
        if len(content) != length:
            raise ImageError(SymbolFailure.TRUNCATED, f"the file ends before {offset}+{length}")
        return content

    def read_up_to(self, offset: int, length: int) -> bytes:
        """At most ``length`` bytes from ``offset``; empty when the disk fails or the file is closed."""
        if offset < 0 or length <= 0 or offset >= self.size_bytes or self._descriptor < 0:
            return b""
        try:
            return os.pread(self._descriptor, min(length, self.size_bytes - offset), offset)
        except OSError:
            return b""

    def __del__(self) -> None:
        self.close()

    def close(self) -> None:
        """Close the file; it may be reopened."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1
