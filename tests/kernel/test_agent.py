"""How the agent behaves: it ends cleanly or not at all cleanly, alone on its host, with the bus there or away."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import subprocess
import time
import urllib.request
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from flamebus.wire.batch import decode_batch
from infra.servers.process import free_port, wait_until
from producers.kernel.programs import loaded_programs
from producers.lock import DEFAULT_LOCK, HostLock
from producers.spool import Spool
from tests.kernel.profiled import START_S, Profile, agent_command, build, embedded_bus, read_all, start_agent

if TYPE_CHECKING:
    from collections.abc import Iterator

    from flamebus.profile import SampleBatch

pytestmark = [pytest.mark.kernel, pytest.mark.usefixtures("kernel")]

NOWHERE = "kafka://127.0.0.1:9"
TAKEN = re.compile(r"ended: (\d+) samples taken, (\d+) records delivered, (\d+) wait")


def programs_of(process: int) -> set[int]:
    """Numbers of the BPF programs that a process holds."""
    found: set[int] = set()
    for entry in Path(f"/proc/{process}/fdinfo").glob("*"):
        with contextlib.suppress(FileNotFoundError):
            found |= {int(line.split()[1]) for line in entry.read_text().splitlines() if line.startswith("prog_id:")}
    return found


def decoded(spool: Path) -> list[SampleBatch]:
    """The batches in a spool."""
    held = Spool(spool, 1 << 30)
    try:
        return [decode_batch(record.value) for _, record in held.records()]
    finally:
        held.close()


def run_for(bus: str, spool: Path, duration: str, *flags: str) -> subprocess.CompletedProcess[str]:
    """Run an agent to its end; while another test's or benchmark's holds the host's lock, try again."""
    command = agent_command(bus, spool, "--duration", duration, *flags)
    deadline = time.monotonic() + START_S
    while True:
        ended = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
        if "another flamebus agent" not in ended.stderr or time.monotonic() > deadline:
            return ended
        time.sleep(0.5)


@pytest.fixture(scope="module")
def busy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A program that uses the CPU for as long as it is told."""
    return build(tmp_path_factory.mktemp("agent"), "cpu_brief.c", "busy-agent")


@contextlib.contextmanager
def load(busy: Path, seconds: int) -> Iterator[None]:
    with subprocess.Popen([str(busy), str(seconds * 1000)]) as process:
        try:
            yield
        finally:
            process.kill()


def test_kill_9_leaves_nothing_attached_and_the_host_free(tmp_path: Path) -> None:
    agent = start_agent(agent_command(NOWHERE, tmp_path / "spool"), tmp_path / "log")
    held = programs_of(agent.pid)
    assert held
    agent.kill()
    agent.wait()
    assert wait_until(lambda: not held & {program.number for program in loaded_programs()}, 10)
    holder = DEFAULT_LOCK.read_text()
    try:
        HostLock().release()
    except Exception:  # noqa: BLE001 - whoever is quicker than we are has found it free, which is the point
        assert DEFAULT_LOCK.read_text() != holder


def test_a_second_agent_is_refused_and_told_of_the_first(tmp_path: Path) -> None:
    first = start_agent(agent_command(NOWHERE, tmp_path / "first"), tmp_path / "log")
    try:
        second = subprocess.run(
            agent_command(NOWHERE, tmp_path / "second"), capture_output=True, text=True, timeout=60, check=False
        )
    finally:
        first.terminate()
        first.wait(30)
    assert second.returncode == 2
    assert f"another flamebus agent (pid {first.pid})" in second.stderr
    assert not (tmp_path / "second").exists()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_publishes_what_is_held(tmp_path: Path, busy: Path, number: signal.Signals) -> None:
    with embedded_bus() as bus:
        command = [*agent_command(bus, tmp_path / "spool"), "--interval", "1h"]
        agent = start_agent(command, tmp_path / "log")
        subprocess.run([busy, "500"], check=True)
        agent.send_signal(number)
        assert agent.wait(30) == 0
        profile = Profile()
        for value in read_all(bus):
            profile.add(value)
    assert len(profile.of("busy-agent")) >= 0.2 * 99
    taken = TAKEN.search((tmp_path / "log").read_text())
    assert taken is not None
    assert int(taken[1]) == len(profile.samples)
    assert int(taken[3]) == 0


def test_what_a_wrong_address_kept_waiting_is_delivered_by_the_next_start(tmp_path: Path, busy: Path) -> None:
    spool = tmp_path / "spool"
    with load(busy, 60):
        ended = run_for(NOWHERE, spool, "3s")
    assert ended.returncode == 4, ended.stderr
    assert f"nothing could be delivered to {NOWHERE}; batches wait in {spool}" in ended.stderr
    taken = TAKEN.search(ended.stderr)
    assert taken is not None
    waiting = decoded(spool)
    assert sum(len(batch.samples) for batch in waiting) == int(taken[1])
    with embedded_bus() as bus:
        assert run_for(bus, spool, "2s").returncode == 0
        delivered = {decode_batch(value).batch_id for value in read_all(bus)}
    assert delivered > {batch.batch_id for batch in waiting}
    assert not list(spool.glob("*.spool"))


def test_while_the_bus_is_away_for_long_the_oldest_go_first_and_every_one_is_reported(
    tmp_path: Path, busy: Path
) -> None:
    spool, limit = tmp_path / "spool", 15_000  # a host that runs nothing else fills about 5 kB a second
    began = time.time_ns()
    with load(busy, 60):
        ended = run_for(NOWHERE, spool, "8s", "--spool-bytes", str(limit))
    assert ended.returncode == 4, ended.stderr
    taken = TAKEN.search(ended.stderr)
    assert taken is not None
    assert sum(path.stat().st_size for path in spool.glob("*.spool")) <= limit
    batches = decoded(spool)
    assert batches, "the limit leaves room for some"
    dropped = sum(loss.samples for batch in batches for loss in batch.losses if loss.reason == "spool_full")
    assert dropped > 0
    assert sum(len(batch.samples) for batch in batches) + dropped == int(taken[1])
    kept = {batch.start_unix_nano for batch in batches if len(batch.samples)}
    newest = max(batch.start_unix_nano for batch in batches)  # a report of losses, made when the agent had closed
    assert max(kept) > newest - 6 * 10**9, "the newest are kept"
    assert min(kept) > began + 2 * 10**9, "the oldest are not"


def test_metrics_tell_of_the_agent_itself(tmp_path: Path) -> None:
    listen = f"127.0.0.1:{free_port()}"
    agent = start_agent(agent_command(NOWHERE, tmp_path, "--metrics-listen", listen), tmp_path / "log")
    try:

        def value(name: str) -> float:
            with urllib.request.urlopen(f"http://{listen}/metrics", timeout=10) as answer:
                found = re.search(rf"^flamebus_{name} (\S+)$", answer.read().decode(), re.MULTILINE)
            return float(found[1]) if found else 0.0

        def events() -> float:
            subprocess.run(["true"], check=True)
            return value("agent_process_events_total")

        assert wait_until(lambda: events() > 0 and value("agent_cpu_seconds") > 0, 20)
        resident = int(Path(f"/proc/{agent.pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
        assert 0.5 < value("agent_memory_bytes") / resident < 2
        assert value("agent_map_bytes") > 1 << 20
        assert wait_until(lambda: value("agent_processes") > 0, 10)
        assert value("agent_process_events_lost_total") == 0
    finally:
        agent.terminate()
        assert agent.wait(30) == 0


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (("--pid", "4194305"), "there is no process 4194305"),
        (("--kinds", "cpu,nothing"), "unknown kinds nothing"),
        (("--hz", "0"), "setting 'hz' may not be 0"),
        (("--bus", "http://127.0.0.1:9"), "not a bus: 'http://127.0.0.1:9'"),
        (("--duration", "soon"), "soon"),
        (("--metrics-listen", "nowhere"), "not an address: 'nowhere'"),
    ],
)
def test_wrong_input_is_said_with_exit_code_2(tmp_path: Path, flags: tuple[str, str], message: str) -> None:
    command = agent_command(NOWHERE, tmp_path / "spool", *flags)
    ended = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert (ended.returncode, message in ended.stderr) == (2, True), ended.stderr
    assert not (tmp_path / "spool").exists()
