"""A stage for one scenario: broker, InfluxDB behind a proxy, store, workers, publisher; and reading everything back."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import threading
import time
import urllib.request
from collections import Counter
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Self

from confluent_kafka import Consumer, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic
from prometheus_client.parser import text_string_to_metric_families

from flamebus.wire.topics import DEADLETTER, all_topics, samples_topic
from infra.servers.process import accepts_connections, free_port, wait_until
from tests.chaos.influx_proxy import InfluxProxy
from tests.chaos.ledger import Cell, Ledger
from tests.chaos.publisher import Mix, Publisher

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.support.servers import RealInfluxDB, RealServer

ROOT = Path(__file__).resolve().parents[2]
WINDOW_S, LATENESS_S = 2, 1
PARTITIONS = 4
_RESTARTABLE = {18, 4}
"""Something unexpected; a server is away at start. A supervisor starts a worker again for either."""

_START_S = 60


@dataclass(slots=True)
class Worker:
    """One ``flamebus stream`` process under a supervisor that starts it again when it ends by itself."""

    command: list[str]
    log: Path
    metrics_port: int
    process: subprocess.Popen[bytes] | None = None
    restarts: int = 0

    def start(self) -> None:
        with self.log.open("ab") as output:
            self.process = subprocess.Popen(
                self.command, cwd=ROOT, stdout=output, stderr=output, env={**os.environ, "PYTHONPATH": str(ROOT)}
            )

    def wait_until_listening(self) -> None:
        """Wait until it has begun: it answers for its metrics, and takes signals."""
        assert wait_until(lambda: accepts_connections(self.metrics_port), _START_S), self.tail()

    def metric(self, name: str) -> float:
        """Sum over the labels of a metric."""
        with urllib.request.urlopen(f"http://127.0.0.1:{self.metrics_port}/metrics", timeout=10) as answer:
            families = text_string_to_metric_families(answer.read().decode())
        return sum(sample.value for family in families for sample in family.samples if sample.name == name)

    def send(self, number: signal.Signals) -> None:
        assert self.process
        self.process.send_signal(number)

    def end(self, number: signal.Signals, grace_s: float = 30) -> int:
        """End the process; the supervisor does not start it again."""
        assert self.process
        process, self.process = self.process, None
        process.send_signal(number)
        try:
            return process.wait(grace_s)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            raise

    def supervise(self) -> None:
        if self.process and self.process.poll() is not None:
            assert self.process.returncode in _RESTARTABLE, f"exit {self.process.returncode}: {self.tail()}"
            self.restarts += 1
            self.start()

    def tail(self) -> str:
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-15:])


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
    workers: list[Worker] = field(default_factory=list)

    @property
    def topic(self) -> str:
        return samples_topic("cpu").name(self.prefix)

    @property
    def group(self) -> str:
        return f"{self.prefix}group"

    @property
    def store(self) -> Path:
        return self.folder / "store"

    def start_worker(self) -> Worker:
        number = len(self.workers)
        command = [sys.executable, "-m", "flamebus", "stream", "--bus", self.kafka.url, "--store", str(self.store)]
        command += ["--influx-url", self.proxy.url, "--influx-token", self.influxdb.token]
        command += ["--influx-org", self.influxdb.org, "--influx-bucket", self.bucket, "--group", self.group]
        command += ["--topic-prefix", self.prefix, "--window", f"{WINDOW_S}s", "--lateness", f"{LATENESS_S}s"]
        port = free_port()
        command += ["--metrics-listen", f"127.0.0.1:{port}"]
        worker = Worker(command, self.folder / f"worker-{number}.log", port)
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
        for (series, unix_nano), writes in list(self.proxy.points.items()):
            measurement, *tags = series.split(",")
            if measurement != "profile":
                continue
            service = dict(tag.split("=", 1) for tag in tags)["service"]
            fields = writes[-1]
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
            f"{self.ledger.dead_records}; {[worker.tail() for worker in self.workers]}"
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
            if worker.process:
                worker.send(signal.SIGCONT)
                worker.process.kill()
                worker.process.wait()
        proxy.close()
