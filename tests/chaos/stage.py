"""A stage for one scenario: broker, InfluxDB behind a proxy, store, workers, publisher; and reading everything back."""

from __future__ import annotations

import random
import threading
import time
from collections import Counter
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Self

from confluent_kafka import Consumer, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic

from flamebus.wire.topics import DEADLETTER, all_topics, samples_topic
from tests.chaos.influx_proxy import InfluxProxy
from tests.chaos.ledger import Cell, Ledger
from tests.chaos.publisher import Mix, Publisher
from tests.support.stream_worker import StreamWorker

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.support.servers import RealInfluxDB, RealServer

WINDOW_S, LATENESS_S = 2, 1
PARTITIONS = 4


@dataclass(slots=True)
class Stage:
    """Everything a scenario can touch. Times are real: the point is processes, sockets and disks."""

    kafka: RealServer
    influxdb: RealInfluxDB
    bucket: str
    folder: Path
    prefix: str
    rng: random.Random
    proxy: InfluxProxy
    ledger: Ledger
    publisher: Publisher
    workers: list[StreamWorker] = field(default_factory=list)

    @property
    def topic(self) -> str:
        return samples_topic("cpu").name(self.prefix)

    @property
    def group(self) -> str:
        return f"{self.prefix}group"

    @property
    def store(self) -> Path:
        return self.folder / "store"

    def start_worker(self) -> StreamWorker:
        number = len(self.workers)
        command = ["--bus", self.kafka.url, "--store", str(self.store)]
        command += ["--influx-url", self.proxy.url, "--influx-token", self.influxdb.token]
        command += ["--influx-org", self.influxdb.org, "--influx-bucket", self.bucket, "--group", self.group]
        command += ["--topic-prefix", self.prefix, "--window", f"{WINDOW_S}s", "--lateness", f"{LATENESS_S}s"]
        worker = StreamWorker.of(command, self.folder / f"worker-{number}.log")
        self.workers.append(worker)
        worker.start()
        return worker

    def pass_time(self, seconds: float) -> None:
        """Let things run: supervise workers and watch commits."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            self.watch()
            time.sleep(0.25)

    def watch(self) -> None:
        for worker in self.workers:
            worker.supervise()

    def committed(self) -> dict[int, int]:
        """Committed offset by partition, −1 for none."""
        # Not the admin client's list_consumer_group_offsets: it crashed the process now and then (librdkafka 2.16).
        settings = {"bootstrap.servers": self.kafka.address, "group.id": self.group, "log_level": 2}
        consumer = Consumer(settings)
        try:
            wanted = [TopicPartition(self.topic, number) for number in range(PARTITIONS)]
            return {found.partition: max(found.offset, -1) for found in consumer.committed(wanted, timeout=10)}
        finally:
            consumer.close()

    def read_all(self, topic: str) -> list[tuple[int, bytes, dict[str, bytes]]]:
        """Every record of a topic up to its end: partition, value, headers."""
        settings = {"bootstrap.servers": self.kafka.address, "group.id": "read-back", "enable.auto.commit": False}
        consumer = Consumer({**settings, "auto.offset.reset": "earliest", "log_level": 2})
        records = []
        try:
            metadata = consumer.list_topics(topic, timeout=10).topics[topic]
            ends = {
                n: consumer.get_watermark_offsets(TopicPartition(topic, n), timeout=10) for n in metadata.partitions
            }
            consumer.assign([TopicPartition(topic, n, low) for n, (low, _) in ends.items()])
            left = sum(high - low for low, high in ends.values())
            while left > 0:
                message = consumer.poll(10)
                assert message is not None, f"{topic}: {left} records cannot be read"
                assert message.error() is None
                left -= 1
                headers = dict(message.headers() or [])
                records.append((message.partition(), message.value() or b"", headers))
        finally:
            consumer.close()
        return records

    def dead_letters(self) -> set[tuple[bytes, bytes]]:
        """Origin (partition, offset) of every dead letter; the same record may be there twice after a crash."""
        found = self.read_all(DEADLETTER.name(self.prefix))
        return {(headers["flamebus_partition"], headers["flamebus_offset"]) for _, _, headers in found}

    def accounted(self) -> tuple[Counter[Cell], Counter[Cell], Counter[str]]:
        """What InfluxDB took: samples and totals by cell, late samples by service (as the proxy saw them last)."""
        samples, totals, late = Counter[Cell](), Counter[Cell](), Counter[str]()
        for (series, unix_nano), fields in self.proxy.last_points().items():
            measurement, *tags = series.split(",")
            if measurement != "profile":
                continue
            service = dict(tag.split("=", 1) for tag in tags)["service"]
            cell = Cell(service, unix_nano)
            samples[cell] += round(float(fields["samples"]))
            totals[cell] += int(fields["total"].removesuffix("i"))
            late[service] += int(float(fields["late"].removesuffix("i")))
        return samples, totals, late

    def log_ends(self) -> dict[int, int]:
        """Next offset of each partition now."""
        consumer = Consumer({"bootstrap.servers": self.kafka.address, "group.id": "read-back", "log_level": 2})
        try:
            return {
                n: consumer.get_watermark_offsets(TopicPartition(self.topic, n), timeout=10)[1]
                for n in range(PARTITIONS)
            }
        finally:
            consumer.close()

    def wait_for_commits(self, ends: dict[int, int], deadline_s: float) -> None:
        """Wait until everything up to these offsets is committed."""
        end = time.monotonic() + deadline_s
        while any(self.committed()[n] < offset for n, offset in ends.items()):
            assert time.monotonic() < end, f"committed {self.committed()} of {ends} after {deadline_s} s"
            self.pass_time(0.5)

    def settle(self, deadline_s: float) -> float:
        """Wait until everything published is accounted for; seconds it took.

        Raises:
            AssertionError: it is not, after ``deadline_s``.
        """
        begin = time.monotonic()
        while time.monotonic() - begin < deadline_s:
            self.watch()
            samples, _, late = self.accounted()
            out = late + _by_service(samples)
            if out == self.ledger.samples_by_service() and len(self.dead_letters()) == self.ledger.dead_records:
                return time.monotonic() - begin
            time.sleep(0.5)
        samples, _, late = self.accounted()
        raise AssertionError(
            f"not accounted for after {deadline_s} s: in {self.ledger.samples_by_service()}, "
            f"windows {_by_service(samples)}, late {late}, dead {len(self.dead_letters())} of "
            f"{self.ledger.dead_records}\n" + "\n\n".join(worker.state() for worker in self.workers)
        )


def _by_service(cells: Counter[Cell]) -> Counter[str]:
    result: Counter[str] = Counter()
    for cell, samples in cells.items():
        result[cell.service] += samples
    return result


class CommitWatch:
    """Looks at the group's committed offsets once a second from a thread: they may never go back."""

    def __init__(self, stage: Stage) -> None:
        self._stage = stage
        self._is_stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="commit-watch", daemon=True)
        self.went_back: list[str] = []

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._is_stopping.set()
        self._thread.join()

    def _run(self) -> None:
        from confluent_kafka import KafkaException

        highest: dict[int, int] = {}
        while not self._is_stopping.wait(1):
            try:
                now = self._stage.committed()
            except KafkaException:
                continue  # the broker is down: that is part of the scenario
            for partition, offset in now.items():
                if offset < highest.get(partition, -1):
                    self.went_back.append(f"partition {partition}: {highest[partition]} → {offset}")
                highest[partition] = max(offset, highest.get(partition, -1))


@contextmanager
def open_stage(kafka: RealServer, influxdb: RealInfluxDB, folder: Path, mix: Mix, seed: int) -> Iterator[Stage]:
    """Topics, bucket and publisher of one scenario; workers are up to the scenario. Ends whatever is left running."""
    rng = random.Random(seed)
    name = f"chaos-{rng.getrandbits(64):016x}-{time.time_ns():x}"
    prefix = f"{name}."
    influxdb.create_bucket(name)
    admin = AdminClient({"bootstrap.servers": kafka.address, "log_level": 2})
    wanted = [NewTopic(t.name(prefix), PARTITIONS, 1, config=t.broker_config()) for t in all_topics()]
    for future in admin.create_topics(wanted).values():
        future.result(30)
    proxy = InfluxProxy(influxdb.address)
    ledger = Ledger(WINDOW_S * 10**9)
    publisher = Publisher(kafka.address, samples_topic("cpu").name(prefix), ledger, mix, seed)
    stage = Stage(kafka, influxdb, name, folder, prefix, rng, proxy, ledger, publisher)
    stage.store.mkdir()
    try:
        yield stage
    finally:
        for worker in stage.workers:
            worker.stop()
        proxy.close()
