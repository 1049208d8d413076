"""The doctor and real servers: Kafka before and after its topics, InfluxDB with right and wrong settings."""

import pytest

from flamebus.cli.bus import TopicAdmin
from flamebus.cli.doctor_servers import server_checks
from flamebus.config import load
from flamebus.wire.topics import all_topics
from producers.doctor import Result, State, examine
from tests.support.servers import RealInfluxDB, RealServer


def results(**flags: str) -> dict[str, Result]:
    found = load(flags, environment={})
    return {result.name: result for result in examine(server_checks(found.settings, found.origins))}


def test_kafka(kafka: RealServer, kafka_topic_prefix: str) -> None:
    before = results(bus=kafka.url, topic_prefix=kafka_topic_prefix)
    assert (before["broker"].state, before["topics"].state) == (State.OK, State.WARNING)
    assert "topics create" in before["topics"].remedy
    TopicAdmin(kafka.address).create_missing(all_topics(), kafka_topic_prefix, partitions=1, replication=1)
    assert results(bus=kafka.url, topic_prefix=kafka_topic_prefix)["topics"].state is State.OK


def test_influxdb(influxdb: RealInfluxDB, influxdb_bucket: str) -> None:
    right = {
        "influx_url": influxdb.url, "influx_token": influxdb.token, "influx_org": influxdb.org,
        "influx_bucket": influxdb_bucket,
    }  # fmt: skip
    assert {result.state for result in results(**right).values()} == {State.OK}


@pytest.mark.parametrize(("flag", "word"), [("influx_token", "token"), ("influx_bucket", "bucket")])
def test_influxdb_with_a_wrong_setting(influxdb: RealInfluxDB, influxdb_bucket: str, flag: str, word: str) -> None:
    right = {
        "influx_url": influxdb.url, "influx_token": influxdb.token, "influx_org": influxdb.org,
        "influx_bucket": influxdb_bucket,
    }  # fmt: skip
    found = results(**(right | {flag: "wrong"}))["influxdb"]
    assert found.state is State.UNREACHABLE
    assert word in f"{found.found} {found.remedy}"
