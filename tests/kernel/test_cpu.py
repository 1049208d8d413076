"""The CPU producer on this machine's kernel."""

from __future__ import annotations

import re
import subprocess
import sys
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest

import bpf
from producers.cpu import CpuDrain, CpuProducer, LossReason, MapNumber
from producers.kernel.programs import loaded_names

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

pytestmark = pytest.mark.kernel

_SPIN = "while True: sum(range(1000))"
_AGENT = (
    "import time; from producers.cpu import CpuProducer; p = CpuProducer(); p.start(99); print('up', flush=True);"
    "time.sleep(60)"
)


@contextmanager
def _spinning() -> Iterator[int]:
    with subprocess.Popen([sys.executable, "-c", _SPIN]) as child:
        try:
            yield child.pid
        finally:
            child.kill()


def _drain_until(producer: CpuProducer, found: Callable[[CpuDrain], bool]) -> CpuDrain:
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        producer.wait(0.2)
        drain = producer.drain()
        if found(drain):
            return drain
    raise AssertionError("what the test waits for did not come within 20 s")


def test_a_busy_process_is_sampled_with_its_stacks_and_period() -> None:
    with _spinning() as tgid:
        producer = CpuProducer(only_tgid=tgid)
        producer.start(99)
        try:
            drain = _drain_until(producer, lambda drain: len(drain.tgid) >= 5)
        finally:
            producer.stop()
    assert set(drain.tgid.tolist()) == {tgid}
    assert set(drain.weight_us.tolist()) == {10101}
    age_ns = time.clock_gettime_ns(time.CLOCK_BOOTTIME) - int(drain.time_boot_nano[-1])
    assert 0 < age_ns < 20 * 10**9


def test_a_new_rate_shows_in_the_weight_of_the_samples() -> None:
    with _spinning() as tgid:
        producer = CpuProducer(only_tgid=tgid)
        producer.start(99)
        try:
            _drain_until(producer, lambda drain: 10101 in drain.weight_us)
            producer.set_rate(499)
            _drain_until(producer, lambda drain: set(drain.weight_us.tolist()) == {2004})
        finally:
            producer.stop()


def test_a_full_ring_is_counted() -> None:
    with _spinning() as tgid:
        producer = CpuProducer(only_tgid=tgid, sample_ring_bytes_limit=4096)
        producer.start(999)
        try:
            deadline = time.monotonic() + 20
            while not (losses := producer._drain_losses()) and time.monotonic() < deadline:
                time.sleep(0.1)
        finally:
            producer.stop()
    assert losses[LossReason.SAMPLE_RING_FULL].samples_count > 0


def test_kill_9_leaves_nothing_attached() -> None:
    with subprocess.Popen([sys.executable, "-c", _AGENT], stdout=subprocess.PIPE) as agent:
        assert agent.stdout is not None
        assert agent.stdout.readline() == b"up\n"
        before = loaded_names().count("cpu_sample")
        agent.kill()
    deadline = time.monotonic() + 10
    while loaded_names().count("cpu_sample") >= before and time.monotonic() < deadline:
        time.sleep(0.05)
    assert loaded_names().count("cpu_sample") == before - 1


def test_header_and_reader_number_alike() -> None:
    text = bpf.source("records.h")
    losses = {name: int(number) for name, number in re.findall(r"LOSS_(\w+) = (\d+),", text)}
    assert losses.pop("REASONS") == len(LossReason)
    assert losses == {reason.name: reason.value for reason in LossReason}
    assert dict(re.findall(r"\tMAP_(\w+) = (\d+),", text)) == {each.name: str(each.value) for each in MapNumber}
