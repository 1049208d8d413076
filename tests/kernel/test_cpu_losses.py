"""What the CPU program cannot give is counted by reason, exactly."""

from __future__ import annotations

import os
import time
from collections import Counter
from typing import TYPE_CHECKING

import numpy as np
import pytest

from producers.cpu import (
    FLAG_KERNEL_STACK_UNSENT,
    FLAG_USER_STACK_UNSENT,
    MAX_FRAMES,
    CpuDrain,
    CpuProducer,
    LossReason,
    stack_ceiling,
    unpacked,
)
from producers.kernel.maps import online_cpus
from producers.kernel.programs import enable_stats
from tests.kernel.stacks import DEADLINE_S, drain_until, running_stacks

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

pytestmark = [pytest.mark.kernel, pytest.mark.usefixtures("kernel")]
_TINY_BYTES = 4096
_HZ = 997


def wait_until(is_true: Callable[[], bool]) -> None:
    end = time.monotonic() + DEADLINE_S
    while not is_true():
        assert time.monotonic() < end, f"what the test waits for did not come within {DEADLINE_S} s"
        time.sleep(0.02)


def note(refused: Counter[LossReason], producer: CpuProducer) -> int:
    """Stacks refused so far; nothing is drained."""
    refused.update({reason: loss.samples_count for reason, loss in producer._drain_losses().items()})
    return refused[LossReason.STACK_RING_FULL]


def lost(drains: list[CpuDrain], reason: LossReason) -> int:
    return sum(drain.losses[reason].samples_count for drain in drains if reason in drain.losses)


def test_a_full_sample_ring_loses_exactly_what_it_counts(tmp_path: Path) -> None:
    """Samples of all processes: each run of the program is either a sample or a counted loss."""
    statistics = enable_stats()
    producer = CpuProducer(sample_ring_bytes_limit=_TINY_BYTES)
    try:
        with running_stacks(tmp_path, "5"):
            producer.start(_HZ)
            wait_until(lambda: producer.stats().runs_count > 4 * _TINY_BYTES // 48)
            producer.detach()
        drains = [producer.drain()]
        fired = producer.stats().runs_count
    finally:
        producer.stop()
        os.close(statistics)
    missing = lost(drains, LossReason.SAMPLE_RING_FULL)
    assert missing > 0
    assert len(drains[0].tgid) + missing == fired
    assert drains[0].losses[LossReason.SAMPLE_RING_FULL].value_ns == missing * int(drains[0].weight_us[0]) * 1000


def test_a_ring_that_is_drained_again_goes_on_without_a_gap(tmp_path: Path) -> None:
    """Full, emptied and full again: the sum stays exact over several rounds."""
    statistics = enable_stats()
    producer = CpuProducer(sample_ring_bytes_limit=_TINY_BYTES)
    try:
        with running_stacks(tmp_path, "5"):
            producer.start(_HZ)
            drains = []
            for rounds in range(1, 4):
                goal = rounds * 2 * _TINY_BYTES // 48
                wait_until(lambda goal=goal: producer.stats().runs_count > goal)  # type: ignore[misc]  # bound at once
                drains.append(producer.drain())
            producer.detach()
        drains.append(producer.drain())
        fired = producer.stats().runs_count
    finally:
        producer.stop()
        os.close(statistics)
    assert lost(drains, LossReason.SAMPLE_RING_FULL) > 0
    assert sum(len(drain.tgid) for drain in drains) + lost(drains, LossReason.SAMPLE_RING_FULL) == fired


def test_a_stack_that_found_its_ring_full_is_sent_when_it_is_seen_next(tmp_path: Path) -> None:
    """128 paths; the ring of stacks holds fewer than come while nobody drains it."""
    with running_stacks(tmp_path, "7", "many") as tgid:
        producer = CpuProducer(only_tgid=tgid, stack_ring_bytes=_TINY_BYTES)
        try:
            producer.start(_HZ)
            # Many, because a stack that was met once (in an interrupt, say) may never come again.
            refused = Counter[LossReason]()
            wait_until(lambda: note(refused, producer) > 20)
            first = producer.drain()
            unsent = {
                *first.user_hash[first.flags & FLAG_USER_STACK_UNSENT != 0].tolist(),
                *first.kernel_hash[first.flags & FLAG_KERNEL_STACK_UNSENT != 0].tolist(),
            }
            assert unsent
            later = drain_until(producer, lambda drains: any(unsent & drain.new_stacks.keys() for drain in drains))
        finally:
            producer.stop()
    assert later


def test_every_unsent_stack_is_flagged_and_counted(tmp_path: Path) -> None:
    with running_stacks(tmp_path, "30", "many") as tgid:
        producer = CpuProducer(only_tgid=tgid, stack_ring_bytes=_TINY_BYTES)
        try:
            producer.start(_HZ)
            wait_until(lambda: len(producer.waiting_tgids()) > 0)
            end = time.monotonic() + 1
            wait_until(lambda: time.monotonic() > end)  # a thousand new stacks of 280 bytes: 4 KiB hold fifteen
            producer.detach()
            drain = producer.drain()
        finally:
            producer.stop()
    flags = drain.flags
    flagged = np.count_nonzero(flags & FLAG_USER_STACK_UNSENT) + np.count_nonzero(flags & FLAG_KERNEL_STACK_UNSENT)
    assert flagged > 0
    assert drain.losses[LossReason.STACK_RING_FULL].samples_count == flagged
    sent = set(drain.new_stacks)
    known = drain.user_hash[(flags & FLAG_USER_STACK_UNSENT == 0) & (drain.user_hash != 0)]
    assert set(known.tolist()) <= sent


@pytest.mark.parametrize(
    ("depth", "setting", "is_cut"), [("200", "127", True), ("20", "127", False), ("40", "20", True)]
)
def test_a_stack_at_the_ceiling_is_counted_as_truncated(tmp_path: Path, depth: str, setting: str, is_cut: bool) -> None:
    """A setting below the depth of a stack cuts it, and that is counted."""
    (tmp_path / "max_stack").write_text(setting)
    with running_stacks(tmp_path, depth) as tgid:
        producer = CpuProducer(only_tgid=tgid, max_stack_setting=tmp_path / "max_stack")
        try:
            producer.start(_HZ)
            drains = drain_until(producer, lambda drains: sum(len(drain.tgid) for drain in drains) > 50)
            producer.detach()
            drains.append(producer.drain())
        finally:
            producer.stop()
    length = {key: len(unpacked(found)) for drain in drains for key, found in drain.new_stacks.items()}
    hashes = [key for drain in drains for key in drain.user_hash.tolist() if key]
    at_ceiling = sum(length[key] >= int(setting) for key in hashes)
    assert lost(drains, LossReason.USER_STACK_TRUNCATED) == at_ceiling
    assert (at_ceiling > 0) == is_cut
    # work and main belong to it, and where the C library keeps frame pointers its three frames that start a program.
    ceiling = min(MAX_FRAMES, int(setting))
    assert min(ceiling, int(depth) + 2) <= max(length[key] for key in hashes) <= min(ceiling, int(depth) + 5)


def test_the_ceiling_is_the_kernels_setting_within_our_room(tmp_path: Path) -> None:
    (tmp_path / "setting").write_text("64\n")
    assert stack_ceiling(tmp_path / "setting") == 64
    (tmp_path / "setting").write_text("500\n")
    assert stack_ceiling(tmp_path / "setting") == MAX_FRAMES
    assert stack_ceiling(tmp_path / "nothing") == MAX_FRAMES


def test_addresses_are_sent_once_and_again_when_they_were_thrown_away(tmp_path: Path) -> None:
    """Two CPUs may each send a stack that both meet first; a third time only after it was forgotten."""
    with running_stacks(tmp_path, "6") as tgid:
        producer = CpuProducer(only_tgid=tgid)
        try:
            producer.start(_HZ)
            first = drain_until(producer, lambda drains: sum(len(drain.tgid) for drain in drains) > 100)
            sent = Counter(key for drain in first for key in drain.new_stacks)
            known = {key for drain in first for key in drain.user_hash.tolist()}
            later = drain_until(producer, lambda drains: sum(len(drain.tgid) for drain in drains) > 100)
            repeated = known & {key for drain in later for key in drain.new_stacks}
            producer.forget_stacks()
            again = drain_until(
                producer, lambda drains: bool(known & drains[-1].new_stacks.keys()) if drains else False
            )
        finally:
            producer.stop()
    assert max(sent.values()) <= len(online_cpus())
    assert not repeated
    assert again
