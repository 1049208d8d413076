"""The rate changes and CPUs come and go without a reload, and totals stay right."""

from __future__ import annotations

import fcntl
import os
import resource
import subprocess
import sys
import time
from math import sqrt
from typing import TYPE_CHECKING

import pytest

from producers.cpu import CpuDrain, CpuProducer, sample_ring_bytes
from producers.kernel.maps import online_cpus
from tests.kernel.stacks import drain_until, running_stacks

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = [pytest.mark.kernel, pytest.mark.usefixtures("kernel")]
_PERF_EVENT_IOC_DISABLE = 0x2401
_BURN = "import time\nend = time.process_time() + 3\nwhile time.process_time() < end: sum(range(1000))"


def sampled_s(drains: list[CpuDrain]) -> float:
    return sum(int(drain.weight_us.sum()) for drain in drains) / 1e6


def test_totals_stay_right_over_changes_of_the_rate() -> None:
    """3 s of CPU time at three rates: sampled time agrees with what the kernel charged the process."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    with subprocess.Popen([sys.executable, "-c", _BURN]) as child:
        producer = CpuProducer(only_tgid=child.pid)
        drains: list[CpuDrain] = []
        try:
            producer.start(199)
            for hz in (499, 97, 997, 997, 97, 499) * 20:
                if child.poll() is not None:
                    break
                producer.set_rate(hz)
                producer.wait(0.2)
                drains.append(producer.drain())
            child.wait()
            producer.detach()
            drains.append(producer.drain())
        finally:
            producer.stop()
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    charged_s = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    # Had each sample's presence been a throw of dice, the error would be this; a clock that ticks evenly does better.
    sigma_s = sqrt(sum(float((drain.weight_us.astype(float) ** 2).sum()) for drain in drains)) / 1e6
    assert {10309, 2004, 1003} <= {weight for drain in drains for weight in drain.weight_us.tolist()}
    assert abs(sampled_s(drains) - charged_s) < 5 * sigma_s


def test_a_cpu_that_comes_online_is_sampled_and_one_that_goes_is_given_up(tmp_path: Path) -> None:
    """The list of online CPUs is the test's; the events are real."""
    cpus = online_cpus()
    if len(cpus) < 2:
        pytest.skip("one CPU")
    online = [cpus[0]]
    with running_stacks(tmp_path, "5") as tgid:
        os.sched_setaffinity(tgid, {cpus[1]})
        producer = CpuProducer(only_tgid=tgid, online=lambda: list(online))
        try:
            producer.start(499)
            deadline = time.monotonic() + 0.5
            drain_until(producer, lambda _: time.monotonic() > deadline)
            assert len(producer.drain().tgid) == 0
            online.append(cpus[1])
            found = drain_until(producer, lambda drains: any(len(drain.tgid) for drain in drains))
            online.pop()
            producer.drain()  # here the event is given up
            assert len(producer.drain().tgid) == 0
        finally:
            producer.stop()
    assert {cpu for drain in found for cpu in drain.cpu.tolist()} == {cpus[1]}


def test_an_event_that_died_unnoticed_is_opened_anew(tmp_path: Path) -> None:
    """A CPU that went and came back between two drains: its event is there and counts no more."""
    cpu = online_cpus()[-1]
    with running_stacks(tmp_path, "5") as tgid:
        os.sched_setaffinity(tgid, {cpu})
        producer = CpuProducer(only_tgid=tgid)
        try:
            producer.start(499)
            drain_until(producer, lambda drains: any(len(drain.tgid) for drain in drains))
            assert producer._events is not None
            fcntl.ioctl(producer._events._descriptors[cpu], _PERF_EVENT_IOC_DISABLE, 0)
            producer.drain()
            drain_until(producer, lambda drains: any(len(drain.tgid) for drain in drains))
        finally:
            producer.stop()


def test_a_cpu_that_does_not_exist_is_told_and_the_others_are_sampled(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    online = list(online_cpus())
    with running_stacks(tmp_path, "5") as tgid:
        producer = CpuProducer(only_tgid=tgid, online=lambda: list(online))
        try:
            producer.start(499)
            online.append(4096)
            drain_until(producer, lambda drains: sum(len(drain.tgid) for drain in drains) > 5)
        finally:
            producer.stop()
    told = [record.getMessage() for record in caplog.records if "4096" in record.getMessage()]
    assert len(told) == 1
    assert "is not sampled" in told[0]


@pytest.mark.parametrize(
    ("cpus_count", "hz", "expected"), [(1, 19, 65_536), (2, 99, 65_536), (64, 99, 1 << 20), (512, 999, 1 << 26)]
)
def test_the_ring_holds_two_intervals_of_all_cpus(cpus_count: int, hz: int, expected: int) -> None:
    size = sample_ring_bytes(cpus_count, hz, 1.0)
    assert size == expected
    assert size >= min(expected, cpus_count * hz * 2 * 48)
