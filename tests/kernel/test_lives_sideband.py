"""The kernel's side-band itself: what it tells, in which order, what happens when it has to drop something."""

from __future__ import annotations

import os
import subprocess
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from flamebus.errors import KernelUnavailableError
from flamebus.profile import attribute
from infra.servers.process import wait_until
from producers.identity import identify
from producers.kernel.maps import online_cpus
from producers.kernel.sideband import Sideband, boot_nano
from producers.lives import Comm, EventsLost, Exit, Fork, Mmap, ProcessEvent
from producers.processes import Processes
from producers.procfs import ProcFs
from producers.service_rules import ServiceRules

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = [pytest.mark.kernel, pytest.mark.usefixtures("kernel")]


@pytest.fixture
def sideband() -> Iterator[Sideband]:
    found = Sideband()
    found.start()
    yield found
    found.stop()


def drained(sideband: Sideband, process: int) -> list[ProcessEvent]:
    """All events until the exit of a process that has ended."""
    found: list[ProcessEvent] = []

    def has_ended() -> bool:
        found.extend(sideband.drain())
        return any(isinstance(event, Exit) and event.tgid == process == event.tid for event in found)

    assert wait_until(has_ended, 10)
    return found


def test_a_program_is_told_from_its_fork_to_its_exit(sideband: Sideband) -> None:
    before = boot_nano()
    child = subprocess.Popen(["/bin/true"])
    child.wait()
    events = drained(sideband, child.pid)
    times = [event.time_boot_nano for event in events]
    assert times == sorted(times)
    own = [event for event in events if not isinstance(event, EventsLost) and event.tgid == child.pid]
    assert before < own[0].time_boot_nano < own[-1].time_boot_nano < boot_nano()
    assert isinstance(own[0], Fork)
    assert own[0].parent_tgid == os.getpid()
    exec_at = next(at for at, event in enumerate(own) if isinstance(event, Comm) and event.is_exec)
    assert own[exec_at] == Comm(child.pid, child.pid, "true", True, own[exec_at].time_boot_nano)
    program = next(event for event in own[exec_at:] if isinstance(event, Mmap))
    assert os.path.realpath("/bin/true") == os.path.realpath(program.path)
    assert program.is_executable
    assert program.build_id or program.inode == Path("/bin/true").stat().st_ino
    assert any(isinstance(event, Mmap) and "libc.so" in event.path for event in own)
    assert isinstance(own[-1], Exit)


def test_it_wakes_its_reader_when_a_program_starts(sideband: Sideband) -> None:
    assert wait_until(lambda: not sideband.woken(), 10), "other programs start all the time"
    subprocess.run(["/bin/true"], check=True)
    assert wait_until(sideband.woken, 10)


def test_dropped_records_are_counted_and_the_living_are_checked_again(tmp_path: Path) -> None:
    script = tmp_path / "waits.sh"
    script.write_text('read line\nexec "$@"\n')
    proc = ProcFs()
    processes = Processes(proc, partial(identify, rules=ServiceRules()))
    sideband = Sideband(ring_bytes=4096)
    sideband.start()
    with subprocess.Popen(["sh", script, "sleep", "60"], stdin=subprocess.PIPE, text=True) as child:
        try:
            assert child.stdin is not None
            assert wait_until(lambda: b"waits.sh" in Path(f"/proc/{child.pid}/cmdline").read_bytes(), 10)
            assert wait_until(lambda: (proc.executable(child.pid) or "").endswith("sh"), 10)
            processes.apply(sideband.drain())
            before = processes.image(child.pid, boot_nano())
            assert attribute(before.resource, "service.name") == "waits"
            subprocess.run(["sh", "-c", "for i in $(seq 100); do /bin/true; done"], check=True)
            child.stdin.write("go\n")
            child.stdin.flush()
            assert wait_until(lambda: (proc.executable(child.pid) or "").endswith("sleep"), 10)
            events: list[ProcessEvent] = []

            def is_told() -> bool:
                subprocess.run(["/bin/true"], check=True)  # what was dropped is counted in the next record that fits
                events.extend(sideband.drain())
                return any(isinstance(event, EventsLost) for event in events)

            assert wait_until(is_told, 20)
            processes.apply(events)
            after = processes.image(child.pid, boot_nano())
            assert attribute(after.resource, "service.name") == "sleep"
        finally:
            child.kill()
            sideband.stop()


def test_cpus_that_come_and_go_are_followed() -> None:
    cpus = online_cpus()
    sideband = Sideband()
    sideband.start()
    try:
        bytes_of_all = sideband.locked_bytes()
        sideband.follow([cpus[0]])
        assert sideband.locked_bytes() == bytes_of_all // len(cpus)
        sideband.follow(cpus)
        assert sideband.locked_bytes() == bytes_of_all
        assert sum(isinstance(event, EventsLost) for event in sideband.drain()) == len(cpus) - 1
        child = subprocess.Popen(["/bin/true"])
        child.wait()
        assert drained(sideband, child.pid)
        sideband.follow([*cpus, 4095])
        assert sideband.locked_bytes() == bytes_of_all, "a CPU that does not exist is left out"
    finally:
        sideband.stop()


def test_a_ring_that_cannot_be_had_is_told() -> None:
    with pytest.raises(KernelUnavailableError, match="ring that reports processes"):
        Sideband(ring_bytes=3 * 4096).start()
