"""What verbs need of Kafka, with confluent-kafka's errors translated: no other module of the command line has it."""

import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from confluent_kafka import Consumer, KafkaError, KafkaException, Message, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, ClusterMetadata, ConfigResource, NewTopic, ResourceType

from flamebus.errors import BusUnavailableError, UsageError
from flamebus.wire.headers import Headers
from flamebus.wire.recording import BusRecord
from flamebus.wire.topics import Topic

CONNECT_DEADLINE_S = 10
_DELIVERY_DEADLINE_S = 30
_POLL_S = 0.2
_EMBEDDED = "mockCluster"  # how the id of librdkafka's own cluster begins


@dataclass(frozen=True, slots=True)
class TopicState:
    """A topic as the broker keeps it; ``config`` holds the settings that ours also state."""

    name: str
    partitions: int
    replication: int
    config: dict[str, str]


def _client_config(servers: str) -> dict[str, str | int | float | bool]:
    # Level 2 (critical): that a broker is away is told once, as an error of ours, not in the client's own log.
    return {"bootstrap.servers": servers, "log_level": 2, "socket.timeout.ms": CONNECT_DEADLINE_S * 1000}


def _unavailable(servers: str, error: Exception) -> BusUnavailableError:
    return BusUnavailableError(
        f"no Kafka broker at {servers} did what we asked within {CONNECT_DEADLINE_S} s ({_reason(error)}); "
        "check --bus, and that the broker runs (flamebus status)"
    )


def _reason(error: Exception) -> str:
    first = error.args[0] if error.args else error
    return str(first.str()) if isinstance(first, KafkaError) else str(first)


class TopicAdmin:
    """Looks at topics and creates them."""

    def __init__(self, servers: str) -> None:
        """Connect.

        Raises:
            BusUnavailableError: no broker answers before the deadline.
        """
        self._servers = servers
        self._client = AdminClient(_client_config(servers))
        self._is_embedded = False
        self._partitions = self._read_partitions()

    def _metadata(self, topic: str | None = None) -> ClusterMetadata:
        try:
            return self._client.list_topics(topic, timeout=CONNECT_DEADLINE_S)
        except KafkaException as error:
            raise _unavailable(self._servers, error) from error

    def _read_partitions(self) -> dict[str, tuple[int, int]]:
        metadata = self._metadata()
        self._is_embedded = (metadata.cluster_id or "").startswith(_EMBEDDED)
        return {
            name: (len(topic.partitions), len(topic.partitions[0].replicas) if topic.partitions else 0)
            for name, topic in metadata.topics.items()
            if topic.error is None
        }

    def states(self, names: Sequence[str]) -> dict[str, TopicState]:
        """Those of the topics that exist, by name.

        Raises:
            BusUnavailableError: the broker does not say.
        """
        present = [name for name in names if name in self._partitions]
        if not present:
            return {}
        resources = [ConfigResource(ResourceType.TOPIC, name) for name in present]
        futures = self._client.describe_configs(resources, request_timeout=CONNECT_DEADLINE_S)
        result = {}
        for resource, future in futures.items():
            try:
                entries = future.result()
            except KafkaException as error:
                raise _unavailable(self._servers, error) from error
            partitions, replication = self._partitions[resource.name]
            config = {name: entry.value for name, entry in entries.items()}
            result[resource.name] = TopicState(resource.name, partitions, replication, config)
        return result

    def create_missing(self, topics: Sequence[Topic], prefix: str, partitions: int, replication: int) -> list[str]:
        """Create those that do not exist; their names. The embedded bus makes a topic when it is asked for by name.

        Raises:
            BusUnavailableError: the broker refuses.
        """
        missing = {topic.name(prefix): topic for topic in topics if topic.name(prefix) not in self._partitions}
        if not missing:
            return []
        if self._is_embedded:
            for name in missing:
                self._metadata(name)
            self._partitions = self._read_partitions()
            return list(missing)
        new = [NewTopic(name, partitions, replication, config=t.broker_config()) for name, t in missing.items()]
        futures = self._client.create_topics(new, request_timeout=CONNECT_DEADLINE_S)
        created = []
        for name, future in futures.items():
            try:
                future.result()
                created.append(name)
            except KafkaException as error:
                if error.args[0].code() != KafkaError.TOPIC_ALREADY_EXISTS:
                    raise _unavailable(self._servers, error) from error
        self._partitions = self._read_partitions()
        return created


class BusWriter:
    """Publishes records and knows that each one arrived."""

    def __init__(self, servers: str) -> None:
        """Connect.

        Raises:
            BusUnavailableError: no broker answers before the deadline.
        """
        self._servers = servers
        self._failure: KafkaError | None = None
        config = {"enable.idempotence": True, "compression.type": "zstd", "linger.ms": 5}
        self._producer = Producer(
            _client_config(servers) | config | {"message.timeout.ms": _DELIVERY_DEADLINE_S * 1000}
        )
        try:
            self._producer.list_topics(timeout=CONNECT_DEADLINE_S)
        except KafkaException as error:
            raise _unavailable(servers, error) from error

    def publish(self, topic: str, key: bytes | None, value: bytes | None, headers: Headers) -> None:
        """Hand over one record; :meth:`finish` tells whether it arrived.

        Raises:
            BusUnavailableError: an earlier record failed, or this one is refused.
        """
        while True:
            try:
                self._producer.produce(topic, value=value, key=key, headers=headers, on_delivery=self._note)
                break
            except BufferError:  # the client's queue is full: its deliveries make room, or fail at their deadline
                self._producer.poll(_POLL_S)
            except KafkaException as error:
                raise _unavailable(self._servers, error) from error
        self._producer.poll(0)
        self._check()

    def finish(self) -> None:
        """Wait until all records have arrived.

        Raises:
            BusUnavailableError: one did not.
        """
        remaining = self._producer.flush(_DELIVERY_DEADLINE_S + 1)
        self._check()
        if remaining:
            raise BusUnavailableError(f"{remaining} records were not acknowledged by {self._servers}; send them again")

    def _note(self, error: KafkaError | None, _: Message) -> None:
        self._failure = self._failure or error

    def _check(self) -> None:
        if self._failure is not None:
            raise _unavailable(self._servers, KafkaException(self._failure))


class BusReader:
    """Reads topics from a point on, without a consumer group: looking on moves nobody's offsets."""

    def __init__(
        self,
        servers: str,
        topics: Sequence[str],
        *,
        is_from_beginning: bool,
        is_over: Callable[[], bool] = lambda: False,
    ) -> None:
        """Find the topics' partitions and where each one ends now; ``is_over`` says when to end before the end.

        Raises:
            BusUnavailableError: no broker answers before the deadline.
            UsageError: a topic does not exist.
        """
        self._servers = servers
        self._is_over = is_over
        self._consumer = Consumer(
            _client_config(servers)
            | {
                "group.id": f"flamebus-look-{uuid.uuid4().hex}",
                "enable.auto.commit": False,
                "auto.offset.reset": "error",
            }
        )
        try:
            metadata = self._consumer.list_topics(timeout=CONNECT_DEADLINE_S).topics
            missing = [topic for topic in topics if topic not in metadata or not metadata[topic].partitions]
            if missing:
                raise UsageError(f"no such topic at {servers}: {', '.join(missing)}; flamebus topics create makes ours")
            starts, self._ends = [], {}
            for topic in topics:
                for partition in metadata[topic].partitions:
                    place = TopicPartition(topic, partition)
                    low, high = self._consumer.get_watermark_offsets(place, timeout=CONNECT_DEADLINE_S)
                    starts.append(TopicPartition(topic, partition, low if is_from_beginning else high))
                    if low < high:
                        self._ends[topic, partition] = high
            self._consumer.assign(starts)
        except KafkaException as error:
            raise _unavailable(servers, error) from error

    def until_now(self) -> Iterator[BusRecord]:
        """Everything that was in the log when the reader was made; order within each partition only."""
        open_ends = dict(self._ends)
        waited_since = time.monotonic()
        while open_ends and not self._is_over():
            record = self._poll()
            if record is None:
                if time.monotonic() - waited_since > CONNECT_DEADLINE_S:
                    raise BusUnavailableError(f"{self._servers} stopped answering before the end of the log; try again")
                continue
            waited_since = time.monotonic()
            end = open_ends.get((record.topic, record.partition), 0)
            if record.offset < end:
                yield record
            if record.offset + 1 >= end:
                open_ends.pop((record.topic, record.partition), None)

    def for_ever(self) -> Iterator[BusRecord | None]:
        """Records as they come, and ``None`` several times a second, so that the caller can look at the time."""
        while not self._is_over():
            yield self._poll()

    def close(self) -> None:
        """Leave the broker."""
        self._consumer.close()

    def _poll(self) -> BusRecord | None:
        message = self._consumer.poll(_POLL_S)
        if message is None:
            return None
        error = message.error()
        if error is not None:
            if error.retriable() or error.code() in {KafkaError._TRANSPORT, KafkaError._ALL_BROKERS_DOWN}:
                return None
            raise _unavailable(self._servers, KafkaException(error))
        return BusRecord(
            topic=message.topic(),
            partition=message.partition(),
            offset=message.offset(),
            timestamp_unix_nano=message.timestamp()[1] * 1_000_000,
            key=message.key(),
            value=message.value(),
            headers=list(message.headers() or []),
        )
