"""The command line as a person runs it: a process with arguments, and what it says."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from flamebus.store.reader import StoreReader
from flamebus.time_range import TimeRange
from infra.servers.process import wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

ROOT = Path(__file__).resolve().parents[2]
EVER = TimeRange(0, 2**62)
WINDOW_S = 2
FAST = {"FLAMEBUS_WINDOW": f"{WINDOW_S}s", "FLAMEBUS_LATENESS": "1s"}
"""Windows short enough for a test to wait for."""

Result = subprocess.CompletedProcess[str]


def environment(more: Mapping[str, str] | None = None) -> dict[str, str]:
    """This process's, without settings of flamebus that happen to be in it."""
    own = {name: value for name, value in os.environ.items() if not name.startswith("FLAMEBUS_")}
    return {**own, "PYTHONPATH": str(ROOT), **(more or {})}


def flamebus(
    *arguments: str, env: Mapping[str, str] | None = None, stdin: bytes | None = None, folder: Path = ROOT
) -> Result:
    """Run a verb to its end. No run may print a traceback, whatever it was given."""
    done = subprocess.run(
        [sys.executable, "-m", "flamebus", *arguments],
        cwd=folder,
        env=environment(env),
        input=stdin,
        capture_output=True,
        timeout=120,
        check=False,
    )
    result = Result(done.args, done.returncode, done.stdout.decode(), done.stderr.decode())
    assert "Traceback" not in result.stderr, result.stderr
    return result


def said(result: Result) -> tuple[int, str]:
    """Exit code and what an error said, on one line."""
    return result.returncode, " ".join(result.stderr.split())


@dataclass(frozen=True, slots=True)
class Worker:
    """A stream worker on a topic prefix of its own, and its store."""

    bus: str
    prefix: str
    store: Path

    @property
    def to(self) -> tuple[str, ...]:
        """Options that lead a verb to its topics."""
        return ("--bus", self.bus, "--topic-prefix", self.prefix)

    def reader(self) -> StoreReader:
        """A fresh look at the store."""
        return StoreReader(str(self.store))

    def total(self, service: str) -> int:
        """What the store holds of a service; 0 before there is a store."""
        return self.reader().stacks(service, "cpu", EVER).total if (self.store / "samples").exists() else 0

    def samples(self, service: str) -> float:
        """The same in samples."""
        return float(self.reader().stacks(service, "cpu", EVER).samples.sum())

    def late(self, service: str) -> float:
        """Samples of a service that came too late for their window."""
        return self.reader().late_samples(service, "cpu", EVER)

    @contextmanager
    def running(self) -> Iterator[subprocess.Popen[bytes]]:
        """The worker's process; it ends with 0 when it is asked to."""
        command = [sys.executable, "-m", "flamebus", "stream", *self.to, "--store", str(self.store)]
        command += ["--group", f"{self.prefix}group"]
        log = self.store.with_suffix(".log")
        with log.open("ab") as output:
            process = subprocess.Popen(command, cwd=ROOT, env=environment(FAST), stdout=output, stderr=output)
        try:
            yield process
            assert process.poll() is None, log.read_text()
            process.send_signal(signal.SIGTERM)
            assert process.wait(30) == 0, log.read_text()
        finally:
            if process.poll() is None:
                process.kill()
                process.wait()

    def stores(self, service: str, total: int) -> bool:
        """Wait until the store holds a total of a service, and no more."""
        return wait_until(lambda: self.total(service) >= total, 60) and self.total(service) == total
