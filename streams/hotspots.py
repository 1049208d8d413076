"""Ranks the functions and stacks of one window."""

from dataclasses import dataclass
from itertools import chain

import numpy as np
import xxhash

from flamebus.hotspot import OTHER_FUNCTION, FunctionHotspot, HotspotReport, Share, StackHotspot
from flamebus.interval import effective_count, wilson_interval
from flamebus.loss import lost_and_dropped
from flamebus.profile import F64, HOST_ATTRIBUTE, I64, attribute
from flamebus.window_profile import WindowProfile
from streams.call_tree import CallTree, FunctionKey
from streams.closed import ClosedProfile
from streams.stacks import NO_STACK, KnownStack


@dataclass(frozen=True, slots=True)
class FunctionTotals:
    """Values per function, in the sample type's unit; columns of shape ``(n_functions,)``."""

    keys: tuple[FunctionKey, ...]
    self_value: I64
    total_value: I64


def function_totals(closed: ClosedProfile) -> FunctionTotals:
    """Self and total value of every function; a function that recurses counts once per stack."""
    names = closed.catalogue.tree.function_keys
    own, whole = np.zeros(len(names), dtype=np.int64), np.zeros(len(names), dtype=np.int64)
    is_present = np.zeros(len(names), dtype=np.bool_)
    if closed.stacks:
        values = closed.stack_values()
        members = np.concatenate([stack.functions for stack in closed.stacks]).astype(np.intp)
        counts = np.fromiter((len(stack.functions) for stack in closed.stacks), np.intp, len(closed.stacks))
        leaves = members[np.cumsum(counts) - counts]
        # Not bincount: its weights are float64, and sums have to be exact to the nanosecond.
        np.add.at(own, leaves, values)
        np.add.at(whole, members, np.repeat(values, counts))
        is_present[members] = True
    rows = np.flatnonzero(is_present)
    return FunctionTotals(tuple(names[row] for row in rows.tolist()), own[rows], whole[rows])


def rank(closed: ClosedProfile, top_k: int) -> HotspotReport:
    """The hotspots of a window: top ``top_k`` functions by self and by total, ``__other__``, and top stacks."""
    profile = closed.profile
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
        functions=_functions(function_totals(closed), total, count, top_k),
        stacks=_stacks(closed, total, count, top_k),
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


def _stacks(closed: ClosedProfile, total: int, count: float, top_k: int) -> tuple[StackHotspot, ...]:
    values = closed.stack_values()
    chosen = np.argsort(-values, kind="stable")[:top_k]  # stacks ascend by id, which breaks ties
    return tuple(
        StackHotspot(stack.stack_id, _names(stack, closed.catalogue.tree), value, share)
        for stack, value, share in zip(
            (closed.stacks[row] for row in chosen.tolist()),
            values[chosen].tolist(),
            shares(values[chosen], total, count),
            strict=True,
        )
    )


def _names(stack: KnownStack, tree: CallTree) -> tuple[str, ...]:
    """Names of its frames, leaf first."""
    locations = tree.node_location.values[stack.nodes[::-1]].tolist()
    return tuple(chain.from_iterable(map(tree.names_at, locations))) or (NO_STACK[0],)


def shares(values: I64, total: int, count: float) -> list[Share]:
    """Each value as a part of the total, with its interval."""
    part: F64 = values / total if total else np.zeros(len(values))
    low, high = wilson_interval(part, count)
    return [Share(*three) for three in zip(part.tolist(), low.tolist(), high.tolist(), strict=True)]
