"""Ranks the functions and stacks of one window."""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import xxhash
from numpy.typing import NDArray

from flamebus.frames import Frame
from flamebus.hotspot import OTHER_FUNCTION, FunctionHotspot, HotspotReport, Share, StackHotspot
from flamebus.interval import effective_count, wilson_interval
from flamebus.loss import lost_and_dropped
from flamebus.profile import F64, HOST_ATTRIBUTE, I64, attribute
from flamebus.window_profile import WindowProfile

FunctionKey = tuple[str, str, str]
"""Function, base name of its file, and frame kind."""


@dataclass(frozen=True, slots=True)
class FunctionTotals:
    """Values per function, in the sample type's unit; columns of shape ``(n_functions,)``."""

    keys: tuple[FunctionKey, ...]
    self_value: I64
    total_value: I64


def function_totals(profile: WindowProfile) -> FunctionTotals:
    """Self and total value of every function; a function that recurses counts once per stack."""
    keys: dict[FunctionKey, int] = {}
    leaf_of: dict[int, int] = {}
    members: list[tuple[int, int]] = []
    stack_ids, stack_rows = np.unique(profile.rows.stack_id, return_inverse=True)
    for number, stack_id in enumerate(stack_ids.tolist()):
        functions = [keys.setdefault(_key(frame), len(keys)) for frame in _frames(profile, stack_id)]
        leaf_of[number] = functions[0]
        members += [(number, function) for function in set(functions)]
    values = _sum_by(stack_rows, profile.rows.value, len(stack_ids))
    pairs = np.array(members, dtype=np.intp).reshape(-1, 2)
    leaves = np.array([leaf_of[number] for number in range(len(stack_ids))], dtype=np.intp)
    return FunctionTotals(
        tuple(keys), _sum_by(leaves, values, len(keys)), _sum_by(pairs[:, 1], values[pairs[:, 0]], len(keys))
    )


def _frames(profile: WindowProfile, stack_id: int) -> Iterable[Frame]:
    frames = [frame for location in profile.stacks[stack_id] for frame in location.frames()]
    return frames or [Frame("[no stack]")]


def _key(frame: Frame) -> FunctionKey:
    return frame.function, frame.mapping, frame.kind.label


def _sum_by(rows: NDArray[np.intp], values: I64, size: int) -> I64:
    # Not bincount: its weights are float64, and sums have to be exact to the nanosecond.
    result = np.zeros(size, dtype=np.int64)
    np.add.at(result, rows, values)
    return result


def rank(profile: WindowProfile, top_k: int) -> HotspotReport:
    """The hotspots of a window: top ``top_k`` functions by self and by total, ``__other__``, and top stacks."""
    total = profile.total
    lost, dropped = lost_and_dropped(profile.losses)
    count = effective_count(float(total), float(profile.rows.variance.sum()))
    return HotspotReport(
        report_id=_report_id(profile),
        service=profile.service,
        kind=profile.kind,
        sample_type=(profile.sample_type.type, profile.sample_type.unit),
        window_start_unix_nano=profile.window.start_unix_nano,
        window_size_nano=profile.window.size_ns,
        partition=profile.partition,
        total=total,
        samples=profile.samples,
        hosts=len({attribute(resource, HOST_ATTRIBUTE) for resource in profile.resources}),
        lost=lost,
        dropped=dropped,
        late=round(profile.late_samples),
        functions=_functions(function_totals(profile), total, count, top_k),
        stacks=_stacks(profile, total, count, top_k),
    )


def _report_id(profile: WindowProfile) -> bytes:
    name = f"{profile.service}\0{profile.kind}\0{profile.partition}\0{profile.window.start_unix_nano}"
    return xxhash.xxh3_128_digest(name.encode())


def _functions(totals: FunctionTotals, total: int, count: float, top_k: int) -> tuple[FunctionHotspot, ...]:
    if not totals.keys:
        return ()
    by_name = np.array(_ranks(totals.keys))
    by_self = np.lexsort((by_name, -totals.self_value))
    by_total = np.lexsort((by_name, -totals.total_value))
    chosen_set = {*by_self[:top_k].tolist(), *by_total[:top_k].tolist()}
    chosen = np.array([row for row in by_self.tolist() if row in chosen_set], dtype=np.intp)
    self_value = np.append(totals.self_value[chosen], total - totals.self_value[chosen].sum())
    total_value = np.append(totals.total_value[chosen], self_value[-1])
    keys = [*(totals.keys[row] for row in chosen.tolist()), (OTHER_FUNCTION, "", "")]
    self_shares = shares(self_value, total, count)
    total_shares = shares(total_value, total, count)
    return tuple(
        FunctionHotspot(key[0], key[1], key[2], int(own), int(whole), self_share, total_share)
        for key, own, whole, self_share, total_share in zip(
            keys, self_value, total_value, self_shares, total_shares, strict=True
        )
    )


def _ranks(keys: tuple[FunctionKey, ...]) -> list[int]:
    """Alphabetical rank of each key: ties are broken by name, so that two workers agree."""
    order = {key: number for number, key in enumerate(sorted(keys))}
    return [order[key] for key in keys]


def _stacks(profile: WindowProfile, total: int, count: float, top_k: int) -> tuple[StackHotspot, ...]:
    stack_ids, rows = np.unique(profile.rows.stack_id, return_inverse=True)
    values = _sum_by(rows, profile.rows.value, len(stack_ids))
    chosen = np.lexsort((stack_ids, -values))[:top_k]
    return tuple(
        StackHotspot(stack_id, tuple(frame.function for frame in _frames(profile, stack_id)), value, share)
        for stack_id, value, share in zip(
            stack_ids[chosen].tolist(), values[chosen].tolist(), shares(values[chosen], total, count), strict=True
        )
    )


def shares(values: I64, total: int, count: float) -> list[Share]:
    """Each value as a part of the total, with its interval."""
    part: F64 = values / total if total else np.zeros(len(values))
    low, high = wilson_interval(part, count)
    return [Share(*three) for three in zip(part.tolist(), low.tolist(), high.tolist(), strict=True)]
