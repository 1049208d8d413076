"""The embedded bus: librdkafka's mock cluster inside this process, spoken to over TCP like a real Kafka.

Good for a demonstration and for component tests. It keeps at most 5 MiB or 100,000 records a partition and nothing on
disk, knows no topic administration and only pretends transactions; topics appear when they are first used, with four
partitions. Whoever needs a promise uses a real Kafka (``flamebus up``).
"""

from types import TracebackType
from typing import Self

from confluent_kafka import KafkaException, Producer

from flamebus.errors import BusUnavailableError

_START_DEADLINE_S = 10


class EmbeddedBus:
    """A one-broker cluster that lives as long as this object; use it as a context manager."""

    def __init__(self) -> None:
        # Level 2 (critical): the cluster logs a line for every client that leaves.
        self._cluster = Producer({"test.mock.num.brokers": 1, "log_level": 2})
        try:
            metadata = self._cluster.list_topics(timeout=_START_DEADLINE_S)
        except KafkaException as error:
            raise BusUnavailableError(f"the embedded bus did not start: {error}") from error
        broker = next(iter(metadata.brokers.values()))
        self.bus = f"kafka://{broker.host}:{broker.port}"
        """Its address as ``--bus`` takes it."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """End the cluster and everything in it."""
        self._cluster.flush(0)
        del self._cluster
