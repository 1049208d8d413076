"""Starting, stopping, killing and freezing one server process, and knowing a process again later."""

from __future__ import annotations

import contextlib
import os
import random
import shutil
import signal
import socket
import subprocess
import time
from abc import ABC, abstractmethod
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from flamebus.errors import SetupError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

LOOPBACK = "127.0.0.1"
_POLL_S = 0.05
# Below the kernel's range for outgoing connections (32768…): while a server is down no client can sit on its port.
_PORTS = range(20000, 32000)


@dataclass(frozen=True, slots=True)
class ProcessIdentity:
    """A process that can be told from a later one with the same number.

    Attributes:
        pid: its number.
        start_ticks: when it started, in clock ticks since boot (field 22 of ``/proc/PID/stat``).
    """

    pid: int
    start_ticks: int

    @classmethod
    def of(cls, pid: int) -> ProcessIdentity:
        """The identity of a running process.

        Raises:
            ProcessLookupError: no process has this number.
        """
        return cls(pid, _stat(pid)[1])

    def is_alive(self) -> bool:
        """Whether this very process still runs; a zombie does not."""
        try:
            state, start_ticks = _stat(self.pid)
        except ProcessLookupError:
            return False
        return start_ticks == self.start_ticks and state not in {"Z", "X"}

    def signal(self, number: signal.Signals) -> None:
        """Sends a signal to this process, to no other that has taken its number, and to nobody when it is gone."""
        if self.is_alive():
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, number)

    def terminate(self, grace_s: float) -> None:
        """Asks the process to end, and kills it when it has not ended after ``grace_s`` seconds."""
        self.signal(signal.SIGTERM)
        self.signal(signal.SIGCONT)  # a frozen process would not hear the request
        if not wait_until(lambda: not self.is_alive(), grace_s):
            self.signal(signal.SIGKILL)
            wait_until(lambda: not self.is_alive(), 5)


def _stat(pid: int) -> tuple[str, int]:
    try:
        text = Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError) as error:
        raise ProcessLookupError(pid) from error
    fields = text.rpartition(")")[2].split()  # the name before it may hold spaces and parentheses
    return fields[0], int(fields[19])


def wait_until(condition: Callable[[], bool], deadline_s: float) -> bool:
    """Polls until the condition holds; returns whether it did within ``deadline_s`` seconds."""
    end = time.monotonic() + deadline_s
    while not condition():
        if time.monotonic() > end:
            return False
        time.sleep(_POLL_S)
    return True


def port_is_free(port: int) -> bool:
    """Whether a server could listen on this loopback port now."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # connections in TIME_WAIT do not hinder a server
        try:
            probe.bind((LOOPBACK, port))
        except OSError:
            return False
    return True


def free_port(choice: random.Random | None = None) -> int:
    """A loopback port that nobody listens on and that no outgoing connection will be given.

    Raises:
        SetupError: none of many tried is free.
    """
    choice = choice or random.SystemRandom()
    for port in choice.sample(_PORTS, 200):
        if port_is_free(port):
            return port
    raise SetupError(f"no free port on {LOOPBACK} between {_PORTS.start} and {_PORTS.stop}")


def accepts_connections(port: int) -> bool:
    """Whether something on this loopback port takes a connection."""
    try:
        with socket.create_connection((LOOPBACK, port), timeout=1):
            return True
    except OSError:
        return False


def launch(
    command: Sequence[str],
    log: Path,
    *,
    environment: Mapping[str, str] | None = None,
    folder: Path | None = None,
    dies_with_parent: bool,
) -> subprocess.Popen[bytes]:
    """Starts a program in its own session, with its output appended to ``log`` and ``folder`` as its working directory.

    With ``dies_with_parent`` the kernel kills the program when the *thread* that called this ends, however it ends, so
    that a killed test run leaves no servers; call it from a thread that lives as long as the server should.

    Raises:
        SetupError: the program does not exist or may not be run.
    """
    if dies_with_parent and shutil.which("setpriv"):
        # Not preexec_fn: that deadlocks now and then in a process with threads, and Kafka clients have threads.
        command = ["setpriv", "--pdeathsig", "KILL", "--", *command]
    try:
        with log.open("ab") as output:
            return subprocess.Popen(
                command,
                env={**os.environ, **(environment or {})},
                cwd=folder,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
    except OSError as error:
        raise SetupError(f"cannot start {command[0]}: {error}") from error


class Server(ABC):
    """One real server in a folder of its own: data, settings and log live there and survive stop and kill.

    Args:
        folder: where everything of this server lives; created when missing.
        port: loopback port, or None for a free one; the same over restarts.
        dies_with_parent: see `launch`.
    """

    name: ClassVar[str]

    def __init__(self, folder: Path, *, port: int | None = None, dies_with_parent: bool = True) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder
        self.port = port or free_port()
        self._dies_with_parent = dies_with_parent
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def address(self) -> str:
        """``host:port`` of the server."""
        return f"{LOOPBACK}:{self.port}"

    @property
    def log(self) -> Path:
        """The file with everything the server printed."""
        return self.folder / "server.log"

    @property
    def process(self) -> subprocess.Popen[bytes]:
        """The running process.

        Raises:
            SetupError: the server was not started, or was stopped.
        """
        if self._process is None:
            raise SetupError(f"{self.name} in {self.folder} is not running")
        return self._process

    def start(self, deadline_s: float = 90) -> None:
        """Starts the server and waits until it answers.

        Raises:
            SetupError: its port is taken, it ended at once, or it does not answer in time; with the end of its log.
        """
        # The kernel frees the port of a killed server a moment after the process is gone.
        if not wait_until(lambda: port_is_free(self.port), 2):
            raise SetupError(f"cannot start {self.name}: port {self.port} on {LOOPBACK} is in use by another program")
        process = launch(
            self._command(), self.log, environment=self._environment(), dies_with_parent=self._dies_with_parent
        )
        self._process = process
        ready = wait_until(lambda: process.poll() is not None or self._is_ready(), deadline_s)
        if process.poll() is None and ready:
            return
        what = f"does not answer after {deadline_s:.0f} s" if not ready else f"ended with {process.returncode}"
        self.kill()
        raise SetupError(f"{self.name} on {self.address} {what}; end of {self.log}:\n{self._log_tail()}")

    def stop(self, grace_s: float = 30) -> None:
        """Ends the server in order, or kills it after ``grace_s`` seconds; does nothing when it does not run."""
        if self._process is None:
            return
        self._process.terminate()
        self._process.send_signal(signal.SIGCONT)
        try:
            self._process.wait(grace_s)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._process = None

    def kill(self) -> None:
        """Ends the server at once and without warning, as a crash would; does nothing when it does not run."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def pause(self) -> None:
        """Freezes the server: connections stay open and nothing answers."""
        self.process.send_signal(signal.SIGSTOP)

    def resume(self) -> None:
        """Lets a frozen server go on."""
        self.process.send_signal(signal.SIGCONT)

    def restart(self, deadline_s: float = 90) -> None:
        """Stops the server when it runs, and starts it on the same data and port."""
        self.stop()
        self.start(deadline_s)

    @property
    def is_running(self) -> bool:
        """Whether the process lives (it may be frozen)."""
        return self._process is not None and self._process.poll() is None

    def _log_tail(self) -> str:
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-15:])

    def _environment(self) -> Mapping[str, str]:
        """What the server needs in its environment besides ours."""
        return {}

    @abstractmethod
    def _command(self) -> Sequence[str]:
        """Makes settings and empty data where they are missing; the program and its arguments."""

    @abstractmethod
    def _is_ready(self) -> bool:
        """Whether the server can be used; must not wait for longer than a second or so."""
