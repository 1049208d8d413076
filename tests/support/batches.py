"""Valid batches for tests: one that is written out by hand, and strategies for arbitrary ones."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from hypothesis import strategies as st

from flamebus.frames import FrameKind, Line, Location, Mapping
from flamebus.profile import TIME_DELTA_UNIT_NS, Loss, SampleBatch, Samples, SampleType
from flamebus.tables import TablesBuilder

if TYPE_CHECKING:
    from collections.abc import Sequence

    from flamebus.profile import Resource

START_UNIX_NANO = 1_767_225_600_000_000_000  # 2026-01-01T00:00:00Z, start of a ten-second window
WINDOW_NS = 10 * 10**9

Row = tuple["Sequence[Location]", "Resource", tuple[int, str], int, float, int]
"""One sample: locations leaf first, resource, (tid, thread name), value, weight, time delta in 100 µs."""

LIBC = Mapping("/usr/lib/libc.so.6", "00ff", 0x1000, 0x9000, 0x400)
KERNEL = Mapping("[kernel]")
MAIN = Location(Mapping("/opt/shop/checkout", "abcd", 0x400000, 0x500000), 0x401000, lines=(Line("main", "main.c", 7),))
WORK = Location(
    Mapping("/opt/shop/checkout", "abcd", 0x400000, 0x500000),
    0x402000,
    lines=(Line("inlined", "work.h", 3), Line("work", "work.c", 12)),
)
UNRESOLVED = Location(LIBC, 0x1A2B)
READ = Location(KERNEL, 0xFFFFFFFF81000000, FrameKind.KERNEL, (Line("vfs_read"),))
CHECKOUT: Resource = (("host.name", "host-1"), ("service.name", "checkout"))
CART: Resource = (("host.name", "host-1"), ("service.name", "cart"))


def make_batch(
    rows: Sequence[Row],
    *,
    batch_id: bytes = bytes(range(16)),
    start_unix_nano: int = START_UNIX_NANO,
    losses: tuple[Loss, ...] = (),
    is_window: bool = False,
    host: str = "host-1",
) -> SampleBatch:
    """A cpu batch of ten seconds with these samples; a window has no time deltas."""
    builder = TablesBuilder()
    stack = [builder.stack(row[0]) for row in rows]
    resource = [builder.resource(row[1]) for row in rows]
    thread = [builder.thread(*row[2]) for row in rows]
    return SampleBatch(
        batch_id=batch_id,
        sequence=3,
        host="" if is_window else host,
        boot_id="" if is_window else "3f1c8a1e-0000-4000-8000-000000000001",
        agent_version="0.1.0",
        kind="cpu",
        sample_type=SampleType("cpu", "nanoseconds"),
        period_type=SampleType("cpu", "nanoseconds"),
        period=10_101_010,
        start_unix_nano=start_unix_nano,
        end_unix_nano=start_unix_nano + WINDOW_NS,
        tables=builder.build(),
        samples=Samples(
            stack=np.array(stack, dtype=np.uint32),
            resource=np.array(resource, dtype=np.uint32),
            thread=np.array(thread, dtype=np.uint32),
            value=np.array([row[3] for row in rows], dtype=np.int64),
            weight=np.array([row[4] for row in rows], dtype=np.float32),
            time_delta=None if is_window else np.array([row[5] for row in rows], dtype=np.uint32),
        ),
        losses=losses,
    )


def known_batch(*, is_window: bool = False) -> SampleBatch:
    """Five samples of two services: inlined, unresolved, kernel and empty stacks; the golden bytes are of this one."""
    period = 10_101_010
    return make_batch(
        [
            ((WORK, MAIN), CHECKOUT, (71, "worker-1"), period, 1.0, 0),
            ((WORK, MAIN), CHECKOUT, (72, "worker-2"), period, 2.5, 101),
            ((READ, UNRESOLVED, MAIN), CHECKOUT, (71, "worker-1"), period, 1.0, 202),
            ((MAIN,), CART, (90, "cärt"), 2**40, 1.0, 99_999),
            ((), CART, (90, "cärt"), period, 1.0, 50_000),
        ],
        losses=(Loss("ring_full", 7, 70_707_070), Loss("stack_missing", 1)),
        is_window=is_window,
    )


_TEXT = st.text(max_size=12)
_U32 = st.integers(0, 2**32 - 1)
_U64 = st.integers(0, 2**64 - 1)
_MAPPINGS = st.builds(Mapping, _TEXT, st.text("0123456789abcdef", max_size=40), _U64, _U64, _U64)
_LINES = st.lists(st.builds(Line, st.text(min_size=1, max_size=12), _TEXT, _U32), max_size=3).map(tuple)
LOCATIONS = st.builds(Location, _MAPPINGS, _U64, st.sampled_from(FrameKind), _LINES)
RESOURCES = st.dictionaries(_TEXT, _TEXT, max_size=4).map(lambda entries: tuple(sorted(entries.items())))
_WORDS = st.from_regex(r"[a-z][a-z0-9_]{0,11}", fullmatch=True)
_LOSSES = st.builds(Loss, _WORDS, st.integers(0, 2**53), st.integers(0, 2**53))
LOSSES = st.lists(_LOSSES, max_size=3).map(tuple)


@st.composite
def batches(draw: st.DrawFn, min_samples: int = 0) -> SampleBatch:
    """Arbitrary valid batches and windows, small; stacks share locations, as real ones do."""
    pool = draw(st.lists(LOCATIONS, min_size=1, max_size=6))
    stacks = st.lists(st.sampled_from(pool), max_size=6)
    threads = st.tuples(_U32, _TEXT)
    weights = st.floats(2**-10, 2**12, width=32)
    last_delta = WINDOW_NS // TIME_DELTA_UNIT_NS - 1
    row = st.tuples(stacks, RESOURCES, threads, st.integers(0, 2**36), weights, st.integers(0, last_delta))
    return make_batch(
        draw(st.lists(row, min_size=min_samples, max_size=12)),
        batch_id=draw(st.binary(min_size=16, max_size=16)),
        start_unix_nano=draw(st.integers(0, 2**62)),
        losses=draw(LOSSES),
        is_window=draw(st.booleans()),
        host=draw(_TEXT),
    )


def same_columns(first: object, second: object) -> bool:
    """Whether two tables of columns hold the same numbers of the same types."""
    names = type(first).__dataclass_fields__  # type: ignore[attr-defined]  # any of the column tables
    return type(first) is type(second) and all(
        (a is None and b is None) or (a is not None and b is not None and a.dtype == b.dtype and np.array_equal(a, b))
        for a, b in ((getattr(first, name), getattr(second, name)) for name in names)
    )
