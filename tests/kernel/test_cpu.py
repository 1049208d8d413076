"""CPU samples on this machine's kernel: where the time goes, compared with programs that know it."""

from __future__ import annotations

import math
import subprocess
import sys
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest

from producers.cpu import CpuDrain, CpuProducer
from tests.kernel.profiled import Profile, build, build_rust, profiling

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

pytestmark = [pytest.mark.kernel, pytest.mark.usefixtures("kernel")]

HZ = 99
SPLIT = {"hot": 0.7, "warm": 0.2, "cold": 0.1}
_SPIN = "while True: sum(range(1000))"
_SIGMAS = 4.0
"""A right share falls outside once in 16,000 times."""


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
        producer.start(HZ)
        try:
            drain = _drain_until(producer, lambda drain: len(drain.tgid) >= 5)
        finally:
            producer.stop()
    assert set(drain.tgid.tolist()) == {tgid}
    assert set(drain.weight_us.tolist()) == {10101}
    age_ns = time.clock_gettime_ns(time.CLOCK_BOOTTIME) - int(drain.time_boot_nano[-1])
    assert 0 < age_ns < 20 * 10**9


class Truth:
    """What the programs say of themselves, and all that was sampled meanwhile."""

    def __init__(self) -> None:
        self.profile = Profile()
        self.spent_ns: dict[str, list[int]] = {}

    def split(self, program: Path, part_us: int) -> subprocess.Popen[str]:
        """Start a program with the known split; :meth:`note` takes what it says."""
        return subprocess.Popen([program, str(part_us)], stdout=subprocess.PIPE, text=True)

    def note(self, name: str, process: subprocess.Popen[str]) -> None:
        """Wait for a program that prints what it spent."""
        said, _ = process.communicate(timeout=240)
        self.spent_ns[name] = [int(word) for word in said.split()]


def _work(folder: Path, truth: Truth) -> None:
    kinds = {"split-pie": ["-pie", "-fPIE"], "split-fixed": ["-no-pie", "-fno-pie"], "split-static": ["-static"]}
    programs = {name: build(folder, "cpu_split.c", name, *flags) for name, flags in kinds.items()}
    running = {name: truth.split(program, 1_000) for name, program in programs.items()}
    for name, process in running.items():
        truth.note(name, process)
    library = build(folder, "cpu_library.c", "libcpu_library.so", "-shared", "-fPIC")
    user = build(folder, "cpu_uses_library.c", "uses-library", str(library), f"-Wl,-rpath,{folder}")
    others = [user, build(folder, "cpu_kernel.c", "in-kernel"), build(folder, "cpu_names.cpp", "names-cpp")]
    for program in [*others, build_rust(folder, "cpu_names.rs", "names-rust")]:
        subprocess.run([program, "300"], check=True)


@pytest.fixture(scope="module")
def truth(kernel: None, tmp_path_factory: pytest.TempPathFactory) -> Truth:
    folder, found = tmp_path_factory.mktemp("cpu"), Truth()
    with profiling(folder, "--hz", str(HZ)) as found.profile:
        _work(folder, found)
    return found


@pytest.mark.parametrize("program", ["split-pie", "split-fixed", "split-static"])
def test_shares_are_right_within_their_binomial_interval(truth: Truth, program: str) -> None:
    spent = dict(zip(SPLIT, truth.spent_ns[program], strict=True))
    known = [sample for sample in truth.profile.of(program) if set(SPLIT) & set(sample.functions)]
    for name, nominal in SPLIT.items():
        share = spent[name] / sum(spent.values())
        assert share == pytest.approx(nominal, abs=0.01), "the workload itself is off"
        seen = sum(name in sample.functions for sample in known) / len(known)
        assert abs(seen - share) <= _SIGMAS * math.sqrt(share * (1 - share) / len(known)), (name, seen, share)


@pytest.mark.parametrize("program", ["split-pie", "split-fixed", "split-static"])
def test_the_number_of_samples_is_the_cpu_time_times_the_rate(truth: Truth, program: str) -> None:
    expected = sum(truth.spent_ns[program]) * HZ / 1e9
    # Samples come at regular times, so on a quiet machine the count is far less uncertain than its square root.
    assert abs(len(truth.profile.of(program)) - expected) <= _SIGMAS * math.sqrt(expected)


def test_a_function_of_a_shared_library_has_its_name_and_its_callers(truth: Truth) -> None:
    samples = [sample for sample in truth.profile.of("uses-library") if "inside_library" in sample.functions]
    assert len(samples) >= 0.9 * len(truth.profile.of("uses-library"))
    for sample in samples:
        at = sample.functions.index("inside_library")
        assert sample.functions[at : at + 3] == ("inside_library", "library_entry", "main")


def test_kernel_frames_are_named_below_the_user_frames(truth: Truth) -> None:
    samples = truth.profile.of("in-kernel")
    inside = [sample for sample in samples if "kernel" in sample.kinds]
    assert len(inside) >= 0.8 * len(samples)
    reading = [sample for sample in inside if any("read" in function for function in sample.functions)]
    assert len(reading) >= 0.9 * len(inside)
    for sample in inside:
        kernel_count = sample.kinds.count("kernel")
        assert set(sample.kinds[:kernel_count]) == {"kernel"}, "kernel frames are the leaf side"
        assert not any(function.startswith("[kernel]+") for function in sample.functions)


@pytest.mark.parametrize(
    ("program", "function"),
    [
        ("names-cpp", "coffee::Grinder<int>::grind(long long)"),
        ("names-rust", "<[u32] as cpu_names::coffee::Work>::grind"),
    ],
)
def test_names_are_demangled(truth: Truth, program: str, function: str) -> None:
    samples = truth.profile.of(program)
    assert sum(function in sample.functions for sample in samples) >= 0.8 * len(samples), {
        name for sample in samples for name in sample.functions
    }
    assert not any(name.startswith(("_Z", "_R")) for sample in samples for name in sample.functions)


def test_no_sample_was_lost(truth: Truth) -> None:
    assert not {reason for reason in truth.profile.losses if reason.endswith("ring_full")}
