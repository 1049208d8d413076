"""Ranks the functions and stacks of one window."""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import xxhash
from numpy.typing import NDArray

from flamebus.hotspot import OTHER_FUNCTION, FunctionHotspot, HotspotReport, Share, StackHotspot
from flamebus.interval import effective_counts, wilson_interval
from flamebus.loss import lost_and_dropped
from flamebus.profile import F64, HOST_ATTRIBUTE, I64, attribute
from flamebus.window_profile import WindowProfile
from streams.call_tree import FunctionKey
from streams.closed import ClosedProfile


@dataclass(frozen=True, slots=True)
class Parts:
    """Parts of a window, columns of shape ``(n,)``: value in the sample type's unit, and its variance."""

    value: I64
    variance: F64

    def __getitem__(self, rows: NDArray[np.intp]) -> "Parts":
        return Parts(self.value[rows], self.variance[rows])

    def with_rest(self, whole: "Whole") -> "Parts":
        """These and, last, what is left of the whole."""
        rest = max(whole.variance - float(self.variance.sum()), 0.0)
        return Parts(np.append(self.value, whole.value - self.value.sum()), np.append(self.variance, rest))


@dataclass(frozen=True, slots=True)
class Whole:
    """The same of everything."""

    value: int
    variance: float

    def shares(self, parts: Parts) -> list[Share]:
        """Each part's share, with its interval."""
        share: F64 = parts.value / self.value if self.value else np.zeros(len(parts.value))
        counts = effective_counts(parts.value.astype(np.float64), parts.variance, float(self.value), self.variance)
        low, high = wilson_interval(share, counts)
        return [Share(*three) for three in zip(share.tolist(), low.tolist(), high.tolist(), strict=True)]


@dataclass(frozen=True, slots=True)
class FunctionTotals:
    """Every function of a window: ``own`` ended in it, ``through`` passed through it."""

    keys: tuple[FunctionKey, ...]
    own: Parts
    through: Parts


@dataclass(frozen=True, slots=True)
class Ranked:
    """A report, and what a sum over some of its functions needs for its own interval.

    Attributes:
        own: self values and their variances, one for each of ``report.functions``.
    """

    report: HotspotReport
    own: Parts
    whole: Whole


def function_totals(closed: ClosedProfile) -> FunctionTotals:
    """Self and total value of every function; a function that recurses counts once per stack."""
    names = closed.catalogue.tree.function_keys
    if not closed.stacks:
        nothing = Parts(np.zeros(0, dtype=np.int64), np.zeros(0))
        return FunctionTotals((), nothing, nothing)
    stacks = _stack_parts(closed)
    members = np.concatenate([stack.functions for stack in closed.stacks]).astype(np.intp)
    counts = np.fromiter((len(stack.functions) for stack in closed.stacks), np.intp, len(closed.stacks))
    leaves = members[np.cumsum(counts) - counts]
    stack_of_member = np.repeat(np.arange(len(counts)), counts)
    is_present = np.zeros(len(names), dtype=np.bool_)
    is_present[members] = True
    rows = np.flatnonzero(is_present)
    return FunctionTotals(
        tuple(names[row] for row in rows.tolist()),
        _sum_by(leaves, stacks, len(names))[rows],
        _sum_by(members, stacks[stack_of_member], len(names))[rows],
    )


def _stack_parts(closed: ClosedProfile) -> Parts:
    begins = np.searchsorted(closed.row_stack, np.arange(len(closed.stacks)))
    rows = closed.profile.rows
    return Parts(np.add.reduceat(rows.value, begins), np.add.reduceat(rows.variance, begins))


def _sum_by(rows: NDArray[np.intp], parts: Parts, size: int) -> Parts:
    # Not bincount for values: its weights are float64, and sums have to be exact to the nanosecond.
    value = np.zeros(size, dtype=np.int64)
    np.add.at(value, rows, parts.value)
    return Parts(value, np.bincount(rows, parts.variance, size).astype(np.float64, copy=False))


def rank(closed: ClosedProfile, top_k: int) -> Ranked:
    """The hotspots of a window: top ``top_k`` functions by self and by total, ``__other__``, and top stacks."""
    profile = closed.profile
    whole = Whole(profile.total, float(profile.rows.variance.sum()))
    lost, dropped = lost_and_dropped(profile.losses)
    functions, own = _functions(function_totals(closed), whole, top_k)
    report = HotspotReport(
        report_id=_report_id(profile),
        service=profile.service,
        kind=profile.kind,
        sample_type=(profile.sample_type.type, profile.sample_type.unit),
        window_start_unix_nano=profile.window.start_unix_nano,
        window_size_nano=profile.window.size_ns,
        partition=profile.partition,
        total=whole.value,
        samples=profile.samples,
        hosts=len({attribute(resource, HOST_ATTRIBUTE) for resource in profile.resources}),
        lost=lost,
        dropped=dropped,
        late=round(profile.late_samples),
        functions=functions,
        stacks=_stacks(closed, whole, top_k) if closed.stacks else (),
    )
    return Ranked(report, own, whole)


def _report_id(profile: WindowProfile) -> bytes:
    name = f"{profile.service}\0{profile.kind}\0{profile.partition}\0{profile.window.start_unix_nano}"
    return xxhash.xxh3_128_digest(name.encode())


def _functions(totals: FunctionTotals, whole: Whole, top_k: int) -> tuple[tuple[FunctionHotspot, ...], Parts]:
    if not totals.keys:
        return (), totals.own
    by_self = _Order(totals.keys, totals.own.value)
    by_total = _Order(totals.keys, totals.through.value)
    chosen = np.array(by_self.sorted({*by_self.first(top_k), *by_total.first(top_k)}), dtype=np.intp)
    own, listed = totals.own[chosen].with_rest(whole), totals.through[chosen]
    through = Parts(np.append(listed.value, own.value[-1]), np.append(listed.variance, own.variance[-1]))
    keys = [*(totals.keys[row] for row in chosen.tolist()), (OTHER_FUNCTION, "", "")]
    columns = (keys, own.value.tolist(), through.value.tolist(), whole.shares(own), whole.shares(through))
    return tuple(FunctionHotspot(*key, *rest) for key, *rest in zip(*columns, strict=True)), own


class _Order:
    """Functions by value, the largest first; ties are broken by name, so that two workers agree.

    Only those that may be wanted are compared by name: a window has thousands.
    """

    def __init__(self, keys: tuple[FunctionKey, ...], value: I64) -> None:
        self._keys, self._value = keys, value

    def first(self, count: int) -> list[int]:
        """The first rows, at most so many."""
        least = np.partition(self._value, -count)[-count] if count < len(self._value) else 0
        return self.sorted(np.flatnonzero(self._value >= least).tolist())[:count]

    def sorted(self, rows: Iterable[int]) -> list[int]:
        """These rows in order."""
        value, keys = self._value, self._keys
        return sorted(rows, key=lambda row: (-int(value[row]), keys[row]))


def _stacks(closed: ClosedProfile, whole: Whole, top_k: int) -> tuple[StackHotspot, ...]:
    parts = _stack_parts(closed)
    chosen = np.argsort(-parts.value, kind="stable")[:top_k]  # stacks ascend by id, which breaks ties
    top = parts[chosen]
    return tuple(
        StackHotspot(stack.stack_id, closed.catalogue.names(stack), value, share)
        for stack, value, share in zip(
            (closed.stacks[row] for row in chosen.tolist()), top.value.tolist(), whole.shares(top), strict=True
        )
    )
