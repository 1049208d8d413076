"""One service's merged profile of one window: what streams compute, the store keeps and hotspots are ranked from."""

from collections.abc import Mapping
from dataclasses import dataclass

from flamebus.frames import Location
from flamebus.profile import F64, I64, U32, U64, Loss, Resource, SampleType
from flamebus.window import Window

HEAT_BIN_NS = 20_000_000
"""Width of a bin of the sub-second heat map: 20 ms shows a 50 Hz pattern and makes 500 bins of a ten-second window."""


@dataclass(frozen=True, slots=True)
class ProfileRows:
    """Columns of shape ``(n_rows,)``, one row per (stack, resource), sorted by stack id, then resource.

    Attributes:
        stack_id: content hash; resource: row of the profile's ``resources``.
        value: sum of value × weight, in the sample type's unit; samples: sum of weights.
        variance: sum of (value × weight)², the variance of ``value`` when each recorded sample is a Poisson event.
    """

    stack_id: U64
    resource: U32
    value: I64
    samples: F64
    variance: F64


@dataclass(frozen=True, slots=True)
class WindowProfile:
    """Everything known of one (service, kind, window) in one partition of the log.

    Attributes:
        resources: attribute maps with ``host.name``; stacks: locations (leaf first) of every stack id in ``rows``.
        heat: samples per ``HEAT_BIN_NS`` since the window's start, rounded, shape ``(size / HEAT_BIN_NS,)``.
        losses: samples missing by reason; late: samples that came after their window had closed, found while this
            window was the one the watermark stood in.
    """

    service: str
    kind: str
    window: Window
    partition: int
    sample_type: SampleType
    period_type: SampleType
    period: int
    rows: ProfileRows
    resources: tuple[Resource, ...]
    stacks: Mapping[int, tuple[Location, ...]]
    heat: I64
    losses: tuple[Loss, ...]
    late_samples: float
    late_value: int

    @property
    def total(self) -> int:
        """Sum of value × weight, in the sample type's unit."""
        return int(self.rows.value.sum())

    @property
    def samples(self) -> float:
        """Sum of weights."""
        return float(self.rows.samples.sum())


@dataclass(frozen=True, slots=True)
class LogRange:
    """The records that closed windows were computed from: ``[first_offset, last_offset]`` of one partition."""

    topic: str
    partition: int
    first_offset: int
    last_offset: int
