"""The demonstration shows this machine, and leaves nothing: no process, program, mount, file or port."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import urllib.error
import urllib.request
from itertools import takewhile
from pathlib import Path

import pytest

from infra.servers.process import accepts_connections, wait_until
from producers.kernel.programs import loaded_programs

ROOT = Path(__file__).resolve().parents[2]


class Traces:
    """What a demonstration in a temporary folder could leave on this machine."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._mounts = Path("/proc/self/mounts").read_text()
        self._programs = {program.number for program in loaded_programs()}

    def processes(self) -> list[str]:
        """Command lines of processes that were started with a place for temporary files in the folder."""
        mark = f"TMPDIR={self._folder}".encode()
        found = []
        for process in Path("/proc").glob("[0-9]*"):
            try:
                if mark in (process / "environ").read_bytes():
                    found.append((process / "cmdline").read_text().replace("\0", " "))
            except (FileNotFoundError, ProcessLookupError, PermissionError):
                continue  # it has gone
        return found

    def programs(self) -> list[str]:
        """BPF programs that are new and that no running process holds, as another agent on this machine would."""
        held = set()
        for entry in Path("/proc").glob("[0-9]*/fdinfo/*"):
            with contextlib.suppress(FileNotFoundError, ProcessLookupError, PermissionError):
                held |= {int(line.split()[1]) for line in entry.read_text().splitlines() if line.startswith("prog_id:")}
        known = self._programs | held
        return [program.name for program in loaded_programs() if program.number not in known]

    def check_none(self) -> None:
        """Fail unless everything is as it was."""
        assert wait_until(lambda: not self.processes(), 10), self.processes()
        assert wait_until(lambda: not self.programs(), 10), self.programs()
        assert Path("/proc/self/mounts").read_text() == self._mounts


def launch(folder: Path, *arguments: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "flamebus", "demo", *arguments],
        cwd=ROOT,
        env={**os.environ, "TMPDIR": str(folder), "PYTHONUNBUFFERED": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,  # as in a terminal of its own
    )


def start(folder: Path, *arguments: str) -> tuple[subprocess.Popen[str], str]:
    """A demonstration, and the page's address as it says it."""
    process = launch(folder, *arguments)
    assert process.stdout is not None
    said = process.stdout.readline()
    if not said.startswith("The page is at "):
        pytest.fail(said + process.communicate()[0])
    return process, said.split()[-1].partition("?")[0]


def functions(url: str) -> str:
    try:
        with urllib.request.urlopen(f"{url}api/v1/top?service=checkout&since=5m", timeout=10) as answer:  # noqa: S310 - our own server on loopback
            return " ".join(row["function"] for row in json.load(answer)["functions"])
    except urllib.error.HTTPError as error:
        error.close()
        return ""


@pytest.mark.usefixtures("kernel")
def test_it_shows_this_machine_and_ends_without_a_trace(tmp_path: Path) -> None:
    traces = Traces(tmp_path)
    process, url = start(tmp_path, "--duration", "45")
    with process:
        assert wait_until(lambda: "sales_tax_cents" in functions(url), 40)
        assert len(traces.processes()) >= 8, "bus, agent, worker, page, three services and their parent"
        output, _ = process.communicate(timeout=60)
    assert process.returncode == 0, output
    assert "(demo_workload)" in output, "the live top"
    traces.check_none()
    assert list(tmp_path.iterdir()) == []
    assert not accepts_connections(int(url.rstrip("/").rpartition(":")[2]))


@pytest.mark.usefixtures("kernel")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_it_ends_when_it_is_interrupted_also_twice(tmp_path: Path, number: signal.Signals) -> None:
    traces = Traces(tmp_path)
    process, _ = start(tmp_path)
    with process:
        assert process.stdout is not None
        process.send_signal(number)
        said = "".join(takewhile(lambda line: line != "ending …\n", process.stdout))
        while process.poll() is None:
            process.send_signal(number)  # at every moment of the clean-up and of Python's own end
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(0.05)
        output = said + process.stdout.read()
    assert process.returncode == 0, output
    assert "Traceback" not in output
    traces.check_none()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.usefixtures("kernel")
@pytest.mark.parametrize(
    ("number", "part"),
    [(signal.SIGINT, ""), (signal.SIGTERM, "agent.log"), (signal.SIGINT, "serve.log"), (signal.SIGTERM, "search.log")],
)
def test_it_ends_when_it_is_interrupted_while_it_starts(tmp_path: Path, number: signal.Signals, part: str) -> None:
    traces = Traces(tmp_path)
    with launch(tmp_path) as process:
        assert wait_until(lambda: any(tmp_path.glob(f"flamebus-demo-*/{part}")), 30)
        process.send_signal(number)
        output, _ = process.communicate(timeout=60)
    assert process.returncode == 0, output
    assert "Traceback" not in output
    traces.check_none()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.usefixtures("kernel")
def test_its_parts_die_with_it(tmp_path: Path) -> None:
    traces = Traces(tmp_path)
    process, _ = start(tmp_path)
    with process:
        process.kill()
        process.wait(10)
    traces.check_none()
