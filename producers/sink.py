"""To Kafka: idempotent, confirmed by all replicas, compressed; what it will not take waits in the spool, in order.

Nothing here waits but :meth:`KafkaSink.close`. A record is in flight (held by librdkafka), in the spool, or both:
one that is not confirmed within ``_STALL_S`` is written to the spool as well and leaves it when it is confirmed. While
the spool holds records that are not in flight, new ones queue behind them.
"""

import logging
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from confluent_kafka import KafkaError, KafkaException, Producer

from flamebus.errors import BusUnavailableError
from producers import agent_metrics as metrics
from producers.losses import LossLedger
from producers.spool import Dropped, Record, Spool, Spooled

LOG = logging.getLogger("flamebus.agent")

_STALL_S = 5.0
"""Confirmation takes milliseconds; after this the broker counts as away and what is in flight goes to disk too."""
_IN_FLIGHT_BYTES = 4 * 1024 * 1024
_RETRY_S = 1.0
_FILES_AT_LEAST = 8
_LAST_WORDS = 3  # a report of drops may make the spool drop more; reports are small
_T = TypeVar("_T")
_WARN_EVERY_S = 30.0
_PERMANENT = frozenset({KafkaError.MSG_SIZE_TOO_LARGE, KafkaError.INVALID_MSG, KafkaError.INVALID_RECORD})
_NO_TOPIC = frozenset({KafkaError.UNKNOWN_TOPIC_OR_PART, KafkaError._UNKNOWN_TOPIC})
COMPRESSION_LEVEL = 6
"""Of zstd: 9 makes it 2 % smaller and takes 10 MB while it compresses, three times as much."""
_SETTINGS: dict[str, str | int | bool] = {
    "client.id": "flamebus-agent",
    "enable.idempotence": True,
    "acks": "all",
    "compression.type": "zstd",
    "compression.level": COMPRESSION_LEVEL,
    "linger.ms": 300,  # long enough that all services' batches of an interval share one compressed record batch
    "batch.size": 1_000_000,
    "message.timeout.ms": 0,  # librdkafka retries in order for ever; memory is bounded by what we put in flight
    "queue.buffering.max.kbytes": 16 * 1024,
    "socket.timeout.ms": 10_000,
    "reconnect.backoff.max.ms": 2_000,
    "topic.metadata.refresh.interval.ms": 60_000,
}


@dataclass(slots=True)
class _InFlight:
    record: Record
    position: Spooled | None
    since_s: float
    is_evicted: bool = False


class KafkaSink:
    """Publishes records. One thread; delivery reports come in :meth:`poll`."""

    def __init__(
        self,
        bootstrap_servers: str,
        spool: Spool,
        losses: LossLedger,
        monotonic_s: Callable[[], float] = time.monotonic,
    ) -> None:
        """Connects in the background; a broker that is away is no error here.

        Raises:
            BusUnavailableError: the address is not one that librdkafka takes.
        """
        self._settings = {**_SETTINGS, "bootstrap.servers": bootstrap_servers, "error_cb": self._complain}
        self._spool, self._losses, self._monotonic_s = spool, losses, monotonic_s
        self._in_flight: dict[int, _InFlight] = {}
        self._in_flight_bytes = 0
        self._ticket = 0
        self._retry_at_s = 0.0
        self._warn_at_s = 0.0
        self._is_broken = False
        self.delivered_count = 0
        """Records confirmed since the start."""
        metrics.SPOOL_DAMAGED.set(spool.damaged_count)
        self._producer = self._connect()

    def _connect(self) -> Any:
        try:
            return Producer(self._settings, logger=logging.getLogger("flamebus.librdkafka"))
        except KafkaException as error:
            message = f"cannot use {self._settings['bootstrap.servers']} as a bus: {error}"
            raise BusUnavailableError(message) from error

    @property
    def waiting_count(self) -> int:
        """Records that are not confirmed yet, on disk or in flight."""
        return len(self._spool) + sum(flight.position is None for flight in self._in_flight.values())

    def publish(self, records: Sequence[Record]) -> None:
        """Hand records over, oldest first. Returns at once; they are sent, or kept, or counted as ``spool_full``."""
        metrics.BATCHES.inc(len(records))
        for number, record in enumerate(records):
            if self._has_backlog() or self._is_stalled() or not self._send(record, None):
                self._keep(records[number:])
                break
        self.poll()

    def poll(self) -> None:
        """Take delivery reports, move what stalls to disk, send from disk what the broker may take again."""
        self._producer.poll(0)
        if self._is_broken:
            self._reconnect()
        if self._is_stalled():
            self._persist_in_flight()
        if self._has_backlog() and self._monotonic_s() >= self._retry_at_s:
            self._drain_spool()
        metrics.SPOOL_BYTES.set(self._spool.size_bytes)
        metrics.SPOOL_RECORDS.set(len(self._spool))

    def _has_backlog(self) -> bool:
        return len(self._spool) > sum(flight.position is not None for flight in self._in_flight.values())

    def _is_stalled(self) -> bool:
        oldest = next(iter(self._in_flight.values()), None)
        return oldest is not None and self._monotonic_s() - oldest.since_s > _STALL_S

    def _send(self, record: Record, position: Spooled | None) -> bool:
        size = len(record.value)
        if self._in_flight and self._in_flight_bytes + size > _IN_FLIGHT_BYTES:
            return False
        self._ticket += 1
        ticket = self._ticket
        try:
            self._producer.produce(
                record.topic,
                key=record.key.encode(),
                value=record.value,
                headers=list(record.headers),
                on_delivery=lambda error, _message: self._report(ticket, error),
            )
        except BufferError:
            return False
        except KafkaException as error:
            return self._not_taken(record, position, error.args[0])
        self._in_flight[ticket] = _InFlight(record, position, self._monotonic_s())
        self._in_flight_bytes += size
        return True

    def _not_taken(self, record: Record, position: Spooled | None, error: KafkaError) -> bool:
        """Whether a record that produce() refused is settled all the same (it never can be sent)."""
        if error.code() in _PERMANENT:
            self._refuse(record, position, error)
            return True
        self._is_broken = self._is_broken or error.fatal()
        self._retry_at_s = self._monotonic_s() + _RETRY_S
        return False

    def _report(self, ticket: int, error: KafkaError | None) -> None:
        flight = self._in_flight.pop(ticket, None)
        if flight is None:
            return  # it was put back when the producer was replaced
        self._in_flight_bytes -= len(flight.record.value)
        if error is None:
            self.delivered_count += 1
            metrics.DELIVERED.inc()
            metrics.DELIVERED_BYTES.inc(len(flight.record.value))
            if flight.position is not None:
                self._spool.delivered(flight.position)
        elif error.code() in _PERMANENT:
            self._refuse(flight.record, flight.position, error)
        else:
            self._complain(error)
            metrics.RETRIED.labels(error.name()).inc()
            self._retry_at_s = self._monotonic_s() + _RETRY_S
            if flight.position is None:
                self._keep([flight.record])

    def _refuse(self, record: Record, position: Spooled | None, error: KafkaError) -> None:
        LOG.error("the bus refuses a batch of %s (%d bytes): %s", record.key, len(record.value), error.str())
        self._drop(record, "refused")
        if position is not None:
            self._spool.delivered(position)

    def _keep(self, records: Sequence[Record]) -> None:
        """Behind everything that is in flight, which is therefore written first."""
        self._persist_in_flight()
        for piece in self._pieces(records, lambda record: len(record.value)):
            _, dropped = self._spool.append(piece)
            self._count_dropped(dropped)

    def _pieces(self, items: Sequence[_T], size_of: Callable[[_T], int]) -> Iterator[list[_T]]:
        """In files of a fraction of the spool's limit each: a file is dropped as a whole."""
        piece: list[_T] = []
        size = 0
        for item in items:
            if piece and size + size_of(item) > self._spool.limit_bytes // _FILES_AT_LEAST:
                yield piece
                piece, size = [], 0
            piece.append(item)
            size += size_of(item)
        if piece:
            yield piece

    def _persist_in_flight(self) -> None:
        bare = [flight for flight in self._in_flight.values() if flight.position is None and not flight.is_evicted]
        for piece in self._pieces(bare, lambda flight: len(flight.record.value)):
            self._persist(piece)

    def _persist(self, bare: list[_InFlight]) -> None:
        positions, dropped = self._spool.append([flight.record for flight in bare])
        for flight, position in zip(bare, positions, strict=False):
            flight.position = position
        for flight in bare[len(positions) :]:
            flight.is_evicted = True  # the spool refuses it; it is still in flight and may yet arrive
        self._count_dropped([each for each in dropped if each.position is not None])

    def _count_dropped(self, dropped: Sequence[Dropped]) -> None:
        flying = {flight.position: flight for flight in self._in_flight.values() if flight.position is not None}
        for each in dropped:
            flight = flying.get(each.position) if each.position is not None else None
            if flight is not None:
                flight.position, flight.is_evicted = None, True
            else:
                self._drop(each.record, "spool_full")

    def _drain_spool(self) -> None:
        flying = {flight.position for flight in self._in_flight.values()}
        for position, record in self._spool.records():
            if position not in flying and not self._send(record, position):
                break

    def _reconnect(self) -> None:
        """After a fatal error of the idempotent producer: put everything back and start a new one."""
        LOG.warning("the Kafka producer failed fatally and is replaced")
        self._persist_in_flight()
        self._give_up_evicted()
        self._in_flight.clear()
        self._in_flight_bytes = 0
        self._is_broken = False
        self._producer.purge()
        self._producer = self._connect()

    def _give_up_evicted(self) -> None:
        for flight in self._in_flight.values():
            if flight.is_evicted:
                self._drop(flight.record, "spool_full")

    def _drop(self, record: Record, reason: str) -> None:
        metrics.LOSSES.labels(reason).inc(record.samples)
        self._losses.add(record.dropped(reason), record.key)

    def _complain(self, error: KafkaError) -> None:
        self._is_broken = self._is_broken or error.fatal()
        now_s = self._monotonic_s()
        if now_s >= self._warn_at_s:
            self._warn_at_s = now_s + _WARN_EVERY_S
            advice = "; create the topics: flamebus topics create" if error.code() in _NO_TOPIC else ""
            LOG.warning(
                "the bus %s does not take batches: %s; sampling goes on, batches wait in the spool%s",
                self._settings["bootstrap.servers"],
                error.str(),
                advice,
            )

    def close(self, deadline_s: float, last_words: Callable[[], Sequence[Record]] = tuple) -> None:
        """Wait up to ``deadline_s`` for confirmations, then leave the rest in the spool for the next start.

        Args:
            deadline_s: seconds.
            last_words: records that report what even now had to be dropped; they are left as well.
        """
        end_s = self._monotonic_s() + deadline_s
        while self.waiting_count and self._monotonic_s() < end_s:
            self._producer.poll(0.05)
            self.poll()
        self._persist_in_flight()
        self._give_up_evicted()
        self._in_flight.clear()
        self._producer.purge()
        self._producer.poll(0)
        for _ in range(_LAST_WORDS):
            self._keep(last_words())
        self._spool.close()
