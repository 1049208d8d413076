"""The sink against a real broker that goes away and comes back."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import pytest
from confluent_kafka import Consumer
from confluent_kafka.admin import AdminClient, NewTopic

from flamebus.profile import Loss
from producers.losses import LossLedger
from producers.sink import KafkaSink
from producers.spool import Record, Spool

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.support.servers import RealServer

NOWHERE = "127.0.0.1:9"
TOPIC = "sink.samples"


def record(number: int, size: int = 50) -> Record:
    return Record(TOPIC, "service", number.to_bytes(4, "big") * size, (), 1, 10)


def create_topic(address: str) -> None:
    admin = AdminClient({"bootstrap.servers": address})  # kept: its answers come only while it lives
    for future in admin.create_topics([NewTopic(TOPIC, 4, 1)]).values():
        future.result(30)


def poll_until(sink: KafkaSink, is_true: Callable[[], bool], deadline_s: float = 60) -> None:
    end = time.monotonic() + deadline_s
    while not is_true():
        assert time.monotonic() < end, "the deadline passed"
        sink.poll()
        time.sleep(0.02)


def received(address: str, count: int) -> list[int]:
    """Numbers in the topic, in the order of its one key's partition."""
    settings = {"bootstrap.servers": address, "group.id": "reader", "auto.offset.reset": "earliest"}
    consumer = Consumer(settings)
    consumer.subscribe([TOPIC])
    numbers: list[int] = []
    end = time.monotonic() + 30
    while len(set(numbers)) < count and time.monotonic() < end:
        message = consumer.poll(0.2)
        if message is not None and message.error() is None:
            numbers.append(int.from_bytes(message.value()[:4], "big"))
    consumer.close()
    return numbers


def test_what_a_killed_broker_missed_arrives_in_order_when_it_is_back(own_kafka: RealServer, tmp_path: Path) -> None:
    create_topic(own_kafka.address)
    losses, spool = LossLedger(), Spool(tmp_path / "spool", 10**6)
    sink = KafkaSink(own_kafka.address, spool, losses)
    sink.publish([record(1)])
    poll_until(sink, lambda: sink.delivered_count == 1)
    own_kafka.control.kill()
    for number in range(2, 7):
        sink.publish([record(number)])
    poll_until(sink, lambda: len(spool) == 5)
    own_kafka.control.start()
    poll_until(sink, lambda: sink.waiting_count == 0)
    assert len(spool) == 0
    assert received(own_kafka.address, 6) == [1, 2, 3, 4, 5, 6]
    assert losses.services() == ()
    sink.close(1)


def test_the_next_agent_publishes_what_the_last_one_could_not(own_kafka: RealServer, tmp_path: Path) -> None:
    create_topic(own_kafka.address)
    first = KafkaSink(NOWHERE, Spool(tmp_path / "spool", 10**6), LossLedger())
    first.publish([record(1), record(2)])
    first.publish([record(3)])
    first.close(0)
    spool = Spool(tmp_path / "spool", 10**6)
    assert len(spool) == 3
    second = KafkaSink(own_kafka.address, spool, LossLedger())
    second.publish([record(4)])
    poll_until(second, lambda: second.waiting_count == 0)
    assert received(own_kafka.address, 4) == [1, 2, 3, 4]
    second.close(1)


@pytest.mark.parametrize("limit_bytes", [0, 3_000])
def test_without_a_broker_every_record_is_kept_or_counted(tmp_path: Path, limit_bytes: int) -> None:
    losses, spool = LossLedger(), Spool(tmp_path / "spool", limit_bytes)
    now_s = [0.0]
    sink = KafkaSink(NOWHERE, spool, losses, lambda: now_s[0])
    started = time.monotonic()
    for number in range(60):
        now_s[0] += 1
        sink.publish([record(number)])
    assert time.monotonic() - started < 10, "publishing may never wait"
    sink.close(0)
    (dropped,) = losses.take("service")
    assert dropped.reason == "spool_full"
    assert dropped == Loss("spool_full", 60 - len(spool), 10 * (60 - len(spool)))
    assert spool.size_bytes <= limit_bytes
