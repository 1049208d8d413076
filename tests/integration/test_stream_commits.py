"""Commits on a real broker: what they wait for, what they carry, and starts from those that are of no use."""

from __future__ import annotations

import json
import signal
import time
from typing import TYPE_CHECKING

import pytest
from confluent_kafka import Consumer

from flamebus.wire.batch import encode_batch
from infra.servers.process import wait_until
from streams.position import Position
from tests.chaos.influx_proxy import InfluxProxy
from tests.support.stream_logs import weight_of
from tests.support.stream_topic import DEADLINE_S, StreamTopic

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.support.servers import RealInfluxDB, RealServer

pytestmark = pytest.mark.timeout(240)


@pytest.fixture
def topic(kafka: RealServer, kafka_topic_prefix: str, tmp_path: Path) -> Iterator[StreamTopic]:
    topic = StreamTopic(kafka, kafka_topic_prefix, tmp_path)
    topic.create()
    yield topic
    topic.stop()


def test_a_commit_waits_for_every_sink_and_carries_the_watermark(
    topic: StreamTopic, influxdb: RealInfluxDB, influxdb_bucket: str
) -> None:
    proxy = InfluxProxy(influxdb.address)
    try:
        worker = topic.worker(
            *("--influx-url", proxy.url, "--influx-token", influxdb.token, "--influx-org", influxdb.org),
            *("--influx-bucket", influxdb_bucket),
        )
        worker.start()
        worker.wait_until_reading()
        proxy.is_refusing.set()
        (offset,) = topic.publish(encode_batch(topic.batch()))
        worker.wait_for("flamebus_stream_sink_blocked", 1, sink="influxdb")
        # Ticks go on: a commit that did not wait would be far past the batch by now.
        assert wait_until(lambda: topic.log_range()[1] > offset + 20, DEADLINE_S)
        held = topic.committed()
        assert held.offset <= offset
        assert Position.parse(held.offset, held.metadata).watermark_unix_nano > time.time_ns() - 600 * 10**9
        proxy.is_refusing.clear()
        found = topic.wait_for_commit_past(offset)
        assert json.loads(found.metadata)["emitted_up_to"] > json.loads(held.metadata)["emitted_up_to"]
    finally:
        proxy.close()


def test_a_commit_beyond_the_end_of_a_log_that_was_made_anew(topic: StreamTopic) -> None:
    """Faust would wait until the new log has caught up with the old commit."""
    topic.commit(100_000, Position(100_000, 1, 1).metadata())
    worker = topic.worker()
    worker.start()
    worker.wait_until_reading()
    assert worker.metric("flamebus_stream_unusable_commits_total", reason="beyond_end") == 1
    first, second = topic.publish_windows()
    worker.wait_for("flamebus_stream_windows_total", 1)
    assert worker.metric("flamebus_stream_partial_samples_total") == first
    assert worker.metric("flamebus_stream_samples_total") == first + second


def test_somebody_elses_commit_is_started_from_without_the_first_window(topic: StreamTopic) -> None:
    unread = encode_batch(topic.batch())
    topic.publish(unread, unread)
    topic.commit(2, "not ours")
    worker = topic.worker()
    worker.start()
    worker.wait_until_reading()
    assert worker.metric("flamebus_stream_unusable_commits_total", reason="unreadable") == 1
    first, second = topic.publish_windows()
    worker.wait_for("flamebus_stream_windows_total", 1)
    assert worker.metric("flamebus_stream_samples_total") == first + second
    assert worker.metric("flamebus_stream_partial_samples_total") == first


def test_a_commit_of_other_windows_sends_none_in_part_twice(topic: StreamTopic) -> None:
    topic.commit(0, Position(0, 1, 1, window_size_ns=10**10).metadata())
    worker = topic.worker()
    worker.start()
    worker.wait_until_reading()
    assert worker.metric("flamebus_stream_unusable_commits_total", reason="window_size") == 1
    (samples,) = topic.publish_windows(1)
    worker.wait_for("flamebus_stream_windows_total", 1)
    worker.wait_for("flamebus_stream_samples_total", samples)


@pytest.mark.parametrize("has_commit", [True, False])
def test_what_retention_deleted_is_counted_and_its_window_left_out(topic: StreamTopic, has_commit: bool) -> None:
    item = topic.batch()
    topic.publish(*[encode_batch(topic.batch()) for _ in range(9)], encode_batch(item))
    if has_commit:
        topic.commit(2, Position(2, item.start_unix_nano - 10**10, item.start_unix_nano - 10**10).metadata())
    topic.delete_before(9)
    worker = topic.worker()
    worker.start()
    worker.wait_until_reading()
    worker.wait_for("flamebus_stream_partial_windows_total", 1)
    assert worker.metric("flamebus_stream_retention_lost_records_total") == (7 if has_commit else 0)
    assert worker.metric("flamebus_stream_partial_samples_total") == weight_of(item)


def test_offsets_that_the_log_itself_lacks_are_passed_over(topic: StreamTopic) -> None:
    """A transaction's end takes an offset that nobody can read."""
    items = [topic.batch() for _ in range(4)]
    topic.publish(*(encode_batch(item) for item in items[:2]), transactional_id=topic.group)
    topic.publish(*(encode_batch(item) for item in items[2:]))
    worker = topic.worker()
    worker.start()
    worker.wait_for("flamebus_stream_samples_total", sum(map(weight_of, items)))
    worker.wait_for("flamebus_stream_windows_total", 1)
    assert worker.metric("flamebus_stream_log_gap_records_total") == 1
    topic.wait_for_commit_past(4)


def test_a_worker_whose_group_was_taken_over_ends(topic: StreamTopic) -> None:
    """Its group refuses it for good while it is frozen: it may not live on as a zombie that reads nothing."""
    fenced = topic.worker()
    fenced.start()
    fenced.wait_until_reading()
    fenced.send(signal.SIGSTOP)
    topic.wait_for_members(0)
    other = Consumer(
        {
            "bootstrap.servers": topic.kafka.address,
            "group.id": topic.group,
            "partition.assignment.strategy": "range",  # workers offer another one only
            "session.timeout.ms": 45_000,
        }
    )
    try:
        other.subscribe([topic.topic])
        assert wait_until(lambda: other.poll(0.1) is None and bool(other.assignment()), DEADLINE_S)
        fenced.send(signal.SIGCONT)
        process = fenced.process
        assert process
        assert process.wait(DEADLINE_S) == 18, fenced.tail()
        fenced.process = None
        assert "the log will be read from the last commit" in fenced.tail()
    finally:
        other.close()
