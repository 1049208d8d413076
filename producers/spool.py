"""Records that the bus has not taken yet, on disk: bounded, in order, and there again after a restart.

One file per call of :meth:`Spool.append`, named by a growing number. A file is written beside its name and renamed, and
it and the folder are flushed to the disk (fsync): a crash or a power failure leaves it whole or not at all. Records
leave only when they were delivered: a file goes with its last record, hence a crash in between repeats some, and
readers know them by their batch ids.
"""

import contextlib
import errno
import fcntl
import logging
import os
import re
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import msgpack
import xxhash

from flamebus.errors import SetupError, UsageError
from flamebus.profile import Loss

LOG = logging.getLogger("flamebus.agent")

_OURS = re.compile(r"(\d{16})\.(spool|partial)")
_DIGEST_BYTES = 8
_FULL = frozenset({errno.ENOSPC, errno.EDQUOT})


@dataclass(frozen=True, slots=True)
class Record:
    """One message for the bus, and what is lost when it has to be dropped.

    Attributes:
        topic, key, value, headers: the message.
        samples: samples in it, by weight; sample_value: their value; losses: what it reports itself.
    """

    topic: str
    key: str
    value: bytes
    headers: tuple[tuple[str, bytes], ...]
    samples: int
    sample_value: int
    losses: tuple[Loss, ...] = ()

    def dropped(self, reason: str) -> tuple[Loss, ...]:
        """What its loss means: its samples under ``reason``, and the losses that it would have reported."""
        return (Loss(reason, self.samples, self.sample_value), *self.losses)


@dataclass(slots=True)
class _File:
    size_bytes: int
    left: set[int] = field(default_factory=set)


@dataclass(frozen=True, slots=True)
class Spooled:
    """Where a record lies: the number of its file and its place in it."""

    file: int
    index: int


@dataclass(frozen=True, slots=True)
class Dropped:
    """A record that had to go, and where it was; None for one that never was in the spool."""

    position: Spooled | None
    record: Record


class Spool:
    """A folder of records, oldest first. Not shared: one agent, one folder, under a lock that ends with the process.

    Files that do not have our names are left alone.
    """

    def __init__(self, folder: Path, limit_bytes: int) -> None:
        """Open or make the folder; what an earlier agent left in it is there again.

        Raises:
            SetupError: the folder cannot be made or written.
            UsageError: another agent uses it.
        """
        self._folder = folder
        self.limit_bytes = limit_bytes
        """Most bytes of all files."""
        self._files: OrderedDict[int, _File] = OrderedDict()
        self.size_bytes = 0
        self.damaged_count = 0
        """Files that were damaged or half written, and were removed: how many samples they held is not known."""
        self._next = 1
        try:
            folder.mkdir(parents=True, exist_ok=True)
            self._descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        except OSError as error:
            raise self._unusable(error) from error
        try:
            self._lock()
            self._adopt_all()
        except BaseException:  # supervisor: gives the lock back, and raises
            self.close()
            raise

    def _unusable(self, error: OSError) -> SetupError:
        return SetupError(f"cannot use {self._folder} as spool: {error.strerror}; choose another with --spool")

    def _lock(self) -> None:
        try:
            fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            message = f"another agent uses {self._folder} as its spool; stop it or choose another with --spool"
            raise UsageError(message) from error
        except OSError as error:
            raise self._unusable(error) from error

    def _adopt_all(self) -> None:
        if not os.access(self._folder, os.W_OK | os.X_OK):  # told now, not when the bus is away
            raise self._unusable(PermissionError(errno.EACCES, "it cannot be written"))
        names = [match for path in self._folder.iterdir() if (match := _OURS.fullmatch(path.name))]
        for match in names:
            if match[2] == "partial":
                self.damaged_count += 1
                with contextlib.suppress(OSError):
                    self._path(int(match[1]), "partial").unlink()
        for number in sorted(int(match[1]) for match in names if match[2] == "spool"):
            self._adopt(number)
            self._next = number + 1
        if self.damaged_count:
            LOG.warning("%d damaged files of the spool %s were removed", self.damaged_count, self._folder)

    def close(self) -> None:
        """Let another agent use the folder; nothing is removed. May be called twice."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1

    def __len__(self) -> int:
        """Records that have not been delivered."""
        return sum(len(file.left) for file in self._files.values())

    def _path(self, number: int, suffix: str = "spool") -> Path:
        return self._folder / f"{number:016d}.{suffix}"

    def _adopt(self, number: int) -> None:
        records = self._read(number)
        if not records:
            self.damaged_count += 1
            with contextlib.suppress(OSError):
                self._path(number).unlink()
            return
        size = self._path(number).stat().st_size
        self._files[number] = _File(size, set(range(len(records))))
        self.size_bytes += size

    def append(self, records: Sequence[Record]) -> tuple[list[Spooled], list[Dropped]]:
        """Keep records behind all others.

        Returns:
            Where they lie, and the records that had to be dropped for them: the oldest files first, to keep to the
            limit or because the disk is full; the new records themselves when they alone exceed the limit or the disk
            refuses them all the same (their places are then empty).
        """
        data = _pack(records)
        dropped: list[Dropped] = []
        if len(data) > self.limit_bytes:
            return [], [Dropped(None, record) for record in records]
        while self.size_bytes + len(data) > self.limit_bytes and self._files:
            dropped += self._drop_oldest()
        while (code := self._write(self._next, data)) != 0:
            # Dropping helps a full disk only: on one that fails or has become read-only the old records stay.
            if code not in _FULL or not self._files:
                return [], [*dropped, *(Dropped(None, record) for record in records)]
            dropped += self._drop_oldest()
        number = self._next
        self._next += 1
        self._files[number] = _File(len(data), set(range(len(records))))
        self.size_bytes += len(data)
        return [Spooled(number, index) for index in range(len(records))], dropped

    def _write(self, number: int, data: bytes) -> int:
        """Whole or not at all; 0, or the error number of the disk."""
        partial = self._path(number, "partial")
        try:
            with partial.open("wb") as stream:
                stream.write(data)
                stream.flush()
                os.fsync(stream.fileno())
            partial.rename(self._path(number))
            os.fsync(self._descriptor)
        except OSError as error:
            with contextlib.suppress(OSError):
                partial.unlink(missing_ok=True)
            return error.errno or errno.EIO
        return 0

    def _drop_oldest(self) -> list[Dropped]:
        number, file = next(iter(self._files.items()))
        found = [Dropped(Spooled(number, i), record) for i, record in enumerate(self._read(number)) if i in file.left]
        self._remove(number)
        return found

    def _remove(self, number: int) -> None:
        self.size_bytes -= self._files.pop(number).size_bytes
        with contextlib.suppress(OSError):  # what stays is sent again after a restart, and known by its batch ids
            self._path(number).unlink()

    def _read(self, number: int) -> list[Record]:
        try:
            return _unpack(self._path(number).read_bytes())
        except OSError:
            return []

    def records(self) -> Iterator[tuple[Spooled, Record]]:
        """All that is left, oldest first, read one file at a time; the spool may change meanwhile."""
        for number in list(self._files):
            for index, record in enumerate(self._read(number)):
                if number in self._files and index in self._files[number].left:
                    yield Spooled(number, index), record

    def delivered(self, position: Spooled) -> None:
        """The bus has it: forget it. A position that was dropped meanwhile is passed over."""
        file = self._files.get(position.file)
        if file is not None:
            file.left.discard(position.index)
            if not file.left:
                self._remove(position.file)


def _pack(records: Sequence[Record]) -> bytes:
    rows = [
        (
            r.topic,
            r.key,
            r.value,
            r.headers,
            r.samples,
            r.sample_value,
            [(x.reason, x.samples, x.value) for x in r.losses],
        )
        for r in records
    ]
    data: bytes = msgpack.packb(rows)
    return xxhash.xxh3_64_digest(data) + data


def _unpack(data: bytes) -> list[Record]:
    """The records of one file; none when its digest does not fit or they are of another version."""
    body = data[_DIGEST_BYTES:]
    if not body or xxhash.xxh3_64_digest(body) != data[:_DIGEST_BYTES]:
        return []
    try:
        rows = msgpack.unpackb(body)
        return [
            Record(
                topic, key, value, tuple((n, v) for n, v in headers), samples, total, tuple(Loss(*x) for x in losses)
            )
            for topic, key, value, headers, samples, total, losses in rows
        ]
    except (ValueError, TypeError):  # msgpack's own errors are ValueErrors
        return []
