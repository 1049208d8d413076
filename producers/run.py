"""The agent's loop: drain every second, resolve, and publish each interval soon after its end."""

import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import xxhash

from flamebus.profile import Loss, SampleBatch, SampleType
from flamebus.wire.headers import cloud_event
from flamebus.wire.splitting import split_encoded
from flamebus.wire.topics import event_type, samples_topic
from producers import agent_metrics as metrics
from producers.batcher import MAX_HELD_SAMPLES, Batcher, ServiceBatch
from producers.cpu import CpuDrain, CpuProducer
from producers.host import LiveHost
from producers.kernel.maps import online_cpus
from producers.kernel.sideband import Sideband, boot_nano
from producers.losses import LossLedger
from producers.own_cost import own_cost
from producers.resolve import SampleResolver
from producers.sink import KafkaSink
from producers.spool import Record
from producers.watch import Watch

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
    sideband: Sideband
    host: LiveHost
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
        self._taken: deque[tuple[int, CpuDrain]] = deque()
        self.samples_count = 0
        """Samples taken since the start."""

    def run(self, should_stop: Callable[[], bool], stop_descriptor: int, duration_ns: int | None = None) -> None:
        """Sample until stopped, then publish what is there and close the sink.

        Drains follow the monotonic clock, intervals the wall clock: setting that costs no sample.

        Args:
            should_stop: asked after every wake-up.
            stop_descriptor: becomes readable when ``should_stop`` has become true.
            duration_ns: stop after this long; None: only when told.
        """
        parts = self._parts
        watch = Watch(parts.sideband, parts.producer, parts.host, stop_descriptor)
        parts.host.pause = partial(self._pause, watch)
        now = time.monotonic_ns()
        end = None if duration_ns is None else now + duration_ns
        next_drain, next_cut = now + DRAIN_NS, self._cut_after(time.time_ns())
        while not should_stop() and (end is None or now < end):
            to_cut = next_cut - time.time_ns()
            if now >= next_drain or to_cut <= 0:
                self.drain()
                next_drain = now + DRAIN_NS
            if to_cut <= 0:
                self.publish(time.time_ns() - _GRACE_NS)
                self._measure()
            if not 0 < to_cut <= 2 * self._interval_ns:
                next_cut = self._cut_after(time.time_ns())
            parts.sink.poll()
            is_due = watch.rest(min(next_drain, now + next_cut - time.time_ns(), end or next_drain))
            now = time.monotonic_ns()
            next_drain = now if is_due else next_drain
        self._finish()

    def _cut_after(self, now: int) -> int:
        """The next time to publish: the end of an interval and our jitter."""
        jitter = min(self._jitter_ns, self._interval_ns // 2)
        return (now - jitter) // self._interval_ns * self._interval_ns + self._interval_ns + jitter

    def _finish(self) -> None:
        parts = self._parts
        parts.producer.detach()
        self.drain()
        while self._taken:
            self.drain()
        parts.producer.stop()
        self.publish(time.time_ns() + 2 * self._interval_ns)
        parts.sink.close(_CLOSE_S, self._last_words)

    def _last_words(self) -> list[Record]:
        """What was dropped since the last batch, and would else never be told."""
        losses = self._parts.losses
        for service in losses.services():
            losses.add(losses.take(service))  # one small batch for all, which a full spool still has room for
        return self._cut(time.time_ns()) if losses.services() else []

    def _pause(self, watch: Watch) -> None:
        """What cannot wait until a long drain has been resolved: programs that start, and rings that fill up."""
        watch.glance_if_due()
        if self._parts.producer.is_due():
            self._take()

    def _take(self) -> None:
        """Move what waits in the kernel's rings into our memory; beyond a limit it is dropped and counted."""
        begin = boot_nano()
        drained = self._parts.producer.drain()
        self._note(drained)
        if sum(len(each.tgid) for _, each in self._taken) + len(drained.tgid) <= MAX_HELD_SAMPLES:
            self._taken.append((begin, drained))
        else:
            dropped = Loss("agent_overloaded", len(drained.tgid), int(drained.weight_us.sum()) * 1000)
            metrics.LOSSES.labels(dropped.reason).inc(dropped.samples)
            self._parts.losses.add([dropped])

    def drain(self) -> None:
        """Take what the kernel has, then what happened to processes until then, and resolve.

        What is taken while that goes on is left to the next drain, so that publishing is never put off for long.
        """
        parts = self._parts
        self._take()
        for _ in range(len(self._taken)):
            begin, drained = self._taken.popleft()
            parts.host.follow(parts.sideband.drain())
            parts.batcher.add(parts.resolver.resolve(drained, boot_to_unix_ns()))
            parts.host.forget(begin)
        parts.sideband.follow(online_cpus())

    def _note(self, drained: CpuDrain) -> None:
        self.samples_count += len(drained.tgid)
        metrics.SAMPLES.labels("cpu").inc(len(drained.tgid))
        noted = [Loss(r.name.lower(), loss.samples_count, loss.value_ns) for r, loss in drained.losses.items()]
        for loss in noted:
            metrics.LOSSES.labels(loss.reason).inc(loss.samples)
        self._parts.losses.add(noted)

    def _measure(self) -> None:
        parts, cost = self._parts, own_cost()
        metrics.CPU_SECONDS.set(cost.cpu_s)
        metrics.MEMORY_BYTES.set(cost.memory_bytes)
        metrics.PROGRAM_SECONDS.set(parts.producer.stats().run_time_ns / 1e9)
        metrics.MAP_BYTES.set(parts.producer.locked_bytes() + parts.sideband.locked_bytes())
        metrics.PROCESSES.set(len(parts.host.processes))
        metrics.MAPPINGS.set(parts.host.processes.mappings_count)

    def publish(self, before_unix_nano: int) -> None:
        """Publish all intervals that ended by ``before_unix_nano``."""
        self._parts.sink.publish(self._cut(before_unix_nano))

    def _cut(self, before_unix_nano: int) -> list[Record]:
        batches = self._parts.batcher.cut(before_unix_nano, time.time_ns())
        return [record for batch in batches for record in self._records(batch)]

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
