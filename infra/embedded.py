"""The embedded bus: librdkafka's mock cluster in a process of its own, spoken to over TCP like a real Kafka.

Good for a demonstration. It keeps at most 5 MiB or 100,000 records a partition and nothing on disk, knows no topic
administration and only pretends transactions; topics appear when they are first used, with four partitions. Whoever
needs a promise uses a real Kafka (``flamebus up``).

``python -m infra.embedded`` prints the address and serves until it is killed. A process of its own, because librdkafka
hangs now and then while it takes a mock cluster down: killed, it need not.
"""

import signal
import sys

from confluent_kafka import KafkaException, Producer

from flamebus.errors import BusUnavailableError, FlamebusError

_START_DEADLINE_S = 10


def serve() -> None:
    """Start the cluster, print its address as ``--bus`` takes it, and serve until a signal ends the process.

    Raises:
        BusUnavailableError: the cluster does not start.
    """
    # Level 2 (critical): the cluster logs a line for every client that leaves.
    cluster = Producer({"test.mock.num.brokers": 1, "log_level": 2})
    try:
        metadata = cluster.list_topics(timeout=_START_DEADLINE_S)
    except KafkaException as error:
        raise BusUnavailableError(f"the embedded bus did not start: {error}") from error
    broker = next(iter(metadata.brokers.values()))
    sys.stdout.write(f"kafka://{broker.host}:{broker.port}\n")
    sys.stdout.flush()
    while True:
        signal.pause()


if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    try:
        serve()
    except FlamebusError as failure:
        sys.exit(f"flamebus: {failure}")
