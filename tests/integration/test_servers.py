"""The real servers themselves: they start, keep data over stop and kill, freeze, and fail clearly."""

from __future__ import annotations

import asyncio
import signal
import socket
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from confluent_kafka import Consumer, KafkaError, KafkaException, Producer
from confluent_kafka.admin import AdminClient, NewTopic
from influxdb_client.client.influxdb_client_async import InfluxDBClientAsync
from pyarrow import fs

from flamebus.errors import SetupError
from infra.servers.process import ProcessIdentity, Server, free_port, launch, wait_until

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tests.support.servers import RealInfluxDB, RealS3, RealServer

_DEADLINE_S = 30


def create_topic(kafka: RealServer, name: str) -> None:
    admin = AdminClient({"bootstrap.servers": kafka.address})
    admin.create_topics([NewTopic(name, num_partitions=1)])[name].result(_DEADLINE_S)


def produce(kafka: RealServer, topic: str, values: Sequence[bytes]) -> None:
    producer = Producer({"bootstrap.servers": kafka.address, "acks": "all", "log_level": 0})
    for value in values:
        producer.produce(topic, value)
    assert producer.flush(_DEADLINE_S) == 0


def consume(kafka: RealServer, topic: str, count: int) -> list[bytes]:
    settings = {
        "bootstrap.servers": kafka.address,
        "group.id": f"{topic}-readers",
        "auto.offset.reset": "earliest",
        "enable.auto.commit": False,
        "log_level": 0,
    }
    consumer = Consumer(settings)
    consumer.subscribe([topic])
    try:
        return [message.value() for message in consumer.consume(count, timeout=_DEADLINE_S)]
    finally:
        consumer.close()


def test_kafka_keeps_records(kafka: RealServer, kafka_topic_prefix: str) -> None:
    topic = f"{kafka_topic_prefix}samples"
    create_topic(kafka, topic)
    produce(kafka, topic, [b"one", b"two"])
    assert consume(kafka, topic, 2) == [b"one", b"two"]


def test_kafka_creates_no_topic_by_itself(kafka: RealServer, kafka_topic_prefix: str) -> None:
    errors: list[KafkaError | None] = []
    producer = Producer({"bootstrap.servers": kafka.address, "message.timeout.ms": 3000, "log_level": 0})
    producer.produce(f"{kafka_topic_prefix}misspelt", b"lost", on_delivery=lambda error, _: errors.append(error))
    producer.flush(_DEADLINE_S)
    assert errors
    assert errors[0] is not None


def test_kafka_keeps_records_over_kill_freeze_and_stop(own_kafka: RealServer) -> None:
    create_topic(own_kafka, "kept")
    produce(own_kafka, "kept", [b"before the kill"])
    own_kafka.control.kill()
    own_kafka.control.start()
    produce(own_kafka, "kept", [b"after the kill"])

    own_kafka.control.pause()
    with pytest.raises(KafkaException):
        AdminClient({"bootstrap.servers": own_kafka.address, "log_level": 0}).list_topics(timeout=2)
    own_kafka.control.resume()
    produce(own_kafka, "kept", [b"after the freeze"])

    own_kafka.control.restart()
    assert consume(own_kafka, "kept", 3) == [b"before the kill", b"after the kill", b"after the freeze"]


async def write_point(influxdb: RealInfluxDB, bucket: str, value: int) -> None:
    async with InfluxDBClientAsync(influxdb.url, influxdb.token, influxdb.org) as client:
        assert await client.write_api().write(bucket, record=f"profile,service=shop total={value}i {value}000000000")


async def read_totals(influxdb: RealInfluxDB, bucket: str) -> list[int]:
    query = f'from(bucket: "{bucket}") |> range(start: 0) |> filter(fn: (r) => r._field == "total")'
    async with InfluxDBClientAsync(influxdb.url, influxdb.token, influxdb.org) as client:
        tables = await client.query_api().query(query)
    return [record.get_value() for table in tables for record in table.records]


async def test_influxdb_keeps_points(influxdb: RealInfluxDB, influxdb_bucket: str) -> None:
    await write_point(influxdb, influxdb_bucket, 23)
    assert await read_totals(influxdb, influxdb_bucket) == [23]


async def test_influxdb_keeps_points_over_kill_freeze_and_stop(own_influxdb: RealInfluxDB) -> None:
    await write_point(own_influxdb, own_influxdb.bucket, 1)
    own_influxdb.control.kill()
    own_influxdb.control.start()

    own_influxdb.control.pause()
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(read_totals(own_influxdb, own_influxdb.bucket), 1)
    own_influxdb.control.resume()
    await write_point(own_influxdb, own_influxdb.bucket, 2)

    own_influxdb.control.restart()
    assert await read_totals(own_influxdb, own_influxdb.bucket) == [1, 2]


def s3_filesystem(s3: RealS3) -> fs.S3FileSystem:
    return fs.S3FileSystem(
        access_key=s3.access_key,
        secret_key=s3.secret_key,
        endpoint_override=s3.address,
        scheme="http",
        allow_bucket_creation=True,
    )


def test_s3_keeps_parquet_over_kill_and_stop(own_s3: RealS3) -> None:
    table = pa.table({"value": [1, 2, 3]})
    filesystem = s3_filesystem(own_s3)
    filesystem.create_dir("profiles")
    pq.write_table(table, "profiles/samples/one.parquet", filesystem=filesystem)
    own_s3.control.kill()
    own_s3.control.start()
    own_s3.control.restart()
    assert pq.read_table("profiles/samples/one.parquet", filesystem=s3_filesystem(own_s3)).equals(table)


class Netcat(Server):
    """A server of a few lines, to try starting and failing without waiting for a real one."""

    name = "netcat"
    program = "import socket, sys, time; s = socket.create_server(('127.0.0.1', int(sys.argv[1]))); time.sleep(600)"

    def _command(self) -> Sequence[str]:
        return [sys.executable, "-c", self.program, str(self.port)]

    def _is_ready(self) -> bool:
        with socket.socket() as client:
            return client.connect_ex(("127.0.0.1", self.port)) == 0


class Failing(Netcat):
    program = "raise SystemExit('the disk is on fire')"


def test_a_port_in_use_is_said(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", free_port())) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(SetupError, match=f"port {port} on 127.0.0.1 is in use"):
            Netcat(tmp_path, port=port).start()


def test_a_server_that_ends_at_once_is_reported_with_its_log(tmp_path: Path) -> None:
    with pytest.raises(SetupError, match=r"(?s)ended with 1.*the disk is on fire"):
        Failing(tmp_path).start()


def test_a_server_that_does_not_answer_is_ended(tmp_path: Path) -> None:
    server = Netcat(tmp_path)
    server.program = "import time; time.sleep(600)"
    with pytest.raises(SetupError, match="does not answer after 1 s"):
        server.start(deadline_s=1)
    assert not server.is_running


def test_a_killed_parent_takes_its_server_along(tmp_path: Path) -> None:
    code = (
        "import sys, time, pathlib; from infra.servers.process import launch;"
        "p = launch([sys.executable, '-c', 'import time; time.sleep(600)'], pathlib.Path(sys.argv[1]),"
        " dies_with_parent=True); print(p.pid, flush=True); time.sleep(600)"
    )
    command = [sys.executable, "-c", code, str(tmp_path / "log")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        child = ProcessIdentity.of(int(parent.stdout.readline()))
        assert child.is_alive()
        # The tie to the parent is made by setpriv, in the instant before it becomes the program.
        command_line = Path(f"/proc/{child.pid}/cmdline")
        assert wait_until(lambda: b"setpriv" not in command_line.read_bytes(), 10)
        parent.kill()
    assert wait_until(lambda: not child.is_alive(), 10)


def test_a_process_is_told_from_a_later_one_of_the_same_number(tmp_path: Path) -> None:
    process = launch([sys.executable, "-c", "import time; time.sleep(600)"], tmp_path / "log", dies_with_parent=True)
    real = ProcessIdentity.of(process.pid)
    other = ProcessIdentity(process.pid, real.start_ticks - 1)
    other.signal(signal.SIGKILL)
    assert not other.is_alive()
    assert real.is_alive()
    real.terminate(grace_s=10)
    assert process.wait(10) == -signal.SIGTERM
