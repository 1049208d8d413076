"""Logs for tests of stream windows: small batches, ticks, and what a worker that never stops makes of them."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from flamebus.frames import Line, Location, Mapping
from flamebus.profile import SampleBatch, Samples, SampleType
from flamebus.tables import TablesBuilder
from flamebus.wire.batch import encode_batch
from flamebus.wire.tick import Tick, encode_tick
from streams.windows import PartitionWindows, Record

if TYPE_CHECKING:
    import random
    from collections.abc import Sequence

    from streams.closed import ClosedWindow
    from streams.position import Position

SECOND = 10**9
SIZE = 10 * SECOND
LATENESS = 2 * SECOND
START = 1_700_000_000 * SECOND
CPU = SampleType("cpu", "nanoseconds")
LIBRARY = Mapping("/usr/lib/libwork.so.1")
FUNCTIONS = [Location(LIBRARY, 16 * n, lines=(Line(f"f{n}"),)) for n in range(12)]


def batch(
    rng: random.Random, start: int, service: str = "checkout", host: str = "h1", span: int = SECOND
) -> SampleBatch:
    """Up to 40 samples of value 10 and weight 1 or 2."""
    builder = TablesBuilder()
    stacks = [builder.stack(rng.choices(FUNCTIONS, k=rng.randint(1, 5))) for _ in range(4)]
    resource = builder.resource((("service.name", service),))
    thread = builder.thread(1, "main")
    count = rng.randint(1, 40)
    return SampleBatch(
        batch_id=rng.randbytes(16),
        sequence=0,
        host=host,
        boot_id="b",
        agent_version="0",
        kind="cpu",
        sample_type=CPU,
        period_type=CPU,
        period=10,
        start_unix_nano=start,
        end_unix_nano=start + span,
        tables=builder.build(),
        samples=Samples(
            stack=np.array(rng.choices(stacks, k=count), dtype=np.uint32),
            resource=np.full(count, resource, dtype=np.uint32),
            thread=np.full(count, thread, dtype=np.uint32),
            value=np.full(count, 10, dtype=np.int64),
            weight=np.array(rng.choices((1.0, 2.0), k=count), dtype=np.float32),
            time_delta=np.array([rng.randrange(span // 100_000) for _ in range(count)], dtype=np.uint32),
        ),
    )


def lying(item: SampleBatch) -> SampleBatch:
    """The same under stack ids that are not the hashes of its frames; some are those of others."""
    ids = np.roll(item.tables.stacks.id, 1) if len(set(item.tables.stacks.id.tolist())) > 1 else item.tables.stacks.id
    ids = ids if not np.array_equal(ids, item.tables.stacks.id) else ids ^ np.uint64(1)
    return replace(item, tables=replace(item.tables, stacks=replace(item.tables.stacks, id=ids)))


def weight_of(item: SampleBatch) -> float:
    return float(item.samples.weight.sum())


def record(offset: int, item: SampleBatch, append: int | None = None) -> Record:
    return Record(offset, item.end_unix_nano if append is None else append, encode_batch(item))


def tick(offset: int, at: int) -> Record:
    return Record(offset, at, encode_tick(Tick(at)))


def fresh(position: Position | None = None) -> PartitionWindows:
    return PartitionWindows("t", 3, SIZE, LATENESS, position)


def emitted(windows: Sequence[ClosedWindow]) -> dict[tuple[int, str], float]:
    return {(w.window.start_unix_nano, p.service): p.samples for w in windows for p in w.profiles}
