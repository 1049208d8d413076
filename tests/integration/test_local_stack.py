"""``flamebus up``, ``status`` and ``down`` as local processes: the real verbs, a real Kafka and a real InfluxDB."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from flamebus.errors import FlamebusError
from infra import build
from infra.servers.influxdb import InfluxAdmin
from infra.servers.kafka import answers_metadata
from infra.servers.process import ProcessIdentity, accepts_connections, free_port
from tests.support.parts import Part, kernel_missing, require_or_skip

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = [pytest.mark.kafka, pytest.mark.influxdb]

PARTS = ("kafka", "influxdb", "stream", "serve", "agent")


@dataclass(frozen=True)
class CommandLine:
    """The three verbs with a state folder and ports of one test's own."""

    state: Path
    kafka_port: int = field(default_factory=free_port)
    influx_port: int = field(default_factory=free_port)
    page_port: int = field(default_factory=free_port)

    def run(self, verb: str, *arguments: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "flamebus", verb, "--local", "--state", str(self.state), *arguments]
        return subprocess.run(command, capture_output=True, text=True, timeout=180, check=False)

    def up(self) -> subprocess.CompletedProcess[str]:
        ports = {
            "--kafka-port": self.kafka_port,
            "--influx-port": self.influx_port,
            "--page-port": self.page_port,
            "--stream-metrics-port": free_port(),
            "--agent-metrics-port": free_port(),
        }
        return self.run("up", *(str(word) for pair in ports.items() for word in pair))

    def states(self) -> dict[str, str]:
        return {part["name"]: part["state"] for part in self.parts()}

    def parts(self) -> list[dict[str, Any]]:
        answer: list[dict[str, Any]] = json.loads(self.run("status", "--json").stdout)
        return answer


@pytest.fixture
def command_line(tmp_path: Path) -> Iterator[CommandLine]:
    try:
        build.kafka_classpath(build.default_cache())
        build.influxd_binary(build.default_cache())
    except FlamebusError as error:
        require_or_skip(Part.KAFKA, str(error))
    line = CommandLine(tmp_path / "state")
    yield line
    line.run("down")


def test_up_down_up_keeps_the_state(command_line: CommandLine) -> None:
    first = command_line.up()
    assert first.returncode == 0, first.stderr
    states = command_line.states()
    agent = states.pop("agent")
    assert set(states.values()) == {"running"}
    # Without root or BPF the rest runs all the same, and the reason is said.
    assert agent == "running" or kernel_missing() or "the agent does not run" in first.stderr
    assert answers_metadata(f"127.0.0.1:{command_line.kafka_port}")
    assert accepts_connections(command_line.page_port)

    token_file = command_line.state / "influxdb" / "token"
    assert token_file.stat().st_mode & 0o777 == 0o600
    token = token_file.read_text()
    InfluxAdmin(command_line.influx_port, token).create_bucket("kept")
    processes = [ProcessIdentity.of(part["pid"]) for part in command_line.parts() if part["pid"]]
    assert not any(token in Path(f"/proc/{process.pid}/cmdline").read_text() for process in processes)

    assert command_line.up().returncode == 0  # what runs is left alone
    assert [ProcessIdentity.of(part["pid"]) for part in command_line.parts() if part["pid"]] == processes

    assert command_line.run("down").returncode == 0
    assert command_line.states() == dict.fromkeys(PARTS, "stopped")
    assert not any(process.is_alive() for process in processes)

    assert command_line.up().returncode == 0
    buckets = InfluxAdmin(command_line.influx_port, token).request("GET", "/api/v2/buckets?name=kept")["buckets"]
    assert isinstance(buckets, list)
    assert len(buckets) == 1


def test_a_port_in_use_is_said_and_fails(command_line: CommandLine) -> None:
    with socket.create_server(("127.0.0.1", command_line.kafka_port)):
        answer = command_line.up()
    assert answer.returncode == 1
    assert f"port {command_line.kafka_port} on 127.0.0.1 is in use" in answer.stderr
    assert "Traceback" not in answer.stderr
    assert command_line.states() == dict.fromkeys(PARTS, "stopped")


def test_down_spares_a_process_that_has_taken_a_recorded_number(command_line: CommandLine) -> None:
    command_line.state.mkdir()
    ours = ProcessIdentity.of(os.getpid())
    record = {"name": "agent", "pid": ours.pid, "start_ticks": ours.start_ticks - 1, "address": "", "log": ""}
    (command_line.state / "stack.json").write_text(json.dumps({"parts": {"agent": record}}))
    assert command_line.states()["agent"] == "ended"
    assert command_line.run("down").returncode == 0
    assert command_line.states()["agent"] == "stopped"
    assert ours.is_alive()


def test_a_damaged_record_is_said(command_line: CommandLine) -> None:
    command_line.state.mkdir()
    (command_line.state / "stack.json").write_text("{")
    answer = command_line.run("status")
    assert answer.returncode == 1
    assert "stack.json is damaged" in answer.stderr
