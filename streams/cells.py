"""Sums of one (service, kind, window), vectorised: each batch is added up by itself, all of them once, at the end."""

from collections import Counter
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from flamebus.distinct import Selection
from flamebus.profile import F64, I64, U32, Loss, Resource, SampleType
from flamebus.window import Window
from flamebus.window_profile import HEAT_BIN_NS, ProfileRows, WindowProfile
from streams.closed import ClosedProfile
from streams.stacks import KnownStack, Numbers, StackCatalogue

_MERGE_ROWS = 16_384
"""Rows that may wait to be merged, beyond as many as there are merged ones: bounds memory at a few batches' worth."""

_SPARSE = 16
"""Of so many possible rows or more for each that is there, sorting is faster than marking."""


@dataclass(frozen=True, slots=True)
class Additions:
    """Samples of one batch that belong to one cell, as columns of shape ``(n,)``.

    Attributes:
        stack: row of ``known`` per sample; known: number of each stack of the batch in the catalogue.
        resource: row of ``resources`` per sample.
        total: value × weight; weight: as sent; offset_ns: time since the window's start.
    """

    stack: U32
    known: Numbers
    resource: U32
    resources: tuple[Resource, ...]
    total: F64
    weight: F64
    offset_ns: I64


@dataclass(frozen=True, slots=True)
class _Piece:
    """Sums per (stack content, resource) in order of arrival; ``sums`` are value, samples, variance: ``(3, n)``."""

    known: Numbers
    resource: NDArray[np.int32]
    sums: F64

    def __len__(self) -> int:
        return len(self.known)


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
    _pieces: list[_Piece] = field(default_factory=list)
    _waiting_rows: int = 0
    _resources: dict[Resource, int] = field(default_factory=dict)
    _heat: F64 | None = None

    def add(self, more: Additions) -> None:
        """Add samples to value, samples, variance and heat."""
        n_resources = len(more.resources)
        key = more.stack.astype(np.intp)
        if n_resources > 1:
            key = key * n_resources + more.resource
        size = len(more.known) * n_resources
        sums = np.empty((3, size))
        for row, weights in enumerate((more.total, more.weight, more.total * more.total)):
            sums[row] = np.bincount(key, weights, size)
        present = np.flatnonzero(sums[1])  # weights are positive
        numbers = np.array([self._resource(resource) for resource in more.resources], dtype=np.int32)
        stack, resource = np.divmod(present, n_resources)
        self._pieces.append(_Piece(more.known[stack], numbers[resource], sums[:, present]))
        self._waiting_rows += len(present)
        bins = self.window.size_ns // HEAT_BIN_NS
        heat: F64 = np.bincount(np.minimum(more.offset_ns // HEAT_BIN_NS, bins - 1), more.weight, bins).astype(
            np.float64, copy=False
        )
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

    def samples(self) -> float:
        """Weights added so far, late ones included."""
        return self.late_samples + sum(float(piece.sums[1].sum()) for piece in self._pieces)

    def merge_when_many(self, catalogue: StackCatalogue) -> None:
        """Merge what waits when it has grown larger than what is merged."""
        if self._waiting_rows > len(self._pieces[0]) + _MERGE_ROWS:
            self._pieces = [self._merged(catalogue)]
            self._waiting_rows = 0

    def known(self) -> set[int]:
        """Numbers of all stack contents that this cell has rows of."""
        return {number for piece in self._pieces for number in np.unique(piece.known).tolist()}

    def renumber(self, numbers: Numbers) -> None:
        """The catalogue was made anew: ``numbers`` says what each old number is called."""
        self._pieces = [_Piece(numbers[piece.known], piece.resource, piece.sums) for piece in self._pieces]

    def _resource(self, resource: Resource) -> int:
        return self._resources.setdefault(resource, len(self._resources))

    def _merged(self, catalogue: StackCatalogue) -> _Piece:
        """One row per (stack id, resource), sorted by them; of a stack's contents, the one that came first."""
        known = np.concatenate([piece.known for piece in self._pieces])
        distinct = Selection(len(catalogue.known), known)
        ids = np.array([catalogue.known[number].stack_id for number in distinct.rows.tolist()], dtype=np.uint64)
        stack_ids, rank = np.unique(ids, return_inverse=True)
        stack = rank[distinct.places(known)]
        content = np.empty(len(stack_ids), dtype=np.int32)
        content[stack[::-1]] = known[::-1]  # the last one written is the first that came
        order = np.array(sorted(range(len(self._resources)), key=list(self._resources).__getitem__), dtype=np.intp)
        by_name = np.empty(len(order), dtype=np.intp)
        by_name[order] = np.arange(len(order))
        resource = np.concatenate([piece.resource for piece in self._pieces])
        sums = np.concatenate([piece.sums for piece in self._pieces], axis=1)
        keys, row = _distinct_keys(stack * len(order) + by_name[resource], len(stack_ids) * len(order))
        return _Piece(
            content[keys // len(order)],
            order[keys % len(order)].astype(np.int32),
            np.stack([np.bincount(row, sums[number], len(keys)) for number in range(3)]),
        )

    def profile(self, service: str, kind: str, partition: int, catalogue: StackCatalogue) -> ClosedProfile:
        """The finished profile: rows and resources are sorted, so that nothing but the log decides."""
        rows = self._merged(catalogue) if self._pieces else _NOTHING
        stacks, row_stack = _distinct(rows.known, catalogue)
        resources = list(self._resources)
        order = np.array(sorted(range(len(resources)), key=resources.__getitem__), dtype=np.intp)
        by_name = np.argsort(order)
        heat = np.zeros(self.window.size_ns // HEAT_BIN_NS) if self._heat is None else self._heat
        profile = WindowProfile(
            service=service,
            kind=kind,
            window=self.window,
            partition=partition,
            sample_type=self.sample_type,
            period_type=self.period_type,
            period=self.period,
            rows=ProfileRows(
                stack_id=np.array([stack.stack_id for stack in stacks], dtype=np.uint64)[row_stack],
                resource=by_name[rows.resource].astype(np.uint32),
                value=np.rint(rows.sums[0]).astype(np.int64),
                samples=rows.sums[1],
                variance=rows.sums[2],
            ),
            resources=tuple(sorted(resources)),
            stacks={stack.stack_id: stack.locations for stack in stacks},
            heat=np.rint(heat).astype(np.int64),
            losses=tuple(Loss(r, n, self.loss_values[r]) for r, n in sorted(self.losses.items())),
            late_samples=self.late_samples,
            late_value=round(self.late_value),
        )
        return ClosedProfile(profile, stacks, row_stack, catalogue)


_NOTHING = _Piece(np.zeros(0, np.int32), np.zeros(0, np.int32), np.zeros((3, 0)))


def _distinct_keys(keys: NDArray[np.intp], size: int) -> tuple[NDArray[np.intp], NDArray[np.integer]]:
    """Distinct keys, ascending, and the place of each row's key among them; keys are below ``size``."""
    if size > _SPARSE * len(keys):
        return np.unique(keys, return_inverse=True)
    selection = Selection(size, keys)
    return selection.rows, selection.places(keys)


def _distinct(known: Numbers, catalogue: StackCatalogue) -> tuple[tuple[KnownStack, ...], NDArray[np.intp]]:
    """Contents in order of their first row, and which of them each row has; rows of one content stand together."""
    begins = np.flatnonzero(np.diff(known, prepend=-1))
    counts = np.diff(begins, append=len(known))
    stacks = tuple(catalogue.known[number] for number in known[begins].tolist())
    return stacks, np.repeat(np.arange(len(begins)), counts)
