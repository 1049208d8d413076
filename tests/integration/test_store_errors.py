"""Bad stores and bad questions, through the real verbs: a clear message, the right exit code, and nothing else lost."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from flamebus.errors import StoreUnavailableError
from flamebus.store.reader import LOST_MAPPING, StoreReader
from flamebus.store.totals import top_functions
from flamebus.store.writer import StoreWriter
from infra.servers.process import wait_until
from tests.support.parts import Part, require_or_skip
from tests.support.small_day import HOUR, START, answers, origin, profile

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).resolve().parents[2]
TIMES = ("--from", str(HOUR.from_unix_nano), "--to", str(HOUR.to_unix_nano))
REVERSED = ("--from", str(HOUR.to_unix_nano), "--to", str(HOUR.from_unix_nano))


def flamebus(*arguments: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-m", "flamebus", *arguments]
    return subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=60, check=False)


def write(location: Path, windows: int = 4) -> None:
    writer = StoreWriter(str(location))
    for number in range(windows):
        stacks = [(("work", "main"), 1000), (("tiny", f"only_{number}", "main"), 1)]
        writer.write(origin(number), [profile(number, "checkout", stacks)])


@pytest.fixture
def store(tmp_path: Path) -> Path:
    write(tmp_path / "store")
    return tmp_path / "store"


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of one megabyte."""
    place = tmp_path / "disk"
    place.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(place)]
    if subprocess.run(command, check=False, capture_output=True).returncode:
        require_or_skip(Part.KERNEL, "no right to mount a file system")
    yield place
    subprocess.run(["umount", str(place)], check=True)


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (("--service", "chekout", *TIMES), 2, "no samples of service 'chekout' in this range; there are: checkout"),
        (("--service", "checkout", *REVERSED), 2, "empty or reversed"),
        (("--service", "checkout", "--from", "yesterday-ish"), 2, "not a time"),
        (("--since", "1h", *TIMES), 2, "either since or from, not both"),
        (("--since", "soon"), 2, "not a duration"),
    ],
)
@pytest.mark.parametrize("verb", ["top", "flamegraph"])
def test_bad_questions_are_explained(
    store: Path, verb: str, arguments: tuple[str, ...], code: int, message: str
) -> None:
    result = flamebus(verb, "--store", str(store), *arguments)
    assert (result.returncode, result.stdout) == (code, "")
    assert message in result.stderr
    assert len(result.stderr.strip().splitlines()) == 1


@pytest.mark.parametrize(
    "arguments",
    [("top",), ("flamegraph",), ("store", "compact"), ("store", "retain"), ("store", "info"), ("store", "verify")],
)
def test_a_missing_store_is_unavailable(tmp_path: Path, arguments: tuple[str, ...]) -> None:
    result = flamebus(*arguments, "--store", str(tmp_path / "nowhere"))
    assert result.returncode == 4
    assert result.stderr == f"flamebus: there is no store at {tmp_path / 'nowhere'}: no such directory\n"


def test_another_scheme_is_refused() -> None:
    result = flamebus("top", "--store", "gs://bucket/prefix")
    assert result.returncode == 2
    assert "write a directory or s3://bucket/prefix" in result.stderr


def test_an_empty_range_is_no_error(store: Path) -> None:
    result = flamebus("top", "--store", str(store), "--from", "2020-01-01", "--to", "2020-01-02")
    assert (result.returncode, result.stderr) == (0, "")
    assert "no samples in this range" in result.stdout


def test_small_functions_are_in_the_table_and_found(store: Path) -> None:
    asked = ("top", "--store", str(store), "--service", "checkout", *TIMES, "--json")
    found = json.loads(flamebus(*asked, "--search", "ONLY_2", "--limit", "1").stdout)
    assert found["matched"] == {"value": 1, "share": pytest.approx(1 / 4004), "functions": 1}
    assert [row["function"] for row in found["functions"]] == ["only_2"]
    text = flamebus(*asked[:-1], "--search", "only_").stdout
    assert "matched 0.10% of all samples, 4 functions" in text
    assert "no function of 7 matches" in flamebus(*asked[:-1], "--search", "nothing-like-it").stdout


def test_every_format_holds_the_profile(store: Path, tmp_path: Path) -> None:
    asked = ("flamegraph", "--store", str(store), "--service", "checkout", *TIMES)
    assert "work (app)" in flamebus(*asked).stdout
    assert json.loads(flamebus(*asked, "--format", "json").stdout)["value"] == 4004
    assert "main;work 4000" in flamebus(*asked, "--format", "folded").stdout.splitlines()
    target = tmp_path / "it.svg"
    assert flamebus(*asked, "--format", "svg", "-o", str(target)).returncode == 0
    assert target.read_text().startswith("<svg ")
    result = flamebus(*asked, "-o", str(tmp_path / "no" / "folder"))
    assert result.returncode == 1
    assert "No such file or directory" in result.stderr


def test_one_damaged_file_is_passed_over_and_named(store: Path) -> None:
    broken = min((store / "samples").rglob("*.parquet"))
    broken.write_bytes(b"PAR1 this is not a table PAR1")
    result = flamebus("top", "--store", str(store), "--service", "checkout", *TIMES)
    assert result.returncode == 0
    assert "work" in result.stdout
    assert f"flamebus: passed over {broken.relative_to(store)}, which is damaged" in result.stderr
    assert StoreReader(str(store)).stacks("checkout", "cpu", HOUR).total == 3 * 1001
    verified = flamebus("store", "verify", "--store", str(store), "--json")
    assert verified.returncode == 5
    assert list(json.loads(verified.stdout)["damaged"]) == [str(broken.relative_to(store))]
    assert str(broken.relative_to(store)) in verified.stderr


@pytest.mark.parametrize("dataset", ["frames", "stacks"])
def test_values_still_count_when_their_names_are_lost(store: Path, dataset: str) -> None:
    for path in (store / dataset).rglob("*.parquet"):
        path.write_bytes(path.read_bytes()[:50])
    reader = StoreReader(str(store))
    found = reader.stacks("checkout", "cpu", HOUR)
    assert found.total == 4004
    assert {entry.mapping for entry in top_functions(found)} == {LOST_MAPPING}
    assert len(reader.damaged) == 4


def test_an_empty_file_and_strangers_harm_nothing(store: Path) -> None:
    before = answers(str(store), "checkout")
    folder = next((store / "samples").rglob("hour=00"))
    (folder / "notes.txt").write_text("hello")
    (folder / ".writing-00").write_bytes(b"half")
    (folder / "x.parquet").write_bytes(b"")
    assert answers(str(store), "checkout") == before


def test_a_store_whose_path_looks_like_a_pattern(tmp_path: Path) -> None:
    place = tmp_path / "a[b]*c?"
    write(place)
    assert StoreReader(str(place)).stacks("checkout", "cpu", HOUR).total == 4004
    assert flamebus("store", "compact", "--store", str(place)).returncode == 0
    assert StoreReader(str(place)).stacks("checkout", "cpu", HOUR).total == 4004


def test_a_full_disk_loses_nothing_that_was_there(small_disk: Path) -> None:
    write(small_disk / "store")
    before = answers(str(small_disk / "store"), "checkout")
    ballast = small_disk / "ballast"
    room = os.statvfs(small_disk)
    ballast.write_bytes(bytes(room.f_bavail * room.f_frsize))
    writer = StoreWriter(str(small_disk / "store"))
    new = profile(4, "checkout", [(("work", "main"), 7)])
    with pytest.raises(StoreUnavailableError, match="No space left on device"):
        writer.write(origin(4), [new])
    result = flamebus("store", "compact", "--store", str(small_disk / "store"))
    assert result.returncode == 4
    assert "No space left on device" in result.stderr
    assert answers(str(small_disk / "store"), "checkout") == before
    assert not list(small_disk.rglob(".writing-*"))
    ballast.unlink()
    writer.write(origin(4), [new])
    assert flamebus("store", "compact", "--store", str(small_disk / "store")).returncode == 0
    assert StoreReader(str(small_disk / "store")).stacks("checkout", "cpu", HOUR).total == 4004 + 7


def test_a_read_only_store_can_be_read_and_says_why_it_cannot_be_written(small_disk: Path) -> None:
    write(small_disk / "store")
    subprocess.run(["mount", "-o", "remount,ro", str(small_disk)], check=True)
    assert answers(str(small_disk / "store"), "checkout")["samples"] == 8.0
    with pytest.raises(StoreUnavailableError, match="Read-only file system"):
        StoreWriter(str(small_disk / "store")).write(origin(9), [profile(9, "checkout", [(("work",), 1)])])
    for action in ("compact", "retain"):
        result = flamebus("store", action, "--store", str(small_disk / "store"))
        assert result.returncode == 4, result.stdout
        assert "Read-only file system" in result.stderr


def test_maintain_goes_on_until_it_is_told_to_stop(store: Path, tmp_path: Path) -> None:
    log = tmp_path / "log"
    command = [sys.executable, "-m", "flamebus", "store", "maintain", "--every", "1s", "--store", str(store)]
    command += [f"--keep={name}=36500d" for name in ("samples", "stacks", "frames", "windows", "heat", "losses")]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1"}
    with log.open("w") as stream, subprocess.Popen(command, cwd=ROOT, env=environment, stderr=stream) as process:
        assert wait_until(lambda: "files merged into 6" in log.read_text(), 30)
        away = store.with_name("away")
        store.rename(away)
        assert wait_until(lambda: "there is no store" in log.read_text(), 30)
        away.rename(store)
        length = len(log.read_text())
        assert wait_until(lambda: "0 files merged" in log.read_text()[length:], 30)
        process.send_signal(signal.SIGTERM)
        assert process.wait(15) == 0
    assert StoreReader(str(store)).stacks("checkout", "cpu", HOUR).total == 4004


def test_retain_takes_durations_by_dataset(store: Path) -> None:
    copy = store.with_name("copy")
    shutil.copytree(store, copy)
    result = flamebus("store", "retain", "--store", str(copy), "--keep", "samples=forever")
    assert (result.returncode, "not a duration" in result.stderr) == (2, True)
    result = flamebus("store", "retain", "--store", str(copy), "--keep", "colours=1d")
    assert (result.returncode, "one of samples, stacks" in result.stderr) == (2, True)
    kept = [f"--keep={name}=36500d" for name in ("samples", "stacks", "frames", "windows", "losses")]
    result = flamebus("store", "retain", "--store", str(copy), *kept, "--keep", "heat=1d", "--json")
    assert json.loads(result.stdout) == {"folders": 1, "deleted": 4}
    described = json.loads(flamebus("store", "info", "--store", str(copy), "--json").stdout)
    assert {entry["dataset"] for entry in described} == {"samples", "stacks", "frames", "windows", "losses"}
    assert {entry["start_unix_nano"] for entry in described} == {START}


def test_a_damaged_file_counts_again_once_it_is_whole(store: Path) -> None:
    broken = min((store / "samples").rglob("*.parquet"))
    whole = broken.read_bytes()
    broken.write_bytes(whole[:100])
    reader = StoreReader(str(store))
    assert reader.stacks("checkout", "cpu", HOUR).total == 3 * 1001
    assert len(reader.damaged) == 1
    broken.write_bytes(whole)
    assert reader.stacks("checkout", "cpu", HOUR).total == 4 * 1001
    assert not reader.damaged
