"""Starting and stopping a worker: what is wrong is said with its exit code, and what is closed is finished."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from typing import TYPE_CHECKING

import pytest
from confluent_kafka.admin import AdminClient

from flamebus.wire.batch import encode_batch
from flamebus.wire.topics import all_topics
from infra.servers.process import free_port
from tests.support.stream_logs import weight_of
from tests.support.stream_topic import StreamTopic
from tests.support.stream_worker import ROOT

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.support.servers import RealInfluxDB, RealServer

pytestmark = pytest.mark.timeout(240)


@pytest.fixture
def topic(kafka: RealServer, kafka_topic_prefix: str, tmp_path: Path) -> Iterator[StreamTopic]:
    topic = StreamTopic(kafka, kafka_topic_prefix, tmp_path)
    yield topic
    topic.stop()


def stream(*arguments: str, folder: Path) -> subprocess.CompletedProcess[str]:
    """Run a worker that should end by itself."""
    return subprocess.run(
        [sys.executable, "-m", "flamebus", "stream", *arguments],
        cwd=folder,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def test_no_broker_answers(tmp_path: Path) -> None:
    address = f"127.0.0.1:{free_port()}"
    begin = time.monotonic()
    ended = stream("--bus", f"kafka://{address}", folder=tmp_path)
    assert ended.returncode == 4
    assert f"no Kafka broker at {address}" in ended.stderr
    assert "--bus" in ended.stderr
    assert time.monotonic() - begin < 60
    assert len(ended.stderr.splitlines()) == 1, "one line, and no trace"


@pytest.mark.parametrize(
    ("option", "value", "said"),
    [
        ("--influx-token", "nonsense", "refuses our token"),
        ("--influx-bucket", "nowhere", "bucket are not there"),
        ("--influx-url", "", "cannot be reached"),
    ],
)
def test_influxdb_is_wrong_at_start(
    topic: StreamTopic, influxdb: RealInfluxDB, option: str, value: str, said: str
) -> None:
    options = {
        "--influx-url": f"http://{influxdb.address}",
        "--influx-token": influxdb.token,
        "--influx-org": influxdb.org,
        "--influx-bucket": influxdb.bucket,
    } | {option: value or f"http://127.0.0.1:{free_port()}"}
    arguments = [part for pair in options.items() for part in pair]
    ended = stream("--bus", topic.kafka.url, "--topic-prefix", topic.prefix, *arguments, folder=topic.folder)
    assert ended.returncode == 4, ended.stderr
    assert said in ended.stderr
    assert len(ended.stderr.splitlines()) == 1, ended.stderr


def test_a_store_that_cannot_be_written_and_a_port_in_use(topic: StreamTopic) -> None:
    (topic.folder / "file").touch()
    bus = ("--bus", topic.kafka.url, "--topic-prefix", topic.prefix)
    ended = stream(*bus, "--store", str(topic.folder / "file" / "store"), folder=topic.folder)
    assert ended.returncode == 4
    assert "cannot write" in ended.stderr
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        address = f"127.0.0.1:{listener.getsockname()[1]}"
        ended = stream(*bus, "--metrics-listen", address, folder=topic.folder)
    assert ended.returncode == 2
    assert f"cannot listen on {address}" in ended.stderr


def test_missing_topics_are_made_and_sigterm_finishes_what_is_closed(topic: StreamTopic) -> None:
    worker = topic.worker()
    worker.start()
    worker.wait_until_reading()
    topics = AdminClient({"bootstrap.servers": topic.kafka.address, "log_level": 2}).list_topics(timeout=30).topics
    assert {each.name(topic.prefix) for each in all_topics()} <= set(topics)
    item = topic.batch()
    topic.publish(encode_batch(item))
    worker.wait_for("flamebus_stream_samples_total", weight_of(item))
    assert worker.end(signal.SIGTERM) == 0, worker.tail()
    assert topic.members() == 0, "it has left its group, so that nobody waits for its session to end"


def test_lag_watermark_and_commits_are_shown(topic: StreamTopic) -> None:
    topic.create()
    items = [topic.batch() for _ in range(5)]
    topic.publish(*map(encode_batch, items))
    worker = topic.worker()
    worker.start()
    worker.wait_for("flamebus_stream_windows_total", 1)
    worker.wait_for("flamebus_stream_samples_total", sum(map(weight_of, items)))
    assert 0 <= worker.metric("flamebus_stream_lag_records") < 20
    assert 0 < worker.metric("flamebus_stream_watermark_delay_seconds") < 60
    worker.wait_for("flamebus_stream_committed_offset", 5)
    assert worker.metric("flamebus_stream_sink_blocked") == 0
