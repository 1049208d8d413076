"""The HTTP API's answers from a real store: what pruning hides is still in the table and found."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from dashboard.profiles import Question, StoredProfiles
from dashboard.queries import Queries
from flamebus.errors import UsageError
from flamebus.profile import Loss
from flamebus.store.compaction import Compactor
from flamebus.store.layout import HOUR_NS
from flamebus.store.reader import StoreReader
from flamebus.store.writer import StoreWriter
from tests.support.small_day import HOUR, START, At, origin, profile

if TYPE_CHECKING:
    from pathlib import Path

QUERY = {"service": "checkout", "kind": "cpu", "from": str(HOUR.from_unix_nano), "to": str(HOUR.to_unix_nano)}
QUESTION = Question("checkout", "cpu", HOUR)


def write(location: Path, windows: range) -> None:
    writer = StoreWriter(str(location))
    for number in windows:
        stacks = [((f"leaf_{part}", f"branch_{part % 7}", "main"), 1_000_000 // (part + 1)) for part in range(50)]
        writer.write(origin(number), [profile(number, "checkout", [*stacks, (("needle", "main"), 3)])])


def test_what_pruning_hides_is_in_the_table_and_found(tmp_path: Path) -> None:
    write(tmp_path, range(3))
    queries = Queries(StoredProfiles(StoreReader(str(tmp_path))))
    answer = queries.flamegraph(QUERY | {"max_nodes": "5", "search": "NEEDLE"}, START)
    nodes, names, found = answer["nodes"], answer["names"], answer["search"]
    assert isinstance(nodes, dict)
    assert isinstance(names, list)
    assert isinstance(found, dict)
    assert len(nodes["parent"]) == 5
    assert "needle" not in names
    assert answer["pruned_nodes"] == 1 + 1 + 7 + 50 + 1 - 5
    assert (found["value"], found["functions"]) == (9, 1)
    table = queries.top(QUERY | {"search": "needle", "limit": "1"}, START)["functions"]
    assert isinstance(table, list)
    assert [(row["function"], row["self"], row["total"]) for row in table] == [("needle", 9, 9)]
    assert queries.top(QUERY, START)["function_count"] == 1 + 7 + 50 + 1


def test_a_profile_is_read_once_for_an_answer_and_soon_again(tmp_path: Path) -> None:
    write(tmp_path, range(1))
    now = 100.0
    source = StoredProfiles(StoreReader(str(tmp_path)), lambda: now)
    total = source.stacks(QUESTION).total
    write(tmp_path, range(1, 2))
    assert source.stacks(QUESTION).total == total
    now += 10
    assert source.stacks(QUESTION).total == 2 * total


def test_answers_stay_the_same_when_the_hour_is_compacted(tmp_path: Path) -> None:
    write(tmp_path, range(5))
    names = ("flamegraph", "top", "series", "losses", "heatmap", "services", "kinds")
    before = [Queries(StoredProfiles(StoreReader(str(tmp_path)))).questions()[name](QUERY, START) for name in names]
    for _ in range(2):
        Compactor(str(tmp_path), At(START + 3 * HOUR_NS), grace_ns=-(10**18)).run()
    after = [Queries(StoredProfiles(StoreReader(str(tmp_path)))).questions()[name](QUERY, START) for name in names]
    assert before == after


@pytest.mark.parametrize(("service", "is_known"), [("checkout", True), ("nobody", False)])
def test_a_service_is_known_whatever_the_range(tmp_path: Path, service: str, is_known: bool) -> None:
    write(tmp_path, range(1))
    source = StoredProfiles(StoreReader(str(tmp_path)))
    assert source.has_service(service) is is_known
    assert source.has_service(service) is is_known


def test_the_whole_profile_is_exported_as_a_file(tmp_path: Path) -> None:
    write(tmp_path, range(2))
    queries = Queries(StoredProfiles(StoreReader(str(tmp_path))))
    folded = queries.export(QUERY, START)
    assert "main;needle 6" in folded.content.decode().splitlines()
    assert len(folded.content.decode().splitlines()) == 51
    picture = queries.export(QUERY | {"format": "svg"}, START)
    assert (picture.media_type, picture.file_name) == ("image/svg+xml", "profile-cpu.svg")
    assert "needle" in picture.content.decode()
    with pytest.raises(UsageError, match="there are folded, svg"):
        queries.export(QUERY | {"format": "png"}, START)


def test_a_cut_stack_is_shown_but_is_not_missing(tmp_path: Path) -> None:
    losses = (Loss("sample_ring_full", 10), Loss("user_stack_truncated", 30))
    window = replace(profile(0, "checkout", [(("leaf", "main"), 90)]), losses=losses)
    StoreWriter(str(tmp_path)).write(origin(0), [window])
    answer = Queries(StoredProfiles(StoreReader(str(tmp_path)))).losses(QUERY, START)
    assert answer["missing_samples"] == 10
    rows = answer["losses"]
    assert isinstance(rows, list)
    assert {(row["class"], row["reason"]) for row in rows} == {
        ("lost", "sample_ring_full"),
        ("incomplete", "user_stack_truncated"),
    }


def test_files_of_windows_without_the_service_are_not_opened(tmp_path: Path) -> None:
    """An hour that is not compacted has thousands of files; those of other partitions would cost most of the time."""
    writer = StoreWriter(str(tmp_path))
    for number in range(3):
        for partition, service in enumerate(("checkout", "search")):
            stacks = [((f"{service}_work", "main"), 100)]
            writer.write(origin(number, partition), [profile(number, service, stacks, partition)])
    for other in tmp_path.rglob("w-*-00001-*.parquet"):
        other.write_bytes(b"unreadable")
    reader = StoreReader(str(tmp_path))
    assert reader.stacks("checkout", "cpu", HOUR).total == 300
    assert reader.has_service("checkout", HOUR)
    assert not reader.damaged
    reader.services(HOUR)
    assert len(reader.damaged) == 3
