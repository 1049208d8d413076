"""The agent's loop: drain every second, resolve, and publish each interval soon after its end."""

import select
import time
from collections.abc import Callable
from dataclasses import dataclass

import xxhash

from flamebus.profile import Loss, SampleBatch, SampleType
from flamebus.wire.headers import cloud_event
from flamebus.wire.splitting import split_encoded
from flamebus.wire.topics import event_type, samples_topic
from producers import agent_metrics as metrics
from producers.batcher import Batcher, ServiceBatch
from producers.cpu import CpuDrain, CpuProducer
from producers.losses import LossLedger
from producers.own_cost import own_cost
from producers.resolve import SampleResolver
from producers.sink import KafkaSink
from producers.spool import Record

CPU_SAMPLE_TYPE = SampleType("cpu", "nanoseconds")
DRAIN_NS = 1_000_000_000
_GRACE_NS = 100_000_000  # the kernel's timers and clocks agree to far less; and one drain takes milliseconds
_JITTER_NS = 600_000_000
_CLOSE_S = 3.0


def jitter_ns(host: str) -> int:
    """How long after an interval's end this host publishes: the same every time, spread over hosts; at most 0.7 s."""
    return _GRACE_NS + xxhash.xxh3_64_intdigest(host.encode()) % _JITTER_NS


def boot_to_unix_ns() -> int:
    """What to add to the boot clock to get Unix time, ns; good to a few µs."""
    before = time.clock_gettime_ns(time.CLOCK_BOOTTIME)
    now = time.time_ns()
    return now - (before + time.clock_gettime_ns(time.CLOCK_BOOTTIME)) // 2


@dataclass(frozen=True, slots=True)
class Parts:
    """What the loop moves samples between."""

    producer: CpuProducer
    resolver: SampleResolver
    batcher: Batcher
    losses: LossLedger
    sink: KafkaSink


class Agent:
    """Runs until told to stop. One thread."""

    def __init__(self, parts: Parts, host: str, topic_prefix: str, interval_ns: int) -> None:
        self._parts, self._prefix, self._interval_ns = parts, topic_prefix, interval_ns
        self._source = f"/agent/{host}"
        self._jitter_ns = jitter_ns(host)
        self.samples_count = 0
        """Samples taken since the start."""

    def run(self, should_stop: Callable[[], bool], stop_descriptor: int, duration_ns: int | None = None) -> None:
        """Sample until stopped, then publish what is there and close the sink.

        Args:
            should_stop: asked after every wake-up.
            stop_descriptor: becomes readable when ``should_stop`` has become true.
            duration_ns: stop after this long; None: only when told.
        """
        waiter = select.poll()
        waiter.register(stop_descriptor, select.POLLIN)
        end = None if duration_ns is None else time.time_ns() + duration_ns
        next_drain = time.time_ns() + DRAIN_NS
        next_cut = self._cut_after(time.time_ns())
        while not should_stop():
            now = time.time_ns()
            if end is not None and now >= end:
                break
            if now >= next_drain or now >= next_cut:
                self.drain()
                next_drain = now + DRAIN_NS
            if now >= next_cut:
                self.publish(now - _GRACE_NS)
                next_cut = self._cut_after(now)
            self._parts.sink.poll()
            waiter.poll(max(1, (min(next_drain, next_cut, end or next_cut) - time.time_ns()) // 1_000_000))
        self._finish()

    def _cut_after(self, now: int) -> int:
        """The next time to publish: the end of an interval and our jitter."""
        jitter = min(self._jitter_ns, self._interval_ns // 2)
        return (now - jitter) // self._interval_ns * self._interval_ns + self._interval_ns + jitter

    def _finish(self) -> None:
        self.drain()
        self._parts.producer.stop()
        self.publish(time.time_ns() + 2 * self._interval_ns)
        self._parts.sink.close(_CLOSE_S)

    def drain(self) -> None:
        """Take what the kernel has and resolve it."""
        parts = self._parts
        drained: CpuDrain = parts.producer.drain()
        self.samples_count += len(drained.tgid)
        metrics.SAMPLES.labels("cpu").inc(len(drained.tgid))
        noted = [Loss(r.name.lower(), loss.samples_count, loss.value_ns) for r, loss in drained.losses.items()]
        for loss in noted:
            metrics.LOSSES.labels(loss.reason).inc(loss.samples)
        parts.losses.add(noted)
        parts.batcher.add(parts.resolver.resolve(drained, boot_to_unix_ns()))
        cost = own_cost()
        metrics.CPU_SECONDS.set(cost.cpu_s)
        metrics.MEMORY_BYTES.set(cost.memory_bytes)

    def publish(self, before_unix_nano: int) -> None:
        """Publish all intervals that ended by ``before_unix_nano``."""
        batches = self._parts.batcher.cut(before_unix_nano, time.time_ns())
        self._parts.sink.publish([record for batch in batches for record in self._records(batch)])

    def _records(self, batch: ServiceBatch) -> list[Record]:
        return [self._record(batch.service, part, data) for part, data in split_encoded(batch.batch)]

    def _record(self, service: str, batch: SampleBatch, data: bytes) -> Record:
        topic = samples_topic(batch.kind)
        kind = event_type(topic.stem)
        headers = cloud_event(batch.batch_id.hex(), self._source, kind, batch.start_unix_nano)
        weight, value = float(batch.samples.weight.sum()), float(batch.samples.totals().sum())
        return Record(
            topic.name(self._prefix), service, data, tuple(headers), round(weight), round(value), batch.losses
        )
