"""The same real servers as containers, for machines where a Docker engine answers."""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING, Any

from flamebus.errors import SetupError
from infra.build import INFLUXDB_VERSION, KAFKA_VERSION, VERSITYGW_VERSION
from infra.servers.influxdb import InfluxAdmin
from infra.servers.kafka import answers_metadata
from infra.servers.process import LOOPBACK, accepts_connections, free_port, wait_until
from infra.servers.s3 import S3Server

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


class Container:
    """One server in a container of testcontainers, on a loopback port that stays the same over restarts."""

    def __init__(
        self, image: str, inner_port: int, *, port: int, environment: Mapping[str, str], command: Sequence[str] = ()
    ) -> None:
        from testcontainers.core.container import DockerContainer

        self.port = port
        self._container = DockerContainer(image).with_bind_ports(inner_port, port)
        for name, value in environment.items():
            self._container.with_env(name, value)
        if command:
            self._container.with_command(list(command))
        self._exists = False

    @property
    def address(self) -> str:
        """``host:port`` on this machine."""
        return f"{LOOPBACK}:{self.port}"

    @property
    def _docker(self) -> Any:  # the Docker client publishes no types
        return self._container.get_wrapped_container()

    def start(self, deadline_s: float = 180) -> None:
        """Creates the container, or starts the existing one again, and waits until the server answers."""
        if self._exists:
            self._docker.start()
        else:
            self._container.start()
            self._exists = True
        if not wait_until(self.is_ready, deadline_s):
            raise SetupError(f"the container on {self.address} does not answer after {deadline_s:.0f} s")

    def stop(self, grace_s: float = 30) -> None:
        """Ends the server in order; the container keeps its data, and testcontainers removes it with the session."""
        self._docker.stop(timeout=int(grace_s))

    def kill(self) -> None:
        """Ends the server at once, as a crash would."""
        self._docker.kill()

    def pause(self) -> None:
        """Freezes the server."""
        self._docker.pause()

    def resume(self) -> None:
        """Lets a frozen server go on."""
        self._docker.unpause()

    def restart(self, deadline_s: float = 180) -> None:
        """Stops and starts on the same data and port."""
        self.stop()
        self.start(deadline_s)

    def is_ready(self) -> bool:
        """Whether the server can be used."""
        return accepts_connections(self.port)


class KafkaContainer(Container):
    """A one-node Kafka."""

    def __init__(self) -> None:
        port = free_port()
        environment = {
            "KAFKA_NODE_ID": "1",
            "KAFKA_PROCESS_ROLES": "broker,controller",
            "KAFKA_CONTROLLER_QUORUM_VOTERS": "1@localhost:9093",
            "KAFKA_LISTENERS": "PLAINTEXT://:9092,CONTROLLER://:9093",
            "KAFKA_ADVERTISED_LISTENERS": f"PLAINTEXT://{LOOPBACK}:{port}",
            "KAFKA_CONTROLLER_LISTENER_NAMES": "CONTROLLER",
            "KAFKA_LISTENER_SECURITY_PROTOCOL_MAP": "PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT",
            "KAFKA_OFFSETS_TOPIC_REPLICATION_FACTOR": "1",
            "KAFKA_TRANSACTION_STATE_LOG_REPLICATION_FACTOR": "1",
            "KAFKA_TRANSACTION_STATE_LOG_MIN_ISR": "1",
            "KAFKA_SHARE_COORDINATOR_STATE_TOPIC_REPLICATION_FACTOR": "1",
            "KAFKA_SHARE_COORDINATOR_STATE_TOPIC_MIN_ISR": "1",
            "KAFKA_AUTO_CREATE_TOPICS_ENABLE": "false",
            "KAFKA_NUM_PARTITIONS": "4",
            "KAFKA_GROUP_INITIAL_REBALANCE_DELAY_MS": "0",
        }
        super().__init__(f"apache/kafka:{KAFKA_VERSION}", 9092, port=port, environment=environment)

    def is_ready(self) -> bool:
        """The forwarded port opens before the broker does; ask for metadata."""
        return super().is_ready() and answers_metadata(self.address)


class InfluxContainer(Container):
    """An InfluxDB that is set up."""

    def __init__(self) -> None:
        port = free_port()
        self.token = secrets.token_urlsafe(32)
        self.admin = InfluxAdmin(port, self.token)
        quiet = {"INFLUXD_REPORTING_DISABLED": "true"}
        super().__init__(f"influxdb:{INFLUXDB_VERSION}", 8086, port=port, environment=quiet)

    def start(self, deadline_s: float = 180) -> None:
        """Also sets a new server up: organisation, bucket, token."""
        super().start(deadline_s)
        self.admin.set_up()

    def is_ready(self) -> bool:
        """Whether the server says that it is well."""
        return self.admin.is_ready()


class S3Container(Container):
    """An S3 server over a folder in its container."""

    def __init__(self) -> None:
        keys = {"ROOT_ACCESS_KEY": S3Server.access_key, "ROOT_SECRET_KEY": S3Server.secret_key}
        image = f"versity/versitygw:v{VERSITYGW_VERSION}"
        super().__init__(image, 7070, port=free_port(), environment=keys, command=["--port", ":7070", "posix", "/tmp"])
