"""A ``flamebus stream`` process of a test, under a supervisor that starts it again when it ends by itself."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import urllib.request
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from prometheus_client.parser import text_string_to_metric_families

from infra.servers.process import accepts_connections, free_port, wait_until

if TYPE_CHECKING:
    from collections.abc import Sequence

ROOT = Path(__file__).resolve().parents[2]
START_S = 60
"""Long, since machines that run tests are busy; nothing waits for longer than it has to."""

_RESTARTABLE = {18, 4}
"""Something unexpected; a server is away at start. A supervisor starts a worker again for either."""

_ENVIRONMENT = {"PYTHONPATH": str(ROOT), "PYTHONFAULTHANDLER": "1"}


@dataclass(slots=True)
class StreamWorker:
    """One process; ``metrics_port`` answers for its metrics."""

    command: list[str]
    log: Path
    metrics_port: int
    process: subprocess.Popen[bytes] | None = None
    restarts: int = 0

    @classmethod
    def of(cls, arguments: Sequence[str], log: Path, program: Sequence[str] = ("-m", "flamebus")) -> StreamWorker:
        """A worker with these arguments, not started yet; ``program`` is what Python runs."""
        port = free_port()
        listen = ("--metrics-listen", f"127.0.0.1:{port}")
        return cls([sys.executable, *program, "stream", *arguments, *listen], log, port)

    def start(self) -> None:
        with self.log.open("ab") as output:
            self.process = subprocess.Popen(
                self.command, cwd=ROOT, stdout=output, stderr=output, env=os.environ | _ENVIRONMENT
            )

    def wait_until_listening(self) -> None:
        """Wait until it has begun: it answers for its metrics, and takes signals."""
        assert wait_until(lambda: accepts_connections(self.metrics_port), START_S), self.tail()

    def wait_until_reading(self) -> None:
        """Wait until it owns partitions and takes its own ticks in."""
        self.wait_until_listening()
        assert wait_until(lambda: self.metric("flamebus_stream_records_total") > 0, START_S), self.state()

    def metrics(self) -> str:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.metrics_port}/metrics", timeout=10) as answer:
                return str(answer.read().decode())
        except OSError as error:
            return f"# no metrics: {error}\n"

    def metric(self, name: str, **labels: str) -> float:
        """Sum of a metric over the series that have these labels."""
        families = text_string_to_metric_families(self.metrics())
        return sum(
            sample.value
            for family in families
            for sample in family.samples
            if sample.name == name and labels.items() <= sample.labels.items()
        )

    def wait_for(self, name: str, value: float, deadline_s: float = START_S, **labels: str) -> None:
        """Wait until a metric has reached a value."""
        assert wait_until(lambda: self.metric(name, **labels) >= value, deadline_s), f"{name}: {self.state()}"

    def state(self) -> str:
        """For a failed test: metrics, the stacks of its threads, the end of its log. It does not survive this."""
        metrics = [line for line in self.metrics().splitlines() if "_stream_" in line and line[0] != "#"]
        if self.process:
            self.process.send_signal(signal.SIGABRT)
            self.process.wait(10)
            self.process = None
        return "\n".join([*metrics, *self.log.read_text(errors="replace").splitlines()[-60:]])

    def send(self, number: signal.Signals) -> None:
        assert self.process
        self.process.send_signal(number)

    def end(self, number: signal.Signals, grace_s: float = 30) -> int:
        """End the process; the supervisor does not start it again."""
        assert self.process
        process, self.process = self.process, None
        process.send_signal(number)
        try:
            return process.wait(grace_s)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            raise

    def supervise(self) -> None:
        if self.process and self.process.poll() is not None:
            assert self.process.returncode in _RESTARTABLE, f"exit {self.process.returncode}: {self.tail()}"
            self.restarts += 1
            self.start()

    def tail(self) -> str:
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-15:])

    def stop(self) -> None:
        """End it however it stands."""
        if self.process:
            self.process.send_signal(signal.SIGCONT)
            self.process.kill()
            self.process.wait()
            self.process = None
