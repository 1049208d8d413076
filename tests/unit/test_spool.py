from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from flamebus.errors import SetupError
from flamebus.profile import Loss
from producers.spool import Record, Spool

if TYPE_CHECKING:
    from pathlib import Path


def record(number: int, size: int = 100) -> Record:
    return Record(
        "topic", f"s{number}", bytes([number]) * size, (("ce_id", b"x"),), number, number * 10, (Loss("r", 1),)
    )


def test_records_come_back_in_order_after_a_restart(tmp_path: Path) -> None:
    spool = Spool(tmp_path, 10_000)
    spool.append([record(1), record(2)])
    spool.append([record(3)])
    again = Spool(tmp_path, 10_000)
    assert [each for _, each in again.records()] == [record(1), record(2), record(3)]
    again.append([record(4)])
    assert [each for _, each in Spool(tmp_path, 10_000).records()][-1] == record(4)


def test_a_record_leaves_only_when_it_was_delivered(tmp_path: Path) -> None:
    spool = Spool(tmp_path, 10_000)
    positions, _ = spool.append([record(1), record(2)])
    spool.delivered(positions[0])
    assert [each for _, each in spool.records()] == [record(2)]
    assert list(tmp_path.glob("*.spool"))
    spool.delivered(positions[1])
    spool.delivered(positions[1])
    assert len(spool) == 0
    assert spool.size_bytes == 0
    assert not list(tmp_path.iterdir())


def test_the_oldest_go_first_when_it_is_full(tmp_path: Path) -> None:
    spool = Spool(tmp_path, 1200)
    for number in range(1, 4):
        assert spool.append([record(number, 300)])[1] == []
    _, dropped = spool.append([record(4, 300)])
    assert [each.record for each in dropped] == [record(1, 300)]
    assert [each for _, each in spool.records()] == [record(2, 300), record(3, 300), record(4, 300)]
    assert spool.size_bytes <= 1200
    assert record(4).dropped("spool_full") == (Loss("spool_full", 4, 40), Loss("r", 1))


def test_a_record_larger_than_the_spool_is_dropped_itself(tmp_path: Path) -> None:
    spool = Spool(tmp_path, 1000)
    spool.append([record(1)])
    positions, dropped = spool.append([record(2, 2000)])
    assert positions == []
    assert [each.record for each in dropped] == [record(2, 2000)]
    assert len(spool) == 1


def test_damaged_and_half_written_files_are_removed_and_counted(tmp_path: Path) -> None:
    spool = Spool(tmp_path, 10_000)
    spool.append([record(1)])
    spool.append([record(2)])
    first = min(tmp_path.glob("*.spool"))
    first.write_bytes(first.read_bytes()[:-1])
    (tmp_path / "9.partial").write_bytes(b"half")
    again = Spool(tmp_path, 10_000)
    assert again.damaged_count == 1
    assert [each for _, each in again.records()] == [record(2)]
    assert not list(tmp_path.glob("*.partial"))


def test_a_folder_that_cannot_be_made_is_said_at_the_start(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(SetupError, match="--spool"):
        Spool(tmp_path / "file" / "spool", 1000)
