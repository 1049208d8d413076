"""Sums of one (service, kind, window), vectorised: one look-up per distinct (stack, resource) of a batch."""

from collections import Counter
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from flamebus.profile import F64, I64, U32, U64, Loss, Resource, SampleType
from flamebus.window import Window
from flamebus.window_profile import HEAT_BIN_NS, ProfileRows, WindowProfile
from streams.stacks import StackDictionary

_GROWTH_ROWS = 256


@dataclass(frozen=True, slots=True)
class Additions:
    """Samples of one batch that belong to one cell, as columns of shape ``(n,)``.

    Attributes:
        stack_id: content hash per row; resource: row of ``resources``; offset_ns: time since the window's start.
        total: value × weight; weight: as sent.
    """

    stack_id: U64
    resource: U32
    resources: tuple[Resource, ...]
    total: F64
    weight: F64
    offset_ns: I64


@dataclass(slots=True)
class Cell:
    """Growing sums of one (service, kind, window). float64 sums of integers are exact below 2**53."""

    window: Window
    sample_type: SampleType
    period_type: SampleType
    period: int
    losses: Counter[str] = field(default_factory=Counter)
    loss_values: Counter[str] = field(default_factory=Counter)
    late_samples: float = 0.0
    late_value: float = 0.0
    _rows: dict[tuple[int, int], int] = field(default_factory=dict)
    _resources: dict[Resource, int] = field(default_factory=dict)
    _sums: F64 = field(default_factory=lambda: np.zeros((3, _GROWTH_ROWS)))
    _heat: F64 | None = None

    def add(self, more: Additions) -> None:
        """Add samples to value, samples, variance and heat."""
        stack_ids, stack = np.unique(more.stack_id, return_inverse=True)
        n_resources = len(more.resources)
        key = stack * n_resources + more.resource
        size = len(stack_ids) * n_resources
        sums = np.stack(
            [np.bincount(key, weights, size) for weights in (more.total, more.weight, more.total * more.total)]
        )
        present = np.flatnonzero(np.bincount(key, minlength=size))
        rows = self._row_numbers(
            stack_ids[present // n_resources].tolist(),
            [self._resource(more.resources[row]) for row in (present % n_resources).tolist()],
        )
        self._sums[:, rows] += sums[:, present]
        bins = self.window.size_ns // HEAT_BIN_NS
        bin_of = np.minimum(more.offset_ns // HEAT_BIN_NS, bins - 1)
        heat = np.bincount(bin_of, more.weight, bins).astype(np.float64)
        self._heat = heat if self._heat is None else self._heat + heat

    def add_late(self, samples: float, value: float) -> None:
        """Count samples that came too late for their own window."""
        self.late_samples += samples
        self.late_value += value

    def add_losses(self, losses: tuple[Loss, ...]) -> None:
        """Count what did not arrive, by reason."""
        for loss in losses:
            self.losses[loss.reason] += loss.samples
            self.loss_values[loss.reason] += loss.value

    def stack_ids(self) -> set[int]:
        """Every stack that this cell has rows of."""
        return {stack_id for stack_id, _ in self._rows}

    def _resource(self, resource: Resource) -> int:
        return self._resources.setdefault(resource, len(self._resources))

    def _row_numbers(self, stack_ids: list[int], resources: list[int]) -> NDArray[np.intp]:
        rows = self._rows
        numbers = [rows.setdefault(key, len(rows)) for key in zip(stack_ids, resources, strict=True)]
        missing = len(rows) - self._sums.shape[1]
        if missing > 0:
            self._sums = np.pad(self._sums, ((0, 0), (0, missing + self._sums.shape[1])))
        return np.array(numbers, dtype=np.intp)

    def profile(self, service: str, kind: str, partition: int, stacks: StackDictionary) -> WindowProfile:
        """The finished profile, rows and resources sorted, so that nothing depends on the order of arrival."""
        resources = tuple(sorted(self._resources))
        rank = {self._resources[resource]: number for number, resource in enumerate(resources)}
        order = sorted((stack_id, rank[resource], row) for (stack_id, resource), row in self._rows.items())
        rows = np.array([row for _, _, row in order], dtype=np.intp)
        bins = self.window.size_ns // HEAT_BIN_NS
        heat = np.zeros(bins) if self._heat is None else self._heat
        return WindowProfile(
            service=service,
            kind=kind,
            window=self.window,
            partition=partition,
            sample_type=self.sample_type,
            period_type=self.period_type,
            period=self.period,
            rows=ProfileRows(
                stack_id=np.array([stack_id for stack_id, _, _ in order], dtype=np.uint64),
                resource=np.array([resource for _, resource, _ in order], dtype=np.uint32),
                value=np.rint(self._sums[0, rows]).astype(np.int64),
                samples=self._sums[1, rows],
                variance=self._sums[2, rows],
            ),
            resources=resources,
            stacks={stack_id: stacks[stack_id] for stack_id, _, _ in order},
            heat=np.rint(heat).astype(np.int64),
            losses=tuple(Loss(r, n, self.loss_values[r]) for r, n in sorted(self.losses.items())),
            late_samples=self.late_samples,
            late_value=round(self.late_value),
        )
