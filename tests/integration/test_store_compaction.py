"""Compaction loses nothing and doubles nothing: killed at any step, beside others, on whatever was written twice."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import threading
import time
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from flamebus.clock import SystemClock
from flamebus.errors import StoreUnavailableError
from flamebus.store.compaction import GRACE_NS, CompactionReport, Compactor
from flamebus.store.layout import HOUR_NS, Dataset
from flamebus.store.reader import StoreReader
from flamebus.store.retention import retain
from flamebus.store.writer import StoreWriter
from flamebus.time_range import TimeRange
from flamebus.window import DEFAULT_WINDOW_SIZE_NS
from tests.support.small_day import HOUR, START, At, answers, origin, profile

ROOT = Path(__file__).resolve().parents[2]
SERVICES = ("cart", "checkout")
LATER = START + 3 * HOUR_NS


def write(location: Path, windows: range = range(6)) -> None:
    """Windows of two services in a partition each; the second is known to share a stack with the first."""
    writer = StoreWriter(str(location))
    for number in windows:
        for partition, service in enumerate(SERVICES):
            stacks = [(("work", "main"), 100 + number), ((f"part-{number % 3}", "main"), 7)]
            writer.write(origin(number, partition), [profile(number, service, stacks, partition)])


def everything(location: Path) -> list[dict[str, object]]:
    return [answers(str(location), service) for service in SERVICES]


def names(location: Path) -> list[str]:
    return sorted(str(path.relative_to(location)) for path in location.rglob("*") if path.is_file())


def compact(location: Path, now: int = LATER, *, grace_ns: int = -(10**18), max_rows: int = 10**6) -> CompactionReport:
    """One run; by default what was replaced may go at once."""
    return Compactor(str(location), At(now), grace_ns=grace_ns, max_rows=max_rows).run()


def test_an_hour_becomes_one_file_of_each_dataset(tmp_path: Path) -> None:
    write(tmp_path)
    before = everything(tmp_path)
    written = len(names(tmp_path))
    report = compact(tmp_path)
    assert (report.merged, report.written, report.deleted) == (written, len(Dataset), 0)
    assert everything(tmp_path) == before
    assert compact(tmp_path).deleted == written
    assert everything(tmp_path) == before
    assert len(names(tmp_path)) == len(Dataset)
    again = compact(tmp_path)
    assert (again.merged, again.written, again.deleted) == (0, 0, 0)


def test_replaced_files_stay_while_readers_may_need_them(tmp_path: Path) -> None:
    write(tmp_path)
    written = set(names(tmp_path))
    now = time.time_ns()
    compact(tmp_path, now, grace_ns=GRACE_NS)
    compact(tmp_path, now + GRACE_NS // 2, grace_ns=GRACE_NS)
    assert written <= set(names(tmp_path))
    compact(tmp_path, now + 2 * GRACE_NS, grace_ns=GRACE_NS)
    assert not written & set(names(tmp_path))


def test_dictionaries_keep_each_name_once(tmp_path: Path) -> None:
    for _ in range(3):  # three workers that each wrote what the others had
        write(tmp_path, range(2))
        shutil.copytree(tmp_path, tmp_path.parent / "kept", dirs_exist_ok=True)
    write(tmp_path, range(2, 6))
    compact(tmp_path)
    (path,) = (tmp_path / "frames").rglob("c-*.parquet")
    table = pq.read_table(path)
    assert sorted(zip(table["service"].to_pylist(), table["function"].to_pylist(), strict=True)) == [
        (service, function) for service in SERVICES for function in ("main", "part-0", "part-1", "part-2", "work")
    ]


def test_the_current_hour_is_compacted_too_once_it_is_worth_it(tmp_path: Path) -> None:
    now = START + 100 * DEFAULT_WINDOW_SIZE_NS
    write(tmp_path, range(6))
    assert compact(tmp_path, now).written == 0
    write(tmp_path, range(6, 30))
    before = everything(tmp_path)
    assert compact(tmp_path, now).written > 0
    assert everything(tmp_path) == before
    write(tmp_path, range(30, 60))
    before = everything(tmp_path)
    compact(tmp_path, now)
    assert len(list((tmp_path / "samples").rglob("c-*.parquet"))) == 2
    assert everything(tmp_path) == before
    compact(tmp_path)
    compact(tmp_path)
    assert everything(tmp_path) == before
    assert len(names(tmp_path)) == len(Dataset)


def test_a_busy_hour_becomes_several_files(tmp_path: Path) -> None:
    write(tmp_path, range(12))
    before = everything(tmp_path)
    for _ in range(4):
        compact(tmp_path, max_rows=20)
    assert everything(tmp_path) == before
    assert {pq.read_metadata(path).num_rows for path in (tmp_path / "samples").rglob("*.parquet")} == {20, 8}
    assert compact(tmp_path, max_rows=20).written == 0


@pytest.mark.parametrize("last", [29, 12])
def test_a_window_computed_again_counts_in_its_longest_form(tmp_path: Path, last: int) -> None:
    """The worker died before its commit, another computed the window again, after the hour was compacted."""
    write(tmp_path)
    compact(tmp_path)
    compact(tmp_path)
    before = everything(tmp_path)
    again = profile(1, "cart", [(("work", "main"), 5000)])
    StoreWriter(str(tmp_path)).write(origin(1, 0, last), [again])
    found = everything(tmp_path)
    if last == 12:  # it saw less of the log than what is there
        assert found == before
    else:
        assert (START + DEFAULT_WINDOW_SIZE_NS, 5000) in found[0]["series"]  # type: ignore[operator]  # a list
        assert found[1] == before[1]
    for _ in range(3):
        compact(tmp_path)
        assert everything(tmp_path) == found
    assert len(names(tmp_path)) == len(Dataset)


def test_two_compactors_at_once_agree(tmp_path: Path) -> None:
    """Each merges what the other did not see; the order of files decides, and nothing is deleted twice over."""
    write(tmp_path, range(20))
    first, second = tmp_path.parent / "first", tmp_path.parent / "second"
    shutil.copytree(tmp_path, first)
    write(tmp_path, range(20, 24))
    before = everything(tmp_path)
    shutil.copytree(tmp_path, second)
    compact(first)
    compact(second)
    for other in (first, second):
        for path in other.rglob("c-*.parquet"):
            shutil.copy2(path, tmp_path / path.relative_to(other))
    assert everything(tmp_path) == before
    compact(tmp_path)
    assert everything(tmp_path) == before
    compact(tmp_path)
    assert everything(tmp_path) == before
    assert len(names(tmp_path)) == len(Dataset)


_KILLED = """
import os, shutil, sys
from tests.support.small_day import At
from flamebus.store.compaction import Compactor

source, target, now = sys.argv[1], sys.argv[2], int(sys.argv[3])
CHANGES = {"open", "os.rename", "os.remove", "os.mkdir", "os.rmdir"}
number = 0
while True:
    number += 1
    place = f"{target}/{number:03d}"
    shutil.copytree(source, place)
    child = os.fork()
    if not child:
        left = number
        def count(event, arguments):
            global left
            if event in CHANGES and str(arguments[0]).startswith(place):
                left -= 1
                if not left:
                    os._exit(9)
        sys.addaudithook(count)
        compactor = Compactor(place, At(now), grace_ns=-(10**18))
        compactor.run()
        compactor.run()
        os._exit(0)
    status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    if status == 0:
        break
    assert status == 9, status
"""
"""Compaction in a child that ends, as if killed, right before its first, second, … change of a file."""


def test_a_kill_before_any_step_loses_nothing_and_doubles_nothing(tmp_path: Path) -> None:
    source, target = tmp_path / "source", tmp_path / "killed"
    write(source, range(2))
    compact(source)
    compact(source)
    write(source, range(2, 4))
    StoreWriter(str(source)).write(origin(1, 0, 29), [profile(1, "cart", [(("work", "main"), 5000)])])
    before = everything(source)
    target.mkdir()
    subprocess.run(
        [sys.executable, "-W", "ignore", "-c", _KILLED, str(source), str(target), str(LATER)],
        cwd=ROOT, env={**os.environ, "PYTHONPATH": str(ROOT)}, check=True, timeout=200,
    )  # fmt: skip
    places = sorted(target.iterdir())
    assert len(places) > 40
    for place in places:
        assert everything(place) == before, place.name
        for _ in range(3):
            compact(place, time.time_ns() + 2 * HOUR_NS)
        assert everything(place) == before, place.name
        assert len(names(place)) == len(Dataset), place.name


class Bystanders:
    """A writer, which also writes windows again, and compactors and readers beside it, each a thread."""

    def __init__(self, location: Path) -> None:
        self.location = str(location)
        self.finished: list[int] = []
        self.is_over = threading.Event()
        self.problems: list[str] = []

    def write(self) -> None:
        writer = StoreWriter(self.location)
        for number in range(120):
            writer.write(origin(number), [profile(number, "cart", [(("work", "main"), 1000)])])
            self.finished.append(number)
            if number % 7 == 6:
                again = profile(number - 5, "cart", [(("work", "main"), 1001)])
                writer.write(origin(number - 5, 0, number * 10 + 9), [again])
        self.is_over.set()

    def compact(self) -> None:
        compactor = Compactor(self.location, SystemClock(), grace_ns=500_000_000)
        while not self.is_over.is_set():
            try:
                compactor.run()
            except StoreUnavailableError as error:
                self.problems.append(f"compactor: {error}")
                return

    def read(self) -> None:
        reader = StoreReader(self.location)
        while not self.is_over.is_set():
            there = set(self.finished)
            points = reader.series("cart", "cpu", HOUR, DEFAULT_WINDOW_SIZE_NS)
            found = {(p.start_unix_nano - START) // DEFAULT_WINDOW_SIZE_NS: p.total for p in points}
            if there - set(found):
                self.problems.append(f"missing: {there - set(found)}")
            if set(found.values()) - {1000, 1001}:
                self.problems.append(f"doubled: {found}")
            total = reader.stacks("cart", "cpu", HOUR).total
            if not len(there) * 1000 <= total <= (len(self.finished) + 1) * 1000 + 17:
                self.problems.append(f"{total} from {len(there)} to {len(self.finished)} windows")


def test_readers_beside_writers_and_compactors_see_each_window_once(tmp_path: Path) -> None:
    """Of a window that is written again meanwhile they see the old form or the new one, never both and never none."""
    tmp_path.joinpath("windows").mkdir()
    them = Bystanders(tmp_path)
    run = (them.write, them.compact, them.compact, them.read, them.read)
    threads = [threading.Thread(target=target) for target in run]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(120)
    assert not them.problems, them.problems[:3]
    assert StoreReader(str(tmp_path)).stacks("cart", "cpu", HOUR).total == 120 * 1000 + 17


def test_remains_of_killed_writers_go_after_an_hour(tmp_path: Path) -> None:
    write(tmp_path)
    folder = next((tmp_path / "samples").rglob("hour=00"))
    (folder / ".writing-0123").write_bytes(b"half")
    assert compact(tmp_path, time.time_ns()).swept == 0
    assert compact(tmp_path, time.time_ns() + 2 * HOUR_NS).swept == 1


def test_a_damaged_file_is_left_alone_and_named(tmp_path: Path) -> None:
    write(tmp_path)
    broken = min((tmp_path / "samples").rglob("w-*.parquet"))
    broken.write_bytes(broken.read_bytes()[:200])
    before = everything(tmp_path)
    report = compact(tmp_path)
    compact(tmp_path)
    assert list(report.damaged or {}) == [str(broken.relative_to(tmp_path))]
    assert broken.exists()
    after = everything(tmp_path)
    assert before[0]["stacks"] == after[0]["stacks"]
    assert len(names(tmp_path)) == len(Dataset) + 1


def test_a_damaged_compacted_file_is_replaced_while_its_sources_are_there(tmp_path: Path) -> None:
    write(tmp_path)
    before = everything(tmp_path)
    compact(tmp_path)
    (broken,) = (tmp_path / "samples").rglob("c-*.parquet")
    whole = broken.read_bytes()
    broken.write_bytes(whole[: len(whole) // 2])
    found = everything(tmp_path)
    assert [answer["stacks"] for answer in found] == [answer["stacks"] for answer in before]
    compact(tmp_path)
    assert broken.read_bytes() == whole
    assert everything(tmp_path) == before


def test_sources_stay_when_the_file_that_replaced_them_went_bad_inside(tmp_path: Path) -> None:
    write(tmp_path)
    before = everything(tmp_path)
    compact(tmp_path)
    (broken,) = (tmp_path / "samples").rglob("c-*.parquet")
    content = bytearray(broken.read_bytes())
    content[8:200] = bytes(192)
    broken.write_bytes(content)
    compact(tmp_path)
    assert len(list((tmp_path / "samples").rglob("w-*.parquet"))) == 12
    assert [answer["stacks"] for answer in everything(tmp_path)] == [answer["stacks"] for answer in before]


def test_retention_drops_hours_by_dataset_and_names_last(tmp_path: Path) -> None:
    write(tmp_path)
    keep = dict.fromkeys(Dataset, 24 * HOUR_NS) | {Dataset.HEAT: HOUR_NS}
    assert retain(str(tmp_path), keep, At(START + HOUR_NS)).deleted == 0
    assert retain(str(tmp_path), keep, At(START + 2 * HOUR_NS)).deleted == 12
    assert not (tmp_path / "heat/kind=cpu").exists()
    retain(str(tmp_path), keep, At(START + 25 * HOUR_NS))
    assert {name.split("/")[0] for name in names(tmp_path)} == {"stacks", "frames"}
    retain(str(tmp_path), keep, At(START + 48 * HOUR_NS))
    assert not names(tmp_path)
    assert StoreReader(str(tmp_path)).stacks("cart", "cpu", TimeRange(START, LATER)).total == 0
