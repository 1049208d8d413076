"""The spool on disks that are full, read-only or fail, and under agents that are killed."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from contextlib import closing, contextmanager
from typing import TYPE_CHECKING

import pytest

from flamebus.errors import SetupError
from producers.spool import Record, Spool

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="mounting needs root")
_KILLS = 11
_WRITER = """
import sys
from pathlib import Path
from producers.spool import Record, Spool
spool = Spool(Path(sys.argv[1]), 10**8)
for number in range(int(sys.argv[2]), 10**6):
    spool.append([Record("topic", "key", bytes(20_000), (), number, number)])
    print(number, flush=True)
"""


def record(number: int, size: int = 10_000) -> Record:
    return Record("topic", "key", bytes(size), (), number, number)


@contextmanager
def small_disk(folder: Path, options: str) -> Iterator[Path]:
    folder.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", options, "none", folder], check=True)
    try:
        yield folder
    finally:
        subprocess.run(["umount", "--lazy", folder], check=True)


def numbers(spool: Spool) -> list[int]:
    return [each.samples for _, each in spool.records()]


@needs_root
def test_on_a_full_disk_the_oldest_give_way_and_are_handed_back(tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk", "size=96k") as disk, closing(Spool(disk, 10**9)) as spool:
        gone: list[int] = []
        for number in range(1, 30):
            positions, dropped = spool.append([record(number)])
            assert len(positions) == 1
            gone += [each.record.samples for each in dropped]
        assert gone
        assert [*gone, *numbers(spool)] == list(range(1, 30))
        assert not list(disk.glob("*.partial"))


@needs_root
@pytest.mark.parametrize("options", ["size=16k", "size=1m,nr_inodes=3"])
def test_a_disk_that_others_have_filled_costs_the_new_record_and_nothing_else(tmp_path: Path, options: str) -> None:
    with small_disk(tmp_path / "disk", options) as disk:
        (disk / "of others").mkdir()
        (disk / "of others" / "data").write_bytes(bytes(12_000))
        spool = Spool(disk / "of others", 10**9)
        positions, dropped = spool.append([record(1)])
        assert positions == []
        assert [each.record.samples for each in dropped] == [1]
        assert len(spool) == 0
        (disk / "of others" / "data").unlink()
        assert len(spool.append([record(2)])[0]) == 1
        spool.close()


@needs_root
def test_a_disk_that_becomes_read_only_keeps_what_it_has_and_recovers(tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk", "size=1m") as disk, closing(Spool(disk, 10**6)) as spool:
        (first,), _ = spool.append([record(1)])
        spool.append([record(2)])
        subprocess.run(["mount", "-o", "remount,ro", disk], check=True)
        positions, dropped = spool.append([record(3)])
        assert positions == []
        assert [each.record.samples for each in dropped] == [3]
        spool.delivered(first)
        assert numbers(spool) == [2]
        subprocess.run(["mount", "-o", "remount,rw", disk], check=True)
        assert len(spool.append([record(4)])[0]) == 1
        assert numbers(spool) == [2, 4]


@needs_root
def test_a_read_only_folder_is_said_at_the_start(tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk", "size=1m") as disk:
        subprocess.run(["mount", "-o", "remount,ro", disk], check=True)
        with pytest.raises(SetupError, match=r"cannot be written.*--spool"):
            Spool(disk, 10**6)


def test_an_agent_killed_at_any_moment_leaves_every_record_that_was_kept(tmp_path: Path) -> None:
    """SIGKILL in the middle of writing, again and again, each time after some more records."""
    told = 0
    for kill in range(1, _KILLS + 1):
        writer = [sys.executable, "-c", _WRITER, str(tmp_path), str(told + 1)]
        with subprocess.Popen(writer, stdout=subprocess.PIPE, text=True) as process:
            assert process.stdout is not None
            for _ in range(kill % 5 + 1):
                told = int(process.stdout.readline())
            process.send_signal(signal.SIGKILL)
            told = max([told, *(int(line) for line in process.stdout if line.endswith("\n"))])
        with closing(Spool(tmp_path, 10**8)) as spool:
            found = numbers(spool)
            assert found[:told] == list(range(1, told + 1))
            # The last one may have been renamed into place before the writer could say so.
            assert found[told:] in ([], [told + 1])
            told = len(found)
    assert told >= _KILLS
