"""A real Kafka, a real InfluxDB and a worker on one core, for the benchmarks of streams."""

import os
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self
from urllib.parse import quote

from confluent_kafka import Producer
from confluent_kafka.admin import AdminClient, NewTopic
from prometheus_client.parser import text_string_to_metric_families

from benchmarks.worker_load import Encoded
from flamebus.wire.topics import all_topics, samples_topic
from infra import build
from infra.servers.influxdb import BUCKET, ORG, InfluxServer
from infra.servers.kafka import KafkaServer
from infra.servers.process import free_port

PARTITIONS = 4
WORKER_CPU = 0
_TICKS_PER_S = os.sysconf("SC_CLK_TCK")
_POLL_S = 0.5
_MOST_IN_FLIGHT = 200
_ROOT = Path(__file__).resolve().parent.parent


@dataclass(slots=True)
class WorkerProcess:
    """One ``flamebus stream``, pinned to a core."""

    process: subprocess.Popen[bytes]
    metrics_port: int
    log: Path

    def metric(self, name: str) -> float:
        """Sum over the labels of a metric; 0 while the worker does not answer."""
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.metrics_port}/metrics", timeout=5) as answer:
                text = answer.read().decode()
        except OSError:
            return 0.0
        families = text_string_to_metric_families(text)
        return sum(sample.value for family in families for sample in family.samples if sample.name == name)

    def cpu_s(self) -> float:
        """CPU time of the process so far, user and system."""
        fields = Path(f"/proc/{self.process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / _TICKS_PER_S

    def peak_bytes(self) -> int:
        """Highest resident memory so far."""
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        return next(int(line.split()[1]) * 1024 for line in status.splitlines() if line.startswith("VmHWM"))

    def wait_for(self, name: str, value: float, deadline_s: float) -> None:
        """Wait until a metric has reached a value."""
        end = time.monotonic() + deadline_s
        while self.metric(name) < value:
            assert self.process.poll() is None, self.log.read_text(errors="replace")[-2000:]
            assert time.monotonic() < end, f"{name} is {self.metric(name)}, not {value}, after {deadline_s} s"
            time.sleep(_POLL_S)


@dataclass(slots=True)
class WorkerStage:
    """Servers, topics and the worker."""

    folder: Path
    kafka: KafkaServer
    influxdb: InfluxServer
    worker: WorkerProcess | None = None

    @classmethod
    @contextmanager
    def open(cls, folder: Path) -> Iterator[Self]:
        """Start the servers and create the topics; everything ends with the block."""
        cache = build.default_cache()
        kafka = KafkaServer(folder / "kafka", build.kafka_classpath(cache))
        influxdb = InfluxServer(folder / "influxdb", build.influxd_binary(cache))
        stage = cls(folder, kafka, influxdb)
        try:
            kafka.start()
            influxdb.start()
            admin = AdminClient({"bootstrap.servers": kafka.address, "log_level": 2})
            topics = [NewTopic(topic.name(), PARTITIONS, 1, config=topic.broker_config()) for topic in all_topics()]
            for future in admin.create_topics(topics).values():
                future.result(30)
            yield stage
        finally:
            stage.stop_worker()
            influxdb.stop()
            kafka.stop()

    def start_worker(self, group: str = "benchmark") -> WorkerProcess:
        """Start it, in place of the one before; it joins within some seconds. A new group reads from the beginning."""
        self.stop_worker()
        port, log = free_port(), self.folder / f"{group}.log"
        command = ["taskset", "-c", str(WORKER_CPU), sys.executable, "-m", "flamebus", "stream"]
        command += ["--bus", self.kafka.url, "--group", group, "--store", str(self.folder / f"store-{group}")]
        command += ["--influx-url", self.influxdb.url, "--influx-org", ORG, "--influx-bucket", BUCKET]
        command += ["--metrics-listen", f"127.0.0.1:{port}"]
        environment = os.environ | {"PYTHONPATH": str(_ROOT), "FLAMEBUS_INFLUX_TOKEN": self.influxdb.token}
        with log.open("wb") as output:
            process = subprocess.Popen(command, env=environment, stdout=output, stderr=output)
        self.worker = WorkerProcess(process, port, log)
        return self.worker

    def stop_worker(self) -> None:
        """End it, if it runs."""
        if self.worker is not None:
            self.worker.process.send_signal(signal.SIGTERM)
            self.worker.process.wait(30)
            self.worker = None

    def publisher(self) -> Producer:
        """A producer as the agent sets it up."""
        return Producer(
            {
                "bootstrap.servers": self.kafka.address,
                "enable.idempotence": True,
                "compression.type": "zstd",
                "linger.ms": 5,
                "queue.buffering.max.kbytes": 65_536,
                "log_level": 2,
            }
        )

    def publish(self, producer: Producer, records: Sequence[Encoded]) -> set[int]:
        """Publish and wait for the broker; the partitions that the records went to."""
        partitions: set[int] = set()

        def note(error: object, message: object) -> None:
            assert error is None, error
            partitions.add(message.partition())  # type: ignore[attr-defined]  # confluent_kafka has no types

        topic = samples_topic("cpu").name()
        for record in records:
            while len(producer) > _MOST_IN_FLIGHT:
                producer.poll(_POLL_S)
            producer.produce(topic, record.value, key=record.service.encode(), on_delivery=note)
        assert producer.flush(60) == 0
        return partitions

    def query(self, influxql: str) -> list[list[object]]:
        """Rows of the first series of an InfluxQL answer."""
        series = self._series(influxql)
        return list(series[0]["values"]) if series else []

    def query_tagged(self, influxql: str, tag: str) -> list[str]:
        """Values of a tag for which an InfluxQL query has rows."""
        return [series["tags"][tag] for series in self._series(influxql)]

    def _series(self, influxql: str) -> list[dict[str, Any]]:
        answer: Any = self.influxdb.admin.request("GET", f"/query?db={BUCKET}&epoch=ns&q={quote(influxql)}")
        return list(answer["results"][0].get("series", []))
