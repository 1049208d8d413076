"""One Kafka node (KRaft: broker and controller in one process) without Docker."""

from __future__ import annotations

import base64
import secrets
import subprocess
from pathlib import Path
from string import Template
from typing import TYPE_CHECKING, ClassVar

from flamebus.errors import SetupError
from infra.servers.process import Server, accepts_connections, free_port

if TYPE_CHECKING:
    from collections.abc import Sequence

_PROPERTIES = Path(__file__).parent.parent / "kafka" / "server.properties"
# Half a gigabyte of heap holds millions of small records in flight. The first compiler tier alone starts a node in half
# the time and memory; its top speed is lower, which no test or single machine notices.
_JVM = ["-Xmx512m", "-XX:TieredStopAtLevel=1", "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn"]
_FORMAT_TIMEOUT_S = 60


class KafkaServer(Server):
    """A Kafka broker on loopback. It creates no topic by itself and keeps timestamps of producers (CreateTime).

    Args:
        folder: data, settings and log.
        classpath: from `infra.build.kafka_classpath`.
        port: of the broker, None for a free one.
        controller_port: of the controller inside it, None for a free one; a cluster keeps it for life.
        dies_with_parent: see `infra.servers.process.launch`.
    """

    name: ClassVar[str] = "Kafka"

    def __init__(
        self,
        folder: Path,
        classpath: str,
        *,
        port: int | None = None,
        controller_port: int | None = None,
        dies_with_parent: bool = True,
    ) -> None:
        super().__init__(folder, port=port, dies_with_parent=dies_with_parent)
        self._java = ["java", *_JVM, "-cp", classpath]
        self._controller_port = controller_port or free_port()

    @property
    def url(self) -> str:
        """The address in the form that ``--bus`` takes."""
        return f"kafka://{self.address}"

    @property
    def _properties(self) -> Path:
        return self.folder / "server.properties"

    @property
    def _data(self) -> Path:
        return self.folder / "data"

    def _command(self) -> Sequence[str]:
        text = Template(_PROPERTIES.read_text()).substitute(
            port=self.port, controller_port=self._controller_port, log_dir=self._data
        )
        self._properties.write_text(text)
        if not (self._data / "meta.properties").exists():
            self._format()
        return [*self._java, "kafka.Kafka", str(self._properties)]

    def _format(self) -> None:
        """Writes the identity of a new cluster, once in the life of the data folder."""
        # The leading letter keeps the id from looking like an option; 16 bytes is what Kafka calls a UUID.
        cluster_id = base64.urlsafe_b64encode(b"\x00" + secrets.token_bytes(15)).decode().rstrip("=")
        command = [*self._java, "kafka.tools.StorageTool", "format", "-t", cluster_id, "-c", str(self._properties)]
        try:
            subprocess.run(command, check=True, capture_output=True, text=True, timeout=_FORMAT_TIMEOUT_S)
        except FileNotFoundError as error:
            raise SetupError("Kafka needs Java (17 or newer); `infra/bootstrap.sh up` installs it") from error
        except subprocess.CalledProcessError as error:
            raise SetupError(f"cannot format {self._data} for Kafka:\n{error.stderr[-2000:]}") from error

    def _is_ready(self) -> bool:
        """An open port is not enough: clients need the broker to be registered with its controller."""
        return accepts_connections(self.port) and answers_metadata(self.address)


def answers_metadata(address: str) -> bool:
    """Whether the single broker at ``host:port`` is registered with its controller, so that clients can use it."""
    from confluent_kafka import KafkaException
    from confluent_kafka.admin import AdminClient

    try:
        metadata = AdminClient({"bootstrap.servers": address, "log_level": 0}).list_topics(timeout=1)
    except KafkaException:
        return False
    return len(metadata.brokers) == 1
