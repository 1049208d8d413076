"""A store that is full or read-only: the sink waits, says so, loses nothing, and goes on once it can."""

from __future__ import annotations

import asyncio
import os
import random
import subprocess
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest

from flamebus.errors import StoreUnavailableError
from flamebus.store.reader import StoreReader
from flamebus.time_range import TimeRange
from flamebus.wire.batch import encode_batch
from infra.servers.process import wait_until
from streams.sinks.store import StoreSink
from streams.windows import PartitionWindows, Record
from tests.support.parts import Part, require_or_skip
from tests.support.stream_logs import LATENESS, SIZE, START, batch, tick, weight_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from streams.closed import ClosedWindow

DEADLINE_S = 60


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of one megabyte."""
    if os.geteuid() != 0:
        require_or_skip(Part.KERNEL, "mounting needs root")
    disk = tmp_path / "disk"
    disk.mkdir()
    with mounted(disk, "-t", "tmpfs", "-o", "size=1m", "flamebus-test"):
        yield disk


@contextmanager
def mounted(where: Path, *arguments: str) -> Iterator[None]:
    subprocess.run(["mount", *arguments, str(where)], check=True)
    try:
        yield
    finally:
        subprocess.run(["umount", str(where)], check=True)


def remount(where: Path, how: str) -> None:
    subprocess.run(["mount", "-o", f"remount,{how}", str(where)], check=True)


def files_below(folder: Path, pattern: str) -> list[Path]:
    return [path for path in folder.rglob(pattern) if path.is_file()]


def closed_window() -> tuple[ClosedWindow, float]:
    windows, item = PartitionWindows("t", 0, SIZE, LATENESS), batch(random.Random(1), START)
    windows.add(Record(0, START + SIZE, encode_batch(item)))
    windows.add(tick(1, START + SIZE + LATENESS))
    (closed,) = windows.take_closed()
    return closed, weight_of(item)


async def write_while(sink: StoreSink, closed: ClosedWindow, mend: Callable[[], object]) -> None:
    """Write; once the sink says that it is down, ``mend`` the store and wait for the write."""
    task = asyncio.create_task(sink.write(closed))
    assert await asyncio.to_thread(wait_until, lambda: sink.health.is_down, DEADLINE_S)
    assert not task.done()
    mend()
    await asyncio.wait_for(task, DEADLINE_S)
    assert not sink.health.is_down


def stored_samples(store: Path) -> float:
    found = StoreReader(str(store)).stacks("checkout", "cpu", TimeRange(START, START + SIZE))
    return float(found.total) / 10


@pytest.fixture
def executor() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(1) as executor:
        yield executor


async def test_a_full_disk(small_disk: Path, executor: ThreadPoolExecutor) -> None:
    closed, samples = closed_window()
    hog = small_disk / "hog"
    hog.write_bytes(bytes(1024 * 1024 - 4096 * 3))
    sink = StoreSink(str(small_disk / "store"), "", executor)
    await write_while(sink, closed, hog.unlink)
    assert stored_samples(small_disk / "store") == samples
    assert not files_below(small_disk, ".writing-*"), "half-written files are left"


async def test_a_store_that_becomes_read_only(small_disk: Path, executor: ThreadPoolExecutor) -> None:
    closed, samples = closed_window()
    sink = StoreSink(str(small_disk / "store"), "", executor)
    await sink.check()
    remount(small_disk, "ro")
    await write_while(sink, closed, lambda: remount(small_disk, "rw"))
    assert stored_samples(small_disk / "store") == samples


async def test_a_read_only_bind_mount_is_refused_at_start(
    small_disk: Path, tmp_path: Path, executor: ThreadPoolExecutor
) -> None:
    bound = tmp_path / "bound"
    bound.mkdir()
    with mounted(bound, "--bind", "-o", "ro", str(small_disk)):
        sink = StoreSink(str(bound / "store"), "", executor)
        with pytest.raises(StoreUnavailableError, match="Read-only file system") as caught:
            await sink.check()
        assert caught.value.exit_code == 4


async def test_a_check_leaves_nothing(tmp_path: Path, executor: ThreadPoolExecutor) -> None:
    await StoreSink(str(tmp_path / "store"), "", executor).check()
    assert files_below(tmp_path, "*") == []
