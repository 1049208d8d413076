from __future__ import annotations

from contextlib import closing
from typing import TYPE_CHECKING

import pytest

from flamebus.errors import SetupError, UsageError
from flamebus.profile import Loss
from producers.spool import Record, Spool

if TYPE_CHECKING:
    from pathlib import Path


def record(number: int, size: int = 100) -> Record:
    return Record(
        "topic", f"s{number}", bytes([number]) * size, (("ce_id", b"x"),), number, number * 10, (Loss("r", 1),)
    )


def held(folder: Path, limit_bytes: int = 10_000) -> list[Record]:
    """What the next agent finds."""
    with closing(Spool(folder, limit_bytes)) as spool:
        return [each for _, each in spool.records()]


def test_records_come_back_in_order_after_a_restart(tmp_path: Path) -> None:
    with closing(Spool(tmp_path, 10_000)) as spool:
        spool.append([record(1), record(2)])
        spool.append([record(3)])
    with closing(Spool(tmp_path, 10_000)) as again:
        assert [each for _, each in again.records()] == [record(1), record(2), record(3)]
        again.append([record(4)])
    assert held(tmp_path)[-1] == record(4)


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


@pytest.mark.parametrize("limit_bytes", [0, 500, 1200, 5000])
def test_the_folder_never_holds_more_than_its_limit(tmp_path: Path, limit_bytes: int) -> None:
    """Whatever is appended, every record is in the folder, or came back as dropped, once."""
    spool = Spool(tmp_path, limit_bytes)
    gone: list[Record] = []
    for number in range(1, 40):
        _, dropped = spool.append([record(number, 50 + number * 7 % 300)])
        gone += [each.record for each in dropped]
        assert sum(path.stat().st_size for path in tmp_path.iterdir()) == spool.size_bytes <= limit_bytes
    left = [each for _, each in spool.records()]
    assert sorted(each.samples for each in [*gone, *left]) == list(range(1, 40))
    kept = [each.samples for each in left]
    assert kept == sorted(kept)


def test_a_limit_that_was_lowered_is_kept_from_the_next_record_on(tmp_path: Path) -> None:
    with closing(Spool(tmp_path, 10_000)) as spool:
        for number in range(1, 6):
            spool.append([record(number, 300)])
    spool = Spool(tmp_path, 900)
    assert len(spool) == 5
    _, dropped = spool.append([record(6, 300)])
    assert [each.record.samples for each in dropped] == [1, 2, 3, 4]
    assert spool.size_bytes <= 900


def test_a_record_larger_than_the_spool_is_dropped_itself(tmp_path: Path) -> None:
    spool = Spool(tmp_path, 1000)
    spool.append([record(1)])
    positions, dropped = spool.append([record(2, 2000)])
    assert positions == []
    assert [each.record for each in dropped] == [record(2, 2000)]
    assert len(spool) == 1


def test_a_file_cut_or_changed_at_any_byte_is_removed_and_counted_and_its_neighbours_are_not(tmp_path: Path) -> None:
    with closing(Spool(tmp_path, 10_000)) as spool:
        spool.append([record(1)])
        spool.append([record(2), record(3)])
        spool.append([record(4)])
    middle = sorted(tmp_path.glob("*.spool"))[1]
    whole = middle.read_bytes()
    rubbish = [whole[:length] for length in range(len(whole))]
    rubbish += [whole[:at] + bytes([whole[at] ^ 0x10]) + whole[at + 1 :] for at in range(0, len(whole), 7)]
    rubbish += [whole + b"\0", b"\0" * len(whole)]
    for content in rubbish:
        middle.write_bytes(content)
        with closing(Spool(tmp_path, 10_000)) as again:
            assert again.damaged_count == 1
            assert [each for _, each in again.records()] == [record(1), record(4)]
        assert not middle.exists()


def test_a_whole_file_of_another_version_counts_as_damaged(tmp_path: Path) -> None:
    import msgpack
    import xxhash

    for body in (msgpack.packb([["topic only"]]), msgpack.packb({"a": 1}), msgpack.packb(7), b"\xc1"):
        (tmp_path / f"{1:016d}.spool").write_bytes(xxhash.xxh3_64_digest(body) + body)
        with closing(Spool(tmp_path, 10_000)) as spool:
            assert spool.damaged_count == 1
            assert len(spool) == 0


def test_what_a_killed_agent_had_half_written_is_removed_and_counted(tmp_path: Path) -> None:
    (tmp_path / f"{9:016d}.partial").write_bytes(b"half")
    with closing(Spool(tmp_path, 10_000)) as spool:
        assert spool.damaged_count == 1
    assert not list(tmp_path.iterdir())


def test_foreign_files_are_left_alone(tmp_path: Path) -> None:
    names = ["notes.txt", "9.spool", "9.partial", "x.spool", f"{1:016d}.spool.bak", "0000000000000001.spool~"]
    for name in names:
        (tmp_path / name).write_text("not ours")
    (tmp_path / "folder").mkdir()
    with closing(Spool(tmp_path, 10_000)) as spool:
        assert spool.damaged_count == 0
        positions, _ = spool.append([record(1)])
        spool.delivered(positions[0])
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted([*names, "folder"])


def test_a_folder_that_cannot_be_made_is_said_at_the_start(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(SetupError, match="--spool"):
        Spool(tmp_path / "file" / "spool", 1000)
    with pytest.raises(SetupError, match="--spool"):
        Spool(tmp_path / "file", 1000)


def test_two_agents_cannot_share_a_folder(tmp_path: Path) -> None:
    first = Spool(tmp_path, 10_000)
    first.append([record(1)])
    with pytest.raises(UsageError, match="another agent uses"):
        Spool(tmp_path, 10_000)
    first.close()
    first.close()
    assert held(tmp_path) == [record(1)]
