"""Short and changing lives, seen by the real agent: every sample under the right name, with functions."""

from __future__ import annotations

import math
import os
import subprocess
from collections import Counter
from typing import TYPE_CHECKING

import pytest

from tests.kernel.profiled import Profile, build, profiling

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.kernel

SAMPLES_PER_SECOND = 99
BRIEF_COUNT = 23


def run(*command: str | Path, **variables: str) -> None:
    subprocess.run([str(each) for each in command], check=True, env={**os.environ, **variables})


def in_own_namespaces(script: str) -> None:
    run("unshare", "--pid", "--fork", "--mount", "sh", "-ec", script)


def brief(folder: Path, name: str, *flags: str) -> Path:
    return build(folder, "cpu_brief.c", name, *flags)


def lives(folder: Path) -> None:
    """All that happens while the agent looks. Every program has a name of its own, by which it is found again."""
    short = brief(folder, "short-life")
    for _ in range(BRIEF_COUNT):
        run(short, "50")
    run(build(folder, "cpu_exec.c", "exec-first"), "600", brief(folder, "exec-second"), "600")
    run(build(folder, "cpu_fork.c", "forks-only"), "5", "60")
    run(build(folder, "cpu_threads.c", "has-threads"), "150")
    hidden = brief(folder, "hidden")
    (folder / "mount").mkdir()
    in_own_namespaces(
        f"mount -t tmpfs none {folder}/mount; cp {hidden} {folder}/mount/only-there; {folder}/mount/only-there 300"
    )
    (folder / "root").mkdir()
    brief(folder / "root", "in-other-root", "-static")
    in_own_namespaces(f"chroot {folder}/root /in-other-root 300")
    deleted = brief(folder, "deleted")
    with subprocess.Popen([str(deleted), "300"]) as process:
        deleted.unlink()
        process.wait()
    replaced = brief(folder, "replaced")
    with subprocess.Popen([str(replaced), "1200"]) as process:
        build(folder, "cpu_exec.c", "another").rename(replaced)
        process.wait()


@pytest.fixture(scope="module")
def profile(kernel: None, tmp_path_factory: pytest.TempPathFactory) -> Profile:
    folder = tmp_path_factory.mktemp("lives")
    with profiling(folder) as found:
        lives(folder)
    return found


def test_nothing_was_lost(profile: Profile) -> None:
    assert not {reason for reason in profile.losses if reason.endswith("ring_full")}


def test_programs_that_live_50_ms_have_their_functions(profile: Profile) -> None:
    samples = profile.of("short-life")
    expected = BRIEF_COUNT * 0.05 * SAMPLES_PER_SECOND
    # On a crowded machine each of them runs in many short turns, and the number of its samples is a matter of chance.
    assert len(samples) >= expected - 4 * math.sqrt(expected)
    assert len({sample.tid for sample in samples}) >= BRIEF_COUNT - 3
    # The rest is exec and the dynamic loader: a process spends about 1 ms there.
    assert profile.share("short-life", "brief_work") > 0.9


def test_samples_before_and_after_an_exec_go_to_different_programs(profile: Profile) -> None:
    assert profile.share("exec-first", "before_exec") > 0.9
    assert profile.share("exec-second", "brief_work") > 0.9
    assert profile.share("exec-first", "brief_work") == 0
    assert profile.share("exec-second", "before_exec") == 0
    assert {sample.tid for sample in profile.of("exec-first")} == {sample.tid for sample in profile.of("exec-second")}


def test_forks_that_never_exec_are_named_as_their_parent_was(profile: Profile) -> None:
    assert profile.share("forks-only", "child_work") > 0.9
    assert len({sample.tid for sample in profile.of("forks-only") if "child_work" in sample.functions}) >= 4


def test_threads_have_their_names(profile: Profile) -> None:
    counts = Counter(sample.thread for sample in profile.of("has-threads") if "thread_work" in sample.functions)
    assert set(counts) == {"thread-0", "thread-1", "thread-2"}


@pytest.mark.parametrize("service", ["only-there", "in-other-root", "deleted"])
def test_files_that_only_the_process_could_see_are_read(profile: Profile, service: str) -> None:
    assert profile.share(service, "brief_work") > 0.8


def test_a_file_replaced_on_disk_gives_its_old_names_and_never_the_new_ones(profile: Profile) -> None:
    assert profile.share("replaced", "before_exec") == 0
    assert profile.share("replaced", "brief_work") > 0.9
