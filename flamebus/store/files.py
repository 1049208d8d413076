"""Where bytes lie: a directory or an S3 prefix, with writes that appear whole or not at all."""

import os
import uuid
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import urlparse

import pyarrow as pa
import pyarrow.fs as pafs
import pyarrow.parquet as pq

from flamebus.errors import StoreUnavailableError, UsageError

TEMPORARY_PREFIX = ".writing-"
S3_CONNECT_TIMEOUT_S = 3
S3_REQUEST_TIMEOUT_S = 20


class StoreFiles(Protocol):
    """Files below a location; names are relative and use ``/``. Every method raises StoreUnavailableError."""

    location: str
    filesystem: Any
    root: str
    is_local: bool

    def list(self, folder: str) -> list[str]:
        """Names of files and folders directly below, sorted; empty when the folder is not there."""
        ...

    def walk(self, folder: str) -> Mapping[str, Sequence[str]]:
        """Folders of hours below the folder of a date, by name, with what ``list`` says of each."""
        ...

    def read_bytes(self, name: str) -> bytes | None:
        """A whole file, or ``None`` when it is not there."""
        ...

    def write_bytes(self, name: str, data: bytes) -> None:
        """Put a whole file in place at once."""
        ...

    def write_table(
        self, name: str, table: pa.Table, row_group_rows: int, metadata: Mapping[str, str] | None = None
    ) -> None:
        """Put a Parquet file in place at once; ``metadata`` goes into its footer."""
        ...

    def size_and_time(self, name: str) -> tuple[int, int]:
        """Bytes of a file and when it was written (ns UTC, by the clock of whoever keeps it); zeros when it is gone."""
        ...

    def sweep(self, folder: str, before_unix_nano: int) -> int:
        """Remove what writers that were killed before that left half written; how many files that were."""
        ...

    def delete(self, name: str) -> None:
        """Remove a file; one that is gone already is no error."""
        ...

    def delete_empty(self, folder: str) -> None:
        """Remove what stands for a folder without files, and for those around it; only where nobody writes any more."""
        ...

    def check(self) -> None:
        """Raise unless the location exists and answers."""
        ...


def open_files(location: str, s3_endpoint: str = "") -> StoreFiles:
    """The files of a location.

    Args:
        location: a directory, or ``s3://bucket/prefix``; keys of S3 come from AWS's usual variables and files.
        s3_endpoint: ``http://host:port`` of a server other than AWS.

    Raises:
        UsageError: a location of another scheme.
    """
    if location.startswith("s3://"):
        return S3Files(location, s3_endpoint)
    if "://" in location:
        raise UsageError(f"not a store: {location!r}; write a directory or s3://bucket/prefix")
    return LocalFiles(location)


def write_parquet(target: Any, table: pa.Table, row_group_rows: int, metadata: Mapping[str, str] | None = None) -> None:
    """The one form of all our Parquet files: zstd, dictionaries, plain column types for every reader."""
    with pq.ParquetWriter(target, table.schema, compression="zstd", use_dictionary=True, store_schema=False) as writer:
        writer.write_table(table, row_group_size=row_group_rows)
        if metadata:
            writer.add_key_value_metadata(dict(metadata))


@contextmanager
def translated(action: str) -> Iterator[None]:
    """Turn what the file system says into our error, naming what we were doing."""
    try:
        yield
    except (OSError, pa.ArrowException) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise StoreUnavailableError(f"cannot {action}: {reason}") from error


class LocalFiles:
    """A directory. Files are written under a temporary name beside their place, synced, and renamed."""

    is_local = True

    def __init__(self, location: str) -> None:
        self.location = location
        self.root = str(Path(location).absolute())
        self.filesystem = pafs.LocalFileSystem()

    def _path(self, name: str) -> Path:
        return Path(self.root, name)

    def list(self, folder: str) -> list[str]:
        """See StoreFiles."""
        with translated(f"list {folder} in the store {self.location}"):
            try:
                return sorted(entry for entry in os.listdir(self._path(folder)) if not entry.startswith("."))  # noqa: PTH208 - names are all we need, and there are thousands
            except FileNotFoundError:
                return []

    def walk(self, folder: str) -> Mapping[str, Sequence[str]]:
        """See StoreFiles."""
        return {hour: self.list(f"{folder}/{hour}") for hour in self.list(folder)}

    def read_bytes(self, name: str) -> bytes | None:
        """See StoreFiles."""
        with translated(f"read {name} in the store {self.location}"):
            try:
                return self._path(name).read_bytes()
            except FileNotFoundError:
                return None

    def write_bytes(self, name: str, data: bytes) -> None:
        """See StoreFiles."""
        with self._in_place(name) as temporary:
            temporary.write_bytes(data)

    def write_table(
        self, name: str, table: pa.Table, row_group_rows: int, metadata: Mapping[str, str] | None = None
    ) -> None:
        """See StoreFiles."""
        with self._in_place(name) as temporary:
            write_parquet(str(temporary), table, row_group_rows, metadata)

    def size_and_time(self, name: str) -> tuple[int, int]:
        """See StoreFiles."""
        with translated(f"look at {name} in the store {self.location}"):
            try:
                found = self._path(name).stat()
            except FileNotFoundError:
                return 0, 0
        return found.st_size, found.st_mtime_ns

    def sweep(self, folder: str, before_unix_nano: int) -> int:
        """See StoreFiles."""
        with translated(f"clean {folder} in the store {self.location}"):
            left = [entry for entry in _hidden(self._path(folder)) if _written(entry) < before_unix_nano]
            for entry in left:
                entry.unlink(missing_ok=True)
        return len(left)

    @contextmanager
    def _in_place(self, name: str) -> Iterator[Path]:
        path = self._path(name)
        temporary = path.with_name(f"{TEMPORARY_PREFIX}{uuid.uuid4().hex}")
        with translated(f"write {name} to the store {self.location}"):
            try:
                path.parent.mkdir(parents=True, exist_ok=True)
                yield temporary
                _sync(temporary)
                temporary.replace(path)
                _sync(path.parent)
            finally:
                temporary.unlink(missing_ok=True)

    def delete(self, name: str) -> None:
        """See StoreFiles; folders that become empty go too."""
        with translated(f"delete {name} in the store {self.location}"):
            path = self._path(name)
            path.unlink(missing_ok=True)
            parent = path.parent
            while str(parent) != self.root and parent.is_dir() and not any(parent.iterdir()):
                parent.rmdir()
                parent = parent.parent

    def delete_empty(self, folder: str) -> None:
        """See StoreFiles; ``delete`` has done it."""

    def check(self) -> None:
        """See StoreFiles."""
        if not Path(self.root).is_dir():
            raise StoreUnavailableError(f"there is no store at {self.location}: no such directory")


def _hidden(folder: Path) -> list[Path]:
    try:
        return [entry for entry in folder.iterdir() if entry.name.startswith(TEMPORARY_PREFIX)]
    except FileNotFoundError:
        return []


def _written(path: Path) -> int:
    """When a file was written, ns UTC; for ever from now when it has gone, since then it is nobody's remains."""
    try:
        return path.stat().st_mtime_ns
    except FileNotFoundError:
        return 2**63


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


class S3Files:
    """A prefix of an S3 bucket. An object appears when its upload is complete, so no rename is needed."""

    is_local = False

    def __init__(self, location: str, endpoint: str) -> None:
        bucket, _, prefix = location.removeprefix("s3://").strip("/").partition("/")
        if not bucket:
            raise UsageError(f"not a store: {location!r}; write s3://bucket/prefix")
        self.location = location
        self.root = f"{bucket}/{prefix}" if prefix else bucket
        self._bucket = bucket
        parsed = urlparse(endpoint)
        options: dict[str, Any] = {"endpoint_override": parsed.netloc, "scheme": parsed.scheme} if endpoint else {}
        with translated(f"open the store {location}"):
            self.filesystem = pafs.S3FileSystem(
                **options,
                connect_timeout=S3_CONNECT_TIMEOUT_S,
                request_timeout=S3_REQUEST_TIMEOUT_S,
                retry_strategy=pafs.AwsStandardS3RetryStrategy(max_attempts=2),
            )

    def _path(self, name: str) -> str:
        return f"{self.root}/{name}"

    def list(self, folder: str) -> list[str]:
        """See StoreFiles."""
        with translated(f"list {folder} in the store {self.location}"):
            selector = pafs.FileSelector(self._path(folder), allow_not_found=True)
            return sorted(info.base_name for info in self.filesystem.get_file_info(selector) if info.base_name)

    def walk(self, folder: str) -> Mapping[str, Sequence[str]]:
        """See StoreFiles; one request for a thousand files instead of one for each hour."""
        found: dict[str, list[str]] = {}
        with translated(f"list {folder} in the store {self.location}"):
            selector = pafs.FileSelector(self._path(folder), allow_not_found=True, recursive=True)
            for info in self.filesystem.get_file_info(selector):
                if info.type == pafs.FileType.File:
                    hour, _, name = info.path.removeprefix(f"{self._path(folder)}/").partition("/")
                    found.setdefault(hour, []).append(name)
        return {hour: sorted(names) for hour, names in sorted(found.items())}

    def read_bytes(self, name: str) -> bytes | None:
        """See StoreFiles."""
        with translated(f"read {name} in the store {self.location}"):
            try:
                with self.filesystem.open_input_file(self._path(name)) as stream:
                    data: bytes = stream.read()
                    return data
            except FileNotFoundError:
                return None

    def write_bytes(self, name: str, data: bytes) -> None:
        """See StoreFiles."""
        with (
            translated(f"write {name} to the store {self.location}"),
            self.filesystem.open_output_stream(self._path(name)) as stream,
        ):
            stream.write(data)

    def write_table(
        self, name: str, table: pa.Table, row_group_rows: int, metadata: Mapping[str, str] | None = None
    ) -> None:
        """See StoreFiles; the file is made in memory, so that a failure halfway uploads nothing."""
        buffer = pa.BufferOutputStream()
        write_parquet(buffer, table, row_group_rows, metadata)
        self.write_bytes(name, buffer.getvalue())

    def size_and_time(self, name: str) -> tuple[int, int]:
        """See StoreFiles."""
        with translated(f"look at {name} in the store {self.location}"):
            info = self.filesystem.get_file_info(self._path(name))
        if info.type == pafs.FileType.NotFound:
            return 0, 0
        return info.size, info.mtime_ns

    def sweep(self, folder: str, before_unix_nano: int) -> int:
        """See StoreFiles; S3 shows no upload that did not finish."""
        return 0

    def delete(self, name: str) -> None:
        """See StoreFiles."""
        with translated(f"delete {name} in the store {self.location}"):
            try:
                self.filesystem.delete_file(self._path(name))
            except FileNotFoundError:
                return

    def delete_empty(self, folder: str) -> None:
        """See StoreFiles. Deleting an object leaves one of no bytes for the folder that it was in."""
        with translated(f"delete {folder} in the store {self.location}"):
            while folder and not self.list(folder):
                self.filesystem.delete_dir(self._path(folder))
                folder = folder.rpartition("/")[0]

    def check(self) -> None:
        """See StoreFiles."""
        with translated(f"reach the store {self.location}"):
            info = self.filesystem.get_file_info(self._bucket)
        if info.type == pafs.FileType.NotFound:
            raise StoreUnavailableError(f"there is no store at {self.location}: no bucket {self._bucket!r}")
