"""Writes a small store through the real path of a worker: batches, windows, the store's writer."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

import numpy as np

from flamebus.frames import FrameKind, Line, Location, Mapping
from flamebus.profile import Loss, SampleBatch, Samples, SampleType
from flamebus.store.writer import StoreWriter
from flamebus.tables import TablesBuilder
from flamebus.wire.batch import encode_batch
from flamebus.wire.tick import Tick, encode_tick
from streams.windows import PartitionWindows, Record

if TYPE_CHECKING:
    from pathlib import Path

WINDOW_NS, LATENESS_NS = 10 * 10**9, 2 * 10**9
PERIOD_NS = 10_101_010
_CPU = SampleType("cpu", "nanoseconds")
_PROGRAM, _LIBC, _KERNEL = Mapping("/srv/app/checkout"), Mapping("/usr/lib/libc.so.6"), Mapping("[kernel]")


def _at(mapping: Mapping, function: str, kind: FrameKind = FrameKind.NATIVE) -> Location:
    return Location(mapping, 64, kind, (Line(function),))


STACKS: tuple[tuple[float, tuple[Location, ...]], ...] = (
    (60, (_at(_PROGRAM, "parse_order"), _at(_PROGRAM, "handle_request"), _at(_PROGRAM, "main"))),
    (25, (_at(_LIBC, "memcpy"), _at(_PROGRAM, "render_page"), _at(_PROGRAM, "handle_request"), _at(_PROGRAM, "main"))),
    (14, (_at(_KERNEL, "tcp_sendmsg", FrameKind.KERNEL), _at(_LIBC, "send"), _at(_PROGRAM, "main"))),
    (1, (_at(_PROGRAM, "rare_cleanup"), _at(_PROGRAM, "main"))),
)
"""Weight and locations, leaf first."""


def batch(service: str, start: int, rng: random.Random) -> SampleBatch:
    """One interval of a service."""
    builder = TablesBuilder()
    stacks = [builder.stack(locations) for _, locations in STACKS]
    builder.resource((("service.name", service),))
    builder.thread(1, "main")
    count = 400
    return SampleBatch(
        batch_id=rng.randbytes(16),
        sequence=1,
        host="host-a",
        boot_id="boot",
        agent_version="0",
        kind="cpu",
        sample_type=_CPU,
        period_type=_CPU,
        period=PERIOD_NS,
        start_unix_nano=start,
        end_unix_nano=start + WINDOW_NS,
        tables=builder.build(),
        samples=Samples(
            stack=np.array(rng.choices(stacks, [weight for weight, _ in STACKS], k=count), dtype=np.uint32),
            resource=np.zeros(count, dtype=np.uint32),
            thread=np.zeros(count, dtype=np.uint32),
            value=np.full(count, PERIOD_NS, dtype=np.int64),
            weight=np.ones(count, dtype=np.float32),
            time_delta=np.sort(np.array([rng.randrange(100_000) for _ in range(count)], dtype=np.uint32)),
        ),
        losses=(Loss("ring_full", 3),),
    )


def write_store(folder: Path, services: tuple[str, ...], until_unix_nano: int, windows: int = 12) -> None:
    """A store with the last ``windows`` windows before ``until_unix_nano``."""
    rng = random.Random(7)
    partition = PartitionWindows("flamebus.samples.cpu.v1", 0, WINDOW_NS, LATENESS_NS)
    first = until_unix_nano - until_unix_nano % WINDOW_NS - windows * WINDOW_NS
    offset = 0
    for number in range(windows):
        start = first + number * WINDOW_NS
        for service in services:
            partition.add(Record(offset, start + WINDOW_NS, encode_batch(batch(service, start, rng))))
            offset += 1
    end = first + (windows + 2) * WINDOW_NS
    partition.add(Record(offset, end, encode_tick(Tick(end))))
    writer = StoreWriter(str(folder))
    for closed in partition.take_closed():
        writer.write(closed.origin, closed.profiles)
