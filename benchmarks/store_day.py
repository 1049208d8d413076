"""A day of a fleet: services of skewed load, each with its own variants of recorded stacks."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import xxhash

from flamebus.frames import EMPTY_STACK_ID, FrameKind, Line, Location, Mapping, extend_stack_id
from flamebus.profile import F64, SampleType
from flamebus.window import DEFAULT_WINDOW_SIZE_NS, Window
from flamebus.window_profile import HEAT_BIN_NS, LogRange, ProfileRows, WindowProfile

RECORDED = Path(__file__).parent / "data" / "recorded_stacks.json"
TOPIC = "flamebus.samples.cpu.v1"
SERVICES = 100
PARTITIONS = 4
PERIOD_NS = 10_101_010
BUSIEST_SAMPLES = 2_000
"""Per window: two busy cores at 99 Hz. The service of rank n has an n-th of it, as loads of fleets are skewed."""

MOST_STACKS, FEWEST_STACKS = 4_000, 300
"""Distinct stacks of a service over the day."""

DEPTH_LIMIT = 90
HOSTS = 3
WINDOWS_PER_HOUR = 3600 * 10**9 // DEFAULT_WINDOW_SIZE_NS
_CPU = SampleType("cpu", "nanoseconds")
_BINS = DEFAULT_WINDOW_SIZE_NS // HEAT_BIN_NS


@dataclass(frozen=True, slots=True)
class Service:
    """One service: its stacks, how likely each is, and how many samples a window has."""

    name: str
    partition: int
    stacks: tuple[tuple[int, tuple[Location, ...]], ...]
    likelihood: F64
    samples_per_window: float
    hosts: int


def recorded() -> list[tuple[tuple[str, str, int], ...]]:
    """Recorded stacks, root first, as (function, mapping, kind)."""
    data = json.loads(RECORDED.read_text())
    frames, nodes = [tuple(frame) for frame in data["frames"]], data["nodes"]

    def path(node: int) -> Iterator[tuple[str, str, int]]:
        while node:
            parent, frame = nodes[node - 1]
            yield frames[frame]
            node = parent

    return [tuple(reversed(tuple(path(leaf)))) for leaf in data["stacks"]]


def services(seed: int) -> list[Service]:
    """The fleet; the same for the same seed."""
    rng = np.random.default_rng(seed)
    seeds = recorded()
    return [_service(rank, seeds, rng) for rank in range(1, SERVICES + 1)]


def _service(rank: int, seeds: list[tuple[tuple[str, str, int], ...]], rng: np.random.Generator) -> Service:
    """Its own code is a third of the recorded functions, renamed; its stacks are recorded ones grafted on others."""
    name = f"service-{rank:03d}"
    # A frame's location and identity are made once: there are ten million frames in all stacks together.
    known = {frame: _location(name, *frame) for path in seeds for frame in path}
    identity = {frame: location.frames()[0].identity for frame, location in known.items()}
    found: dict[int, tuple[Location, ...]] = {}
    wanted = int(rng.integers(FEWEST_STACKS, MOST_STACKS))
    while len(found) < wanted:
        outer, inner = (seeds[int(number)] for number in rng.integers(0, len(seeds), 2))
        path = (*outer[: int(rng.integers(1, len(outer) + 1))], *inner[int(rng.integers(0, len(inner))) :])[
            :DEPTH_LIMIT
        ]
        number = EMPTY_STACK_ID
        for frame in path:
            number = extend_stack_id(number, identity[frame])
        found[number] = tuple(known[frame] for frame in reversed(path))
    weights = 1 / np.arange(1, wanted + 1)
    return Service(
        name=name,
        partition=xxhash.xxh3_64_intdigest(name.encode()) % PARTITIONS,
        stacks=tuple(sorted(found.items())),
        likelihood=rng.permutation(weights / weights.sum()),
        samples_per_window=BUSIEST_SAMPLES / rank,
        hosts=1 + rank % HOSTS,
    )


def _location(service: str, function: str, mapping: str, kind: int) -> Location:
    is_own = xxhash.xxh3_64_intdigest(function.encode()) % 3 == 0
    where = Mapping(f"/srv/{service}" if is_own else f"/usr/lib/{mapping}")
    return Location(where, 64, FrameKind(kind), (Line(f"{service}.{function}" if is_own else function),))


def window(service: Service, start_unix_nano: int, rng: np.random.Generator) -> WindowProfile:
    """One window of a service: a Poisson number of samples, spread over stacks and hosts."""
    counts = rng.multinomial(rng.poisson(service.samples_per_window), service.likelihood)
    stack = np.flatnonzero(counts)
    host = rng.integers(0, service.hosts, len(stack)).astype(np.uint32)
    samples = counts[stack].astype(np.float64)
    value = counts[stack] * PERIOD_NS
    stacks = [service.stacks[number] for number in stack.tolist()]
    return WindowProfile(
        service=service.name,
        kind="cpu",
        window=Window(start_unix_nano, DEFAULT_WINDOW_SIZE_NS),
        partition=service.partition,
        sample_type=_CPU,
        period_type=_CPU,
        period=PERIOD_NS,
        rows=ProfileRows(
            np.array([number for number, _ in stacks], dtype=np.uint64),
            host,
            value,
            samples,
            samples * float(PERIOD_NS) ** 2,
        ),
        resources=tuple((("host.name", f"{service.name}-host-{number}"),) for number in range(service.hosts)),
        stacks=dict(stacks),
        heat=np.bincount(rng.integers(0, _BINS, int(samples.sum())), minlength=_BINS),
        losses=(),
        late_samples=0.0,
        late_value=0,
    )


def windows(fleet: list[Service], start_unix_nano: int, seed: int) -> Iterator[tuple[LogRange, list[WindowProfile]]]:
    """An hour, window by window and partition by partition, with the part of the log each would come from."""
    rng = np.random.default_rng([seed, start_unix_nano // 10**9])
    for number in range(WINDOWS_PER_HOUR):
        start = start_unix_nano + number * DEFAULT_WINDOW_SIZE_NS
        offset = start // DEFAULT_WINDOW_SIZE_NS
        for partition in range(PARTITIONS):
            members = [service for service in fleet if service.partition == partition]
            profiles = [window(service, start, rng) for service in members]
            yield LogRange(TOPIC, partition, offset, offset), profiles
