"""Profiles of other tools through the whole pipeline: verb, Kafka, worker, store."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING

import pytest

from flamebus.clock import format_time
from tests.support.foreign_files import FOLDER, pprof_bytes
from tests.support.verbs import EVER, FAST, WINDOW_S, Worker, flamebus, said

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.servers import RealServer

FOLDED = "main;parse 7\nmain;render;malloc_[k] 16\nmain 2.0\n"
DRY = ("import", "--service", "batch", "--dry-run")


@pytest.fixture
def worker(kafka: RealServer, kafka_topic_prefix: str, tmp_path: Path) -> Worker:
    return Worker(kafka.url, kafka_topic_prefix, tmp_path / "store")


def imported(worker: Worker, *arguments: str, stdin: bytes | None = None) -> dict[str, object]:
    result = flamebus("import", *worker.to, "--json", *arguments, env=FAST, stdin=stdin)
    assert result.returncode == 0, result.stderr
    report: dict[str, object] = json.loads(result.stdout)
    return report


def folded(worker: Worker, service: str) -> set[str]:
    span = ("--from", str(EVER.from_unix_nano), "--to", str(EVER.to_unix_nano))
    result = flamebus("flamegraph", "--store", str(worker.store), "--service", service, *span, "--format", "folded")
    return set(result.stdout.splitlines())


def test_every_format_comes_out_of_the_store_exactly(worker: Worker, tmp_path: Path) -> None:
    """Without --time, beside a running worker: nothing is late."""
    (tmp_path / "it.folded").write_text(FOLDED)
    (tmp_path / "it.pprof").write_bytes(pprof_bytes())
    with worker.running():
        imported(worker, "--service", "folded", str(tmp_path / "it.folded"))
        imported(worker, "--service", "ms", "--period", "1ms", "-", stdin=FOLDED.encode())
        imported(worker, "--service", "pprof", str(tmp_path / "it.pprof"))
        imported(worker, "--service", "go", str(FOLDER / "go_cpu.pprof"))
        imported(worker, "--service", "perf", str(FOLDER / "perf_inlined.txt"))
        wanted = {"folded": 25, "ms": 25_000_000, "pprof": 60_000_001, "go": 400_000_000, "perf": 350_515_452}
        for service, total in wanted.items():
            assert worker.stores(service, total), (service, worker.total(service))
            assert worker.late(service) == 0, service
    assert folded(worker, "folded") == {"main;parse 7", "main;render;malloc 16", "main 2"}
    assert worker.samples("folded") == 25
    assert worker.samples("go") == 40
    assert {line.split(";")[-1] for line in folded(worker, "pprof")} >= {"step 30000000", "libz.so.1+0x1a2b 10000001"}
    assert worker.reader().unit("folded", "cpu", EVER) == "count"
    assert worker.reader().unit("perf", "cpu", EVER) == "nanoseconds"


def test_original_times_are_kept_before_a_worker_that_starts_afterwards(worker: Worker, tmp_path: Path) -> None:
    begin = (time.time_ns() // 10**9 - 86400) // WINDOW_S * WINDOW_S * 10**9
    (tmp_path / "it.folded").write_text("main;work 6000\nmain;rest 23\n")
    report = imported(
        worker, "--service", "batch", "--time", format_time(begin), "--duration", "60s", str(tmp_path / "it.folded")
    )
    assert report["windows"] == report["late"] == 30
    with worker.running():
        assert worker.stores("batch", 6023), worker.total("batch")
    assert worker.late("batch") == 0
    series = worker.reader().series("batch", "cpu", EVER, WINDOW_S * 10**9)
    assert [point.start_unix_nano for point in series] == [begin + n * WINDOW_S * 10**9 for n in range(30)]
    assert {round(point.total / 200.8) for point in series} == {1}


def test_the_same_file_twice_counts_once(worker: Worker, tmp_path: Path) -> None:
    file = tmp_path / "it.folded"
    file.write_text(FOLDED)
    stamp = str(time.time_ns() - 3600 * 10**9)
    at = ("--service", "batch", "--time", stamp)
    first, again = imported(worker, *at, str(file)), imported(worker, *at, str(file))
    assert first == again
    assert imported(worker, *at, str(file), str(file))["repeated"] == 1
    imported(worker, "--service", "other", "--time", stamp, str(file))
    with worker.running():
        assert worker.stores("other", 25)
        assert worker.stores("batch", 25)


def test_a_running_worker_counts_the_past_as_late_and_the_verb_says_so(worker: Worker, tmp_path: Path) -> None:
    file = tmp_path / "it.folded"
    file.write_text(FOLDED)
    with worker.running():
        imported(worker, "--service", "now", str(file))
        assert worker.stores("now", 25)
        result = flamebus("import", *worker.to, "--service", "now", "--time", "-1h", str(file), env=FAST)
        assert result.returncode == 0
        assert "1 of 1 batch: ended more than 1s ago" in result.stderr
        imported(worker, "--service", "then", str(file))
        assert worker.stores("then", 25)
    assert worker.late("now") == 25
    assert worker.total("now") == 25


def test_the_future_is_told_and_goes_to_the_dead_letters(worker: Worker, tmp_path: Path) -> None:
    file = tmp_path / "it.folded"
    file.write_text(FOLDED)
    ahead = str(time.time_ns() + 3600 * 10**9)
    with worker.running():
        result = flamebus("import", *worker.to, "--service", "batch", "--time", ahead, str(file), env=FAST)
        assert "1 of 1 batch: more than 5s ahead of now" in result.stderr
        imported(worker, "--service", "now", str(file))
        assert worker.stores("now", 25)
    letters = json.loads(flamebus("dlq", "list", *worker.to, "--json").stdout)
    assert [letter["reason"] for letter in letters] == ["clock_skew"]


def test_a_damaged_file_publishes_nothing(worker: Worker, tmp_path: Path) -> None:
    good, bad = tmp_path / "good.folded", tmp_path / "bad.folded"
    good.write_text(FOLDED)
    bad.write_text("main;work 1\n" * 30_000 + "main;work\n")
    result = flamebus("import", *worker.to, "--service", "batch", str(good), str(bad))
    assert said(result) == (5, f"flamebus: {bad}, line 30001: not 'root;…;leaf count': 'main;work'")
    assert result.stdout == ""
    recorded = tmp_path / "all.rec"
    result = flamebus("record", *worker.to, "--from-beginning", "-o", str(recorded), "--json")
    assert json.loads(result.stdout)["records"] == 0


def test_dry_run_needs_no_broker_and_says_what_would_be(tmp_path: Path) -> None:
    result = flamebus(*DRY, "--bus", "kafka://127.0.0.1:9", "-", stdin=FOLDED.encode())
    assert result.returncode == 0
    assert "standard input: folded, 25 samples, 25 samples/count" in result.stdout
    assert "would publish 1 batch of service batch, kind cpu, in 1 window" in result.stdout
    report = json.loads(flamebus(*DRY, "--json", str(FOLDER / "perf_frame_pointers.txt")).stdout)
    assert report["published"] is False
    assert report["sample_type"] == ["cpu", "nanoseconds"]
    (file,) = report["files"]
    assert (file["format"], file["samples"]) == ("perf-script", 33)
    assert file["passed_over"] == {"event context-switches": 45}


@pytest.mark.parametrize(
    ("arguments", "stdin", "code", "message"),
    [
        (("--kind", "heap"), b"a 1\n", 2, "unknown kind 'heap'; there are cpu"),
        (("--service", " "), b"a 1\n", 2, "--service may not be empty"),
        (("--format", "jfr"), b"a 1\n", 2, "Invalid value for '--format'"),
        (("--duration", "10s"), b"a 1\n", 2, "--duration needs --time"),
        (("--time", "-1h", "--duration", "25h"), b"a 1\n", 2, "--duration 25h is more than a day"),
        (("--time", "soon"), b"a 1\n", 2, "not a time: 'soon'"),
        (("--time", "99999999999999999999"), b"a 1\n", 2, "before 1970 or after 2116"),
        (("--period", "often"), b"a 1\n", 2, "not a duration: 'often'"),
        (("--sample-type", "heap"), pprof_bytes(), 2, "no values of type 'heap'; there are: samples, cpu"),
        ((), b"", 5, "standard input is empty"),
        ((), b"prose\n", 5, "standard input is neither folded text"),
        ((), b"a 0\n", 5, "standard input holds no samples"),
        ((), b"a 1\nb -1\n", 5, "standard input, line 2: the count is negative"),
        ((), pprof_bytes()[:-20], 5, "its gzip data is truncated"),
        (("--format", "perf-script"), b"a 1\n", 5, "standard input, line 1: neither the beginning of a sample"),
    ],
)
def test_wrong_input_is_explained(arguments: tuple[str, ...], stdin: bytes, code: int, message: str) -> None:
    returncode, text = said(flamebus(*DRY, *arguments, "-", stdin=stdin))
    assert message in text
    assert returncode == code


def test_files_of_different_units_do_not_mix(tmp_path: Path) -> None:
    (tmp_path / "it.folded").write_text(FOLDED)
    code, text = said(flamebus(*DRY, str(tmp_path / "it.folded"), str(FOLDER / "go_cpu.pprof")))
    assert code == 2
    assert "go_cpu.pprof measures cpu/nanoseconds, the files before it samples/count" in text


def test_what_cannot_be_opened_is_named(tmp_path: Path) -> None:
    assert said(flamebus(*DRY, str(tmp_path / "no"))) == (
        2,
        f"flamebus: cannot read {tmp_path}/no: No such file or directory",
    )
    assert said(flamebus(*DRY, str(tmp_path))) == (2, f"flamebus: cannot read {tmp_path}: Is a directory")


def test_no_broker_is_told_before_anything_is_read() -> None:
    code, text = said(flamebus("import", "--service", "batch", "--bus", "kafka://127.0.0.1:9", "/nowhere"))
    assert code == 4
    assert "no Kafka broker at 127.0.0.1:9" in text
