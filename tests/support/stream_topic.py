"""One partition of samples on a real broker, the group that reads it, and a worker on them."""

from __future__ import annotations

import asyncio
import random
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from aiokafka import AIOKafkaConsumer
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.structs import OffsetAndMetadata
from aiokafka.structs import TopicPartition as AioTopicPartition
from confluent_kafka import Consumer, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic

from flamebus.wire.batch import encode_batch
from flamebus.wire.topics import DEADLETTER, all_topics, samples_topic
from infra.servers.process import wait_until
from tests.support.stream_logs import batch, weight_of
from tests.support.stream_worker import StreamWorker

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from flamebus.profile import SampleBatch
    from tests.support.servers import RealServer

WINDOW_S, LATENESS_S = 2, 1
DEADLINE_S = 60


@dataclass(slots=True)
class StreamTopic:
    """Topics below ``prefix``, one partition each."""

    kafka: RealServer
    prefix: str
    folder: Path
    rng: random.Random = field(default_factory=lambda: random.Random(1))
    workers: list[StreamWorker] = field(default_factory=list)

    def create(self) -> None:
        admin = AdminClient(self._client())
        wanted = [NewTopic(t.name(self.prefix), 1, 1, config=t.broker_config()) for t in all_topics()]
        for future in admin.create_topics(wanted).values():
            future.result(DEADLINE_S)

    def _client(self) -> dict[str, str | int]:
        return {"bootstrap.servers": self.kafka.address, "log_level": 2}

    @property
    def topic(self) -> str:
        return samples_topic("cpu").name(self.prefix)

    @property
    def group(self) -> str:
        return f"{self.prefix}group"

    def worker(self, *arguments: str, program: Sequence[str] = ("-m", "flamebus")) -> StreamWorker:
        """A worker, not started; ``stop`` ends it."""
        settings = ["--bus", self.kafka.url, "--store", str(self.folder / "store"), "--group", self.group]
        settings += ["--topic-prefix", self.prefix, "--window", f"{WINDOW_S}s", "--lateness", f"{LATENESS_S}s"]
        log = self.folder / f"worker-{len(self.workers)}.log"
        worker = StreamWorker.of([*settings, *arguments], log, program)
        self.workers.append(worker)
        return worker

    def stop(self) -> None:
        for worker in self.workers:
            worker.stop()

    def batch(self, ago_s: float = 0.5) -> SampleBatch:
        """A batch of a tenth of a second that began so long ago."""
        start = time.time_ns() - round(ago_s * 1e9)
        return batch(self.rng, start - start % 100_000_000, span=100_000_000)

    def publish(self, *values: bytes, transactional_id: str = "") -> list[int]:
        """Publish; the offset of each record."""
        offsets: list[int] = []

        def note(error: object, message: object) -> None:
            assert error is None, error
            offsets.append(message.offset())  # type: ignore[attr-defined]  # confluent_kafka has no types

        settings = self._client() | {"message.max.bytes": 20_000_000, "compression.type": "zstd"}
        producer = Producer(settings | ({"transactional.id": transactional_id} if transactional_id else {}))
        if transactional_id:
            producer.init_transactions(DEADLINE_S)
            producer.begin_transaction()
        for value in values:
            producer.produce(self.topic, value, on_delivery=note)
        assert producer.flush(DEADLINE_S) == 0
        if transactional_id:
            producer.commit_transaction(DEADLINE_S)
        return offsets

    def publish_windows(self, count: int = 2) -> list[float]:
        """Publish a batch in each of so many windows, as time goes by; the samples of each."""
        samples = []
        for number in range(count):
            if number:
                time.sleep(WINDOW_S)  # the log's own time has to pass: event times may not run ahead of the broker's
            item = self.batch()
            self.publish(encode_batch(item))
            samples.append(weight_of(item))
        return samples

    def committed(self) -> OffsetAndMetadata:
        """The group's commit; offset −1 for none."""

        async def read() -> OffsetAndMetadata:
            # Not confluent_kafka: it reads metadata past its end, until it happens upon a zero byte.
            admin = AIOKafkaAdminClient(bootstrap_servers=self.kafka.address)
            await admin.start()
            try:
                found = await admin.list_consumer_group_offsets(self.group)
            finally:
                await admin.close()
            return found.get(AioTopicPartition(self.topic, 0), OffsetAndMetadata(-1, ""))

        return asyncio.run(read())

    def commit(self, offset: int, metadata: str) -> None:
        """Commit as somebody else, while nobody is in the group."""

        async def write() -> None:
            # Not confluent_kafka: it sends the zero byte after the metadata too.
            consumer = AIOKafkaConsumer(
                bootstrap_servers=self.kafka.address, group_id=self.group, enable_auto_commit=False
            )
            await consumer.start()
            try:
                place = AioTopicPartition(self.topic, 0)
                consumer.assign([place])
                await consumer.commit({place: OffsetAndMetadata(offset, metadata)})
            finally:
                await consumer.stop()

        asyncio.run(write())

    def log_range(self) -> tuple[int, int]:
        """First offset that the log has, and the next one."""
        consumer = Consumer(self._client() | {"group.id": "look"})
        try:
            low, high = consumer.get_watermark_offsets(TopicPartition(self.topic, 0), timeout=DEADLINE_S)
            return low, high
        finally:
            consumer.close()

    def delete_before(self, offset: int) -> None:
        """What retention does, at once."""
        admin = AdminClient(self._client())  # kept until its futures are done: it would take them along
        for future in admin.delete_records([TopicPartition(self.topic, 0, offset)]).values():
            future.result(DEADLINE_S)

    def members(self) -> int:
        """Members of the group."""
        admin = AdminClient(self._client())
        return len(admin.describe_consumer_groups([self.group])[self.group].result(DEADLINE_S).members)

    def wait_for_members(self, count: int) -> None:
        assert wait_until(lambda: self.members() == count, DEADLINE_S), f"{self.members()} members"

    def wait_for_commit_past(self, offset: int) -> OffsetAndMetadata:
        assert wait_until(lambda: self.committed().offset > offset, DEADLINE_S), str(self.committed())
        return self.committed()

    def dead_letters(self) -> list[dict[str, str]]:
        """Headers of every dead letter."""
        topic = DEADLETTER.name(self.prefix)
        consumer = Consumer(self._client() | {"group.id": "look", "enable.auto.commit": False})
        try:
            _, high = consumer.get_watermark_offsets(TopicPartition(topic, 0), timeout=DEADLINE_S)
            consumer.assign([TopicPartition(topic, 0, 0)])
            found: list[dict[str, str]] = []
            while len(found) < high:
                message = consumer.poll(DEADLINE_S)
                assert message is not None
                assert message.error() is None
                headers = {name: value.decode() for name, value in message.headers() or []}
                found.append(headers | {"size": str(len(message.value() or b""))})
            return found
        finally:
            consumer.close()
