"""record, replay, topics and dlq on a real Kafka: what went in comes out of the store again."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
import uuid
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import pytest

from flamebus.cli.bus import BusWriter
from flamebus.wire.batch import decode_batch
from flamebus.wire.headers import DeadLetter
from flamebus.wire.recording import RecordingReader
from flamebus.wire.topics import DEADLETTER, all_topics, samples_topic
from infra.servers.process import wait_until
from tests.support.verbs import EVER, FAST, ROOT, WINDOW_S, Worker, environment, flamebus, said

if TYPE_CHECKING:
    from pathlib import Path

    from flamebus.wire.recording import BusRecord
    from tests.support.servers import RealInfluxDB, RealServer

SERVICES = {"checkout": 6000, "search": 230, "archive": 17}


@pytest.fixture
def worker(kafka: RealServer, kafka_topic_prefix: str, tmp_path: Path) -> Worker:
    return Worker(kafka.url, kafka_topic_prefix, tmp_path / "store")


@dataclass(frozen=True, slots=True)
class Recorded:
    """A recording of 20 s of three services, an hour ago."""

    file: Path
    begin_unix_nano: int


@pytest.fixture(scope="module")
def recorded(kafka: RealServer, tmp_path_factory: pytest.TempPathFactory) -> Recorded:
    folder = tmp_path_factory.mktemp("recorded")
    source = Worker(kafka.url, f"recorded-{uuid.uuid4().hex[:8]}.", folder / "store")
    begin = publish(source)
    assert record(source, folder / "all.rec", "--from-beginning") == 30
    return Recorded(folder / "all.rec", begin)


def publish(worker: Worker, seconds: int = 20) -> int:
    """Batches of three services over some time that ended an hour ago; when it began."""
    begin = (time.time_ns() // 10**9 - 3600 - seconds) // WINDOW_S * WINDOW_S * 10**9
    for service, count in SERVICES.items():
        text = f"main;{service} {count}\n".encode()
        at = ("--time", str(begin), "--duration", f"{seconds}s", "--service", service)
        assert flamebus("import", *worker.to, *at, "-", stdin=text, env=FAST).returncode == 0
    return begin


def record(worker: Worker, file: Path, *arguments: str) -> int:
    result = flamebus("record", *worker.to, "-o", str(file), "--json", *arguments)
    assert result.returncode == 0, result.stderr
    count: int = json.loads(result.stdout)["records"]
    return count


def entries(file: Path) -> list[BusRecord]:
    with file.open("rb") as stream:
        return [entry for _, entry in RecordingReader(stream).records()]


def copy(worker: Worker, tmp_path: Path, name: str) -> Worker:
    """A worker elsewhere on the same broker."""
    return Worker(worker.bus, f"{worker.prefix}{name}.", tmp_path / name)


def test_what_is_recorded_reaches_another_store_with_its_own_times(
    worker: Worker, recorded: Recorded, tmp_path: Path
) -> None:
    fast = ("--original-times", "--speed", "max", "--json")
    result = flamebus("replay", *worker.to, *fast, str(recorded.file), env=FAST)
    assert json.loads(result.stdout) == {
        "published": 30, "samples": 3 * 10, "passed_over": 0, "not_a_batch": 0, "shift_ns": 0,
    }  # fmt: skip
    sent, again = entries(recorded.file), entries_of(worker, tmp_path)
    assert {(e.key, e.value, tuple(e.headers)) for e in sent} == {(e.key, e.value, tuple(e.headers)) for e in again}
    check_store(worker)
    assert first_window(worker) == recorded.begin_unix_nano


def check_store(worker: Worker) -> None:
    """A worker that starts now counts all of it, and nothing as late."""
    with worker.running():
        for service, count in SERVICES.items():
            assert worker.stores(service, count), worker.total(service)
            assert worker.late(service) == 0


def first_window(worker: Worker) -> int:
    return worker.reader().series("checkout", "cpu", EVER, WINDOW_S * 10**9)[0].start_unix_nano


def entries_of(worker: Worker, tmp_path: Path) -> list[BusRecord]:
    file = tmp_path / f"{worker.prefix}rec"
    record(worker, file, "--from-beginning")
    return entries(file)


def test_shifted_to_now_at_speed_1_a_running_worker_counts_all_on_time(worker: Worker, tmp_path: Path) -> None:
    begin = publish(worker, 8)
    file = tmp_path / "all.rec"
    record(worker, file, "--from-beginning")
    live = copy(worker, tmp_path, "live")
    with live.running():
        started = time.time_ns()
        result = flamebus("replay", *live.to, "--json", str(file), env=FAST)
        report = json.loads(result.stdout)
        assert report["published"] == 12
        assert report["shift_ns"] % (WINDOW_S * 10**9) == 0
        assert time.time_ns() - started >= 6 * 10**9, "batches that lay 6 s apart were published 6 s apart"
        for service, count in SERVICES.items():
            assert live.stores(service, count), live.total(service)
            assert live.late(service) == 0
    assert first_window(live) == begin + report["shift_ns"]


def test_faster_than_it_was_into_the_past_before_a_worker_starts(worker: Worker, recorded: Recorded) -> None:
    result = flamebus("replay", *worker.to, "--speed", "50", "--json", str(recorded.file), env=FAST)
    assert json.loads(result.stdout)["shift_ns"] > 0
    check_store(worker)
    assert first_window(worker) > recorded.begin_unix_nano


def test_a_broken_tail_costs_no_more_than_itself(worker: Worker, recorded: Recorded, tmp_path: Path) -> None:
    file = tmp_path / "all.rec"
    file.write_bytes(recorded.file.read_bytes()[:-7])
    result = flamebus("replay", *worker.to, "--original-times", "--speed", "max", "--json", str(file))
    assert said(result) == (
        5, f"flamebus: {file}: the file ends inside a record: the recorder was interrupted",
    )  # fmt: skip
    assert json.loads(result.stdout)["published"] == 29


def test_recording_live_ends_by_count_by_time_and_by_signal(worker: Worker, tmp_path: Path) -> None:
    with_topics(worker)
    assert record(worker, tmp_path / "none.rec", "--duration", "1s") == 0
    for number in (signal.SIGINT, signal.SIGTERM):
        file = tmp_path / f"{number}.rec"
        command = [sys.executable, "-m", "flamebus", "record", *worker.to, "-o", str(file), "--json"]
        with subprocess.Popen(command, cwd=ROOT, env=environment(), stdout=subprocess.PIPE, text=True) as process:
            wait_for(file, 0)
            flamebus("import", *worker.to, "--service", "live", "-", stdin=b"main 1\n")
            wait_for(file, 1)
            process.send_signal(number)
            output, _ = process.communicate(timeout=30)
        assert process.returncode == 0
        assert json.loads(output)["records"] == 1
    assert record(worker, tmp_path / "one.rec", "--from-beginning", "--count", "1") == 1
    kept = (tmp_path / "one.rec").read_bytes()
    code, text = said(flamebus("record", *worker.to, "-o", str(tmp_path / "one.rec")))
    assert (code, text) == (2, f"flamebus: cannot write {tmp_path}/one.rec: File exists")
    assert (tmp_path / "one.rec").read_bytes() == kept


def wait_for(file: Path, count: int) -> None:
    """A recording that is being written begins with its header."""
    assert wait_until(lambda: file.exists() and file.stat().st_size > 0 and len(entries(file)) == count, 30)


def with_topics(worker: Worker) -> None:
    assert flamebus("topics", "create", *worker.to).returncode == 0


def test_topics_are_created_described_and_compared(worker: Worker) -> None:
    names = {topic.name(worker.prefix) for topic in all_topics()}
    before = json.loads(flamebus("topics", "list", *worker.to, "--json").stdout)
    assert {row["name"] for row in before} == names
    assert not any(row["exists"] for row in before)
    created = json.loads(flamebus("topics", "create", *worker.to, "--partitions", "3", "--json").stdout)
    assert set(created["created"]) == names
    assert {row["partitions"] for row in created["topics"]} == {3}
    again = flamebus("topics", "create", *worker.to, "--partitions", "3", "--json")
    assert (again.returncode, json.loads(again.stdout)["created"]) == (0, [])
    more = flamebus("topics", "create", *worker.to, "--partitions", "8")
    assert more.returncode == 1
    assert "3 partitions, not 8" in more.stdout
    assert "exist with other settings" in more.stderr
    row = json.loads(flamebus("topics", "describe", "samples.cpu.v1", *worker.to, "--json").stdout)
    assert (row["exists"], row["config"]["message.timestamp.type"]) == (True, "LogAppendTime")
    text = flamebus("topics", "describe", "samples.cpu.v1", *worker.to).stdout
    assert "partitions: 3, replicas: 1" in text
    code, message = said(flamebus("topics", "describe", "samples.gpu.v1", *worker.to))
    assert (code, "no topic 'samples.gpu.v1' in the contract" in message) == (2, True)


def test_a_dead_letter_is_listed_shown_and_published_again(worker: Worker, tmp_path: Path) -> None:
    """What is damaged stays so; a batch that was refused for want of a right clock counts when it is sent again."""
    begin = publish(worker, 2)
    (batch_record, *_) = [e for e in entries_of(worker, tmp_path) if e.key == b"checkout"]
    refused = copy(worker, tmp_path, "dead")
    with_topics(refused)
    letter = DeadLetter("clock_skew", "host 'a' is 9 s ahead", samples_topic("cpu").name(refused.prefix), 1, 77, begin)
    writer = BusWriter(refused.bus.removeprefix("kafka://"))
    topic = DEADLETTER.name(refused.prefix)
    writer.publish(topic, b"checkout", batch_record.value, [*batch_record.headers, *letter.headers()])
    other = replace(letter, reason="truncated", detail="cut")
    writer.publish(topic, b"checkout", b"\x00rubbish", other.headers())
    writer.publish(topic, None, b"no letter", [])
    writer.finish()

    listed = flamebus("dlq", "list", *refused.to, "--json")
    assert {row["reason"] for row in json.loads(listed.stdout)} == {"clock_skew", "truncated"}
    assert "passed over" in listed.stderr
    (row,) = json.loads(flamebus("dlq", "list", *refused.to, "--reason", "truncated", "--json").stdout)
    shown = json.loads(flamebus("dlq", "show", row["place"], *refused.to, "--json").stdout)
    assert bytes.fromhex(shown["value_hex"]) == b"\x00rubbish"
    assert "00 72 75 62" in flamebus("dlq", "show", row["place"], *refused.to).stdout
    assert said(flamebus("dlq", "show", "9:9", *refused.to))[0] == 2

    again = flamebus("dlq", "replay", *refused.to, "--reason", "clock_skew", "--json")
    assert json.loads(again.stdout) == {"published": 1}
    with refused.running():
        assert refused.stores("checkout", 6000)
    (back,) = [e for e in entries_of(refused, tmp_path) if e.key == b"checkout"]
    assert (back.value, back.headers) == (batch_record.value, batch_record.headers)
    assert decode_batch(back.value or b"").start_unix_nano == begin


def test_verbs_of_the_bus_say_when_a_topic_is_missing(worker: Worker, tmp_path: Path) -> None:
    for arguments in (("dlq", "list"), ("dlq", "replay"), ("record", "-o", str(tmp_path / "x.rec"))):
        code, message = said(flamebus(*arguments, *worker.to))
        assert code == 2, message
        assert "no such topic" in message
        assert "flamebus topics create" in message
    assert not (tmp_path / "x.rec").exists()


@pytest.mark.parametrize(
    ("changed", "words"),
    [({"token": "wrong"}, "token"), ({"bucket": "nowhere"}, "bucket"), ({"url": "http://127.0.0.1:9"}, "--influx-url")],
)
def test_a_worker_with_a_wrong_influxdb_says_what_to_mend(
    worker: Worker, influxdb: RealInfluxDB, changed: dict[str, str], words: str
) -> None:
    right = {"url": influxdb.url, "token": influxdb.token, "org": influxdb.org, "bucket": influxdb.bucket}
    flags = [f"--influx-{name}={value}" for name, value in {**right, **changed}.items()]
    code, text = said(flamebus("stream", *worker.to, "--store", str(worker.store), *flags))
    assert (code, words in text) == (4, True), text
    assert influxdb.token not in text
