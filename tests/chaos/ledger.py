"""What was published, to the sample: the truth that everything read back is compared with."""

from __future__ import annotations

import random
import threading
from collections import Counter
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import numpy as np

from flamebus.frames import Line, Location, Mapping
from flamebus.profile import SampleBatch, Samples, SampleType
from flamebus.tables import TablesBuilder
from flamebus.window import window_start
from flamebus.wire.batch import encode_batch

if TYPE_CHECKING:
    from collections.abc import Sequence

SERVICES = tuple(f"service-{number}" for number in range(7))
HOSTS = ("host-a", "host-b", "host-c")
PERIOD_NS = 10_000_000
INTERVAL_NS = 250_000_000  # divides every window used here, so no batch straddles two
CPU = SampleType("cpu", "nanoseconds")
_LIBRARY = Mapping("/usr/lib/libwork.so.1", "ab" * 20)
_FUNCTIONS = [Location(_LIBRARY, 64 * n, lines=(Line(f"work_{n}"),)) for n in range(1, 40)]


@dataclass(frozen=True, slots=True)
class Cell:
    """One service in one window."""

    service: str
    window_start_unix_nano: int


@dataclass(slots=True)
class Ledger:
    """Delivered samples by cell, and delivered records that must become dead letters.

    Attributes:
        samples, totals: weights and value × weight of good records, each counted once however often it was sent.
        dead_records: delivered copies of records that no worker can use.
    """

    window_size_ns: int
    samples: Counter[Cell] = field(default_factory=Counter)
    totals: Counter[Cell] = field(default_factory=Counter)
    dead_records: int = 0
    _seen: set[bytes] = field(default_factory=set)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def deliver(self, service: str, batch: SampleBatch) -> None:
        """Note that the broker has taken this batch."""
        with self._lock:
            if batch.batch_id in self._seen:
                return
            self._seen.add(batch.batch_id)
            cell = Cell(service, window_start(batch.start_unix_nano, self.window_size_ns))
            self.samples[cell] += round(float(batch.samples.weight.sum()))
            self.totals[cell] += round(float(batch.samples.totals().sum()))

    def deliver_dead(self) -> None:
        """Note that the broker has taken a record that no worker can use."""
        with self._lock:
            self.dead_records += 1

    def samples_by_service(self) -> Counter[str]:
        """All good samples of each service."""
        result: Counter[str] = Counter()
        for cell, samples in self.samples.items():
            result[cell.service] += samples
        return result


class BatchFactory:
    """Makes batches from a seed: the same seed and times give the same batches."""

    def __init__(self, seed: int) -> None:
        self._rng = random.Random(seed)
        self._sequence = 0

    def batch(self, service: str, host: str, unix_nano: int) -> SampleBatch:
        """A batch of 50–300 samples inside the interval that ``unix_nano`` lies in."""
        rng = self._rng
        start = window_start(unix_nano, INTERVAL_NS)
        builder = TablesBuilder()
        stacks = [builder.stack(self._locations()) for _ in range(rng.randint(3, 20))]
        resource = builder.resource((("service.name", service),))
        thread = builder.thread(7, "main")
        count = rng.randint(50, 300)
        self._sequence += 1
        return SampleBatch(
            batch_id=rng.randbytes(16),
            sequence=self._sequence,
            host=host,
            boot_id="boot",
            agent_version="0",
            kind="cpu",
            sample_type=CPU,
            period_type=CPU,
            period=PERIOD_NS,
            start_unix_nano=start,
            end_unix_nano=start + INTERVAL_NS,
            tables=builder.build(),
            samples=Samples(
                stack=np.array([rng.choice(stacks) for _ in range(count)], dtype=np.uint32),
                resource=np.full(count, resource, dtype=np.uint32),
                thread=np.full(count, thread, dtype=np.uint32),
                value=np.full(count, PERIOD_NS, dtype=np.int64),
                weight=np.array([rng.choice((1.0, 1.0, 3.0)) for _ in range(count)], dtype=np.float32),
                time_delta=np.sort(np.array([rng.randrange(2500) for _ in range(count)], dtype=np.uint32)),
            ),
        )

    def _locations(self) -> Sequence[Location]:
        return [self._rng.choice(_FUNCTIONS) for _ in range(self._rng.randint(1, 12))]

    def poison(self, good: SampleBatch) -> bytes:
        """A record that no worker can use, in one of the ways that records go bad."""
        data = encode_batch(good)
        rng = self._rng
        lying = replace(good.tables.stacks, id=good.tables.stacks.id ^ np.uint64(1))
        return rng.choice(
            (
                data[: rng.randrange(1, len(data))],
                rng.randbytes(100),
                data.replace(b"\xaeschema_version\x01", b"\xaeschema_version\x7f", 1),
                encode_batch(replace(good, tables=replace(good.tables, stacks=lying))),
                data + b"\x00",
            )
        )

    def oversized(self, good: SampleBatch) -> bytes:
        """A valid batch that compresses well, so that it passes the broker, and is too large once unpacked."""
        padding = tuple(f"{number:0>4096}" for number in range(2200))
        return encode_batch(replace(good, tables=replace(good.tables, strings=good.tables.strings + padding)))
