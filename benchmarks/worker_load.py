"""Batches as agents send them: 2,000 samples of one service of one host in ten seconds, from recorded stacks."""

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
import xxhash

from benchmarks.store_day import PERIOD_NS, recorded
from flamebus.frames import FrameKind, Line, Location, Mapping
from flamebus.profile import SampleBatch, Samples, SampleType
from flamebus.tables import TablesBuilder
from flamebus.window import DEFAULT_WINDOW_SIZE_NS
from flamebus.wire.batch import encode_batch

SAMPLES = 2_000
"""Two busy cores at 99 Hz for ten seconds."""

SERVICES = 8
VARIANTS = 8
"""Drawings of stacks per service: a batch shares most of its stacks with the service's others, as real ones do."""

THREADS = 8
_CPU = SampleType("cpu", "nanoseconds")
_TIME_DELTAS = DEFAULT_WINDOW_SIZE_NS // 100_000


@dataclass(frozen=True, slots=True)
class Encoded:
    """One record to publish."""

    service: str
    start_unix_nano: int
    value: bytes


class Fleet:
    """Makes batches; the same seed gives the same ones."""

    def __init__(self, seed: int, services: int = SERVICES) -> None:
        self._rng = np.random.default_rng(seed)
        paths = recorded()
        self.services = tuple(f"service-{number:03d}" for number in range(services))
        self._templates = {name: [self._template(name, paths) for _ in range(VARIANTS)] for name in self.services}

    def _template(self, service: str, paths: list[tuple[tuple[str, str, int], ...]]) -> SampleBatch:
        rng = self._rng
        weights = 1 / np.arange(1, len(paths) + 1)
        order = np.random.default_rng(xxhash.xxh3_64_intdigest(service.encode())).permutation(len(paths))
        chosen = order[rng.choice(len(paths), SAMPLES, p=weights / weights.sum())]
        builder = TablesBuilder()
        numbers, index = np.unique(chosen, return_inverse=True)
        stacks = [builder.stack([_location(service, *frame) for frame in reversed(paths[n])]) for n in numbers.tolist()]
        resource = builder.resource((("service.name", service),))
        threads = np.array([builder.thread(1000 + n, f"worker-{n}") for n in range(THREADS)], dtype=np.uint32)
        return SampleBatch(
            batch_id=bytes(16),
            sequence=0,
            host="",
            boot_id="3f1c8a1e-0000-4000-8000-000000000001",
            agent_version="0.1.0",
            kind="cpu",
            sample_type=_CPU,
            period_type=_CPU,
            period=PERIOD_NS,
            start_unix_nano=0,
            end_unix_nano=DEFAULT_WINDOW_SIZE_NS,
            tables=builder.build(),
            samples=Samples(
                stack=np.array(stacks, dtype=np.uint32)[index],
                resource=np.full(SAMPLES, resource, dtype=np.uint32),
                thread=threads[rng.integers(0, THREADS, SAMPLES)],
                value=np.full(SAMPLES, PERIOD_NS, dtype=np.int64),
                weight=np.ones(SAMPLES, dtype=np.float32),
                time_delta=np.zeros(SAMPLES, dtype=np.uint32),
            ),
        )

    def batch(self, service: str, host: str, start_unix_nano: int) -> SampleBatch:
        """One host's batch of one service of the ten seconds that begin at ``start_unix_nano``."""
        rng = self._rng
        templates = self._templates[service]
        template = templates[int(rng.integers(len(templates)))]
        times = np.sort(rng.integers(0, _TIME_DELTAS, SAMPLES)).astype(np.uint32)
        return replace(
            template,
            batch_id=rng.bytes(16),
            host=host,
            start_unix_nano=start_unix_nano,
            end_unix_nano=start_unix_nano + DEFAULT_WINDOW_SIZE_NS,
            samples=replace(template.samples, time_delta=times),
        )

    def window(self, start_unix_nano: int, hosts: int) -> Iterator[Encoded]:
        """A batch of every service from every host."""
        for host in range(hosts):
            for service in self.services:
                yield Encoded(
                    service, start_unix_nano, encode_batch(self.batch(service, f"host-{host}", start_unix_nano))
                )


def _location(service: str, function: str, mapping: str, kind: int) -> Location:
    is_own = xxhash.xxh3_64_intdigest(function.encode()) % 3 == 0
    where = Mapping(f"/srv/{service}" if is_own else f"/usr/lib/{mapping}", "ab" * 20)
    return Location(where, 64, FrameKind(kind), (Line(f"{service}.{function}" if is_own else function),))
