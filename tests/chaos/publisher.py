"""Publishes from a thread, like a few agents would, with the faults that a scenario asks for."""

from __future__ import annotations

import random
import threading
import time
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from confluent_kafka import Producer

from flamebus.wire.batch import encode_batch
from tests.chaos.ledger import HOSTS, SERVICES, BatchFactory

if TYPE_CHECKING:
    from collections.abc import Callable

    from flamebus.profile import SampleBatch
    from tests.chaos.ledger import Ledger

_ROUND_S = 0.2
_LATE_BY_NS = 20 * 10**9
_DELIVERY_TIMEOUT_MS = 120_000  # longer than any fault: what is not delivered at the end fails the test


@dataclass(frozen=True, slots=True)
class Mix:
    """Shares of records that are sent twice, sent for a long closed window, unusable, or too large."""

    duplicated: float = 0.0
    late: float = 0.0
    poison: float = 0.0
    oversized: float = 0.0


class Publisher:
    """Sends a batch per host for a few services five times a second, until stopped."""

    def __init__(self, bootstrap_servers: str, topic: str, ledger: Ledger, mix: Mix, seed: int) -> None:
        self._producer = Producer(
            {
                "bootstrap.servers": bootstrap_servers,
                "enable.idempotence": True,
                "compression.type": "zstd",
                "message.max.bytes": 20_000_000,
                "delivery.timeout.ms": _DELIVERY_TIMEOUT_MS,
                "log_level": 2,
            }
        )
        self._topic = topic
        self._ledger = ledger
        self._mix = mix
        self._rng = random.Random(seed)
        self._factory = BatchFactory(seed)
        self._is_stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="publisher", daemon=True)
        self.failures: list[str] = []

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """Stop, and wait until the broker has taken everything."""
        self._is_stopping.set()
        self._thread.join()
        left = self._producer.flush(_DELIVERY_TIMEOUT_MS / 1000)
        assert not left, f"{left} records were never delivered"
        assert not self.failures, self.failures[:3]

    def _run(self) -> None:
        while not self._is_stopping.wait(_ROUND_S):
            for host in HOSTS:
                for service in self._rng.sample(SERVICES, 3):
                    self._publish(service, host)
            self._producer.poll(0)

    def _publish(self, service: str, host: str) -> None:
        rng, mix = self._rng, self._mix
        is_late = rng.random() < mix.late
        batch = self._factory.batch(service, host, time.time_ns() - (_LATE_BY_NS if is_late else 0))
        self._send(service, encode_batch(batch), partial(self._ledger.deliver, service, batch))
        if rng.random() < mix.duplicated:
            self._send(service, encode_batch(batch), partial(self._ledger.deliver, service, batch))
        if rng.random() < mix.poison:
            self._send_dead(service, self._factory.poison(self._bad(service, host)))
        if rng.random() < mix.oversized:
            self._send_dead(service, self._factory.oversized(self._bad(service, host)))

    def _bad(self, service: str, host: str) -> SampleBatch:
        return self._factory.batch(service, host, time.time_ns())

    def _send_dead(self, service: str, data: bytes) -> None:
        self._send(service, data, self._ledger.deliver_dead)

    def _send(self, service: str, data: bytes, delivered: Callable[[], None]) -> None:
        def report(error: object, _message: object) -> None:
            if error is None:
                delivered()
            else:
                self.failures.append(str(error))

        self._producer.produce(self._topic, data, key=service.encode(), on_delivery=report)
