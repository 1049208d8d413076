"""Windows made by hand, so that a test knows what a store has to answer."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from flamebus.frames import FrameKind, Line, Location, Mapping, stack_id
from flamebus.profile import Loss, SampleType
from flamebus.store.layout import HOUR_NS
from flamebus.store.reader import StoreReader
from flamebus.time_range import TimeRange
from flamebus.window import DEFAULT_WINDOW_SIZE_NS, Window
from flamebus.window_profile import LogRange, ProfileRows, WindowProfile

if TYPE_CHECKING:
    from collections.abc import Sequence

START = 1_767_225_600 * 10**9  # 2026-01-01T00:00:00Z
HOUR = TimeRange(START, START + HOUR_NS)
TOPIC = "flamebus.samples.cpu.v1"
_CPU = SampleType("cpu", "nanoseconds")


class At:
    """A clock that stands where it is put."""

    def __init__(self, unix_nano: int) -> None:
        self.now = unix_nano

    def unix_nano(self) -> int:
        """See Clock."""
        return self.now


def stack_of(*functions: str) -> tuple[Location, ...]:
    """A stack, leaf first."""
    return tuple(Location(Mapping("/srv/app"), 64, FrameKind.NATIVE, (Line(function),)) for function in functions)


def profile(
    number: int, service: str, stacks: Sequence[tuple[tuple[str, ...], int]], partition: int = 0
) -> WindowProfile:
    """Window ``number`` of the hour with these stacks (leaf first) and values."""
    located = {stack_id(f for at in stack_of(*names) for f in at.frames()): stack_of(*names) for names, _ in stacks}
    ids = list(located)
    values = np.array([value for _, value in stacks], dtype=np.int64)
    order = np.argsort(np.array(ids, dtype=np.uint64))
    return WindowProfile(
        service=service,
        kind="cpu",
        window=Window(START + number * DEFAULT_WINDOW_SIZE_NS, DEFAULT_WINDOW_SIZE_NS),
        partition=partition,
        sample_type=_CPU,
        period_type=_CPU,
        period=10_101_010,
        rows=ProfileRows(
            np.array(ids, dtype=np.uint64)[order],
            np.zeros(len(ids), dtype=np.uint32),
            values[order],
            np.ones(len(ids)),
            np.ones(len(ids)),
        ),
        resources=((("host.name", "host-a"),),),
        stacks=located,
        heat=np.ones(500, dtype=np.int64),
        losses=(Loss("ring_full", 1),),
        late_samples=0.0,
        late_value=0,
    )


def origin(number: int, partition: int = 0, last: int | None = None) -> LogRange:
    """The records of one window; ``last`` when it was computed again from more of them."""
    return LogRange(TOPIC, partition, number * 10, number * 10 + 9 if last is None else last)


def answers(location: str, service: str) -> dict[str, object]:
    """Everything that a reader says about a service's hour; equal answers mean an equal store."""
    reader = StoreReader(location)
    found = reader.stacks(service, "cpu", HOUR)
    start, heat = reader.heat(service, "cpu", HOUR)
    return {
        "stacks": sorted((tuple(names), value) for names, value in found.named_stacks()),
        "samples": found.samples.sum(),
        "series": [(p.start_unix_nano, p.total) for p in reader.series(service, "cpu", HOUR, DEFAULT_WINDOW_SIZE_NS)],
        "losses": reader.losses(service, "cpu", HOUR),
        "heat": (start, heat.sum()),
        "services": reader.services(HOUR),
        "damaged": reader.damaged,
    }
