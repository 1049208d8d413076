"""The whole stack as background processes of this machine: real Kafka and InfluxDB, agent, worker and page.

Data, logs and the record of what runs live in one state folder and survive `Stack.down`. A recorded process is stopped
by number and start time together, so a number that the kernel has since given to another program is never signalled.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import subprocess
import sys
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import BaseModel, ValidationError

from flamebus.errors import KernelUnavailableError, SetupError
from infra import build
from infra.servers.influxdb import BUCKET, ORG, InfluxServer
from infra.servers.kafka import KafkaServer
from infra.servers.process import (
    LOOPBACK,
    ProcessIdentity,
    Server,
    accepts_connections,
    launch,
    port_is_free,
    wait_until,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

_READY_DEADLINE_S = 30
# The agent and the worker publish what they hold before they end; Kafka writes its snapshots.
_GRACE_S = 20
_LOG_LINES = 12


class Name(StrEnum):
    """The processes, in the order in which they start; `_STOP_ORDER` is how they stop."""

    KAFKA = "kafka"
    INFLUXDB = "influxdb"
    STREAM = "stream"
    SERVE = "serve"
    AGENT = "agent"


# First what fills the pipeline, then what drains it, then what it stands on.
_STOP_ORDER = (Name.AGENT, Name.SERVE, Name.STREAM, Name.INFLUXDB, Name.KAFKA)


class Ports(BaseModel):
    """Where the parts listen on loopback; ``metrics`` are those of agent and worker."""

    kafka: int = 9092
    influxdb: int = 8086
    page: int = 4040
    stream_metrics: int = 4041
    agent_metrics: int = 4042

    @property
    def kafka_controller(self) -> int:
        """Kafka's own traffic, next to its port."""
        return self.kafka + 1


class PartRecord(BaseModel):
    """What is remembered of a process that was started."""

    name: Name
    pid: int
    start_ticks: int
    address: str
    log: str

    @property
    def identity(self) -> ProcessIdentity:
        """To ask whether it still runs, and to stop it."""
        return ProcessIdentity(self.pid, self.start_ticks)


class StackRecord(BaseModel):
    """The content of ``stack.json``."""

    parts: dict[Name, PartRecord] = {}


class PartStatus(BaseModel):
    """One line of ``flamebus status``.

    Attributes:
        state: ``running``; ``ended`` when it was started and is gone without `Stack.down`; ``stopped`` otherwise.
    """

    name: Name
    state: str
    pid: int | None = None
    address: str = ""
    log: str = ""


def default_state() -> Path:
    """The state folder: ``flamebus`` below ``XDG_STATE_HOME`` (or ``~/.local/state``)."""
    base = os.environ.get("XDG_STATE_HOME")
    return (Path(base) if base else Path.home() / ".local" / "state") / "flamebus"


class Stack:
    """The processes of one state folder.

    Args:
        state: everything that must survive lives here.
        cache: of built servers (`infra.build`).
        ports: where to listen.
        say: takes one line of progress for people.
    """

    def __init__(self, state: Path, cache: Path, ports: Ports, say: Callable[[str], None]) -> None:
        state.mkdir(parents=True, exist_ok=True)
        self._state = state.absolute()  # the processes have it as their working directory
        self._cache = cache
        self._ports = ports
        self._say = say

    @property
    def page_url(self) -> str:
        """Where the page is."""
        return f"http://{LOOPBACK}:{self._ports.page}/"

    @property
    def token_file(self) -> Path:
        """Holds InfluxDB's token; only its owner can read it."""
        return self._state / "influxdb" / "token"

    def up(self) -> list[PartStatus]:
        """Starts what does not run yet; the agent only where the kernel and our rights allow it.

        Raises:
            SetupError: a port is taken, a server cannot be built, or a process ended at once; what was started before
                keeps running and is known to `down`.
        """
        with self._locked():
            kafka = KafkaServer(
                self._state / "kafka",
                build.kafka_classpath(self._cache),
                port=self._ports.kafka,
                controller_port=self._ports.kafka_controller,
                dies_with_parent=False,
            )
            self._ensure_server(Name.KAFKA, kafka)
            self._create_topics(kafka.url)
            influx_folder = self._state / "influxdb"
            binary = build.influxd_binary(self._cache)
            influx = InfluxServer(influx_folder, binary, port=self._ports.influxdb, dies_with_parent=False)
            self._ensure_server(Name.INFLUXDB, influx)
            self._ensure_stream(kafka.url, influx)
            store, page = str(self._state / "store"), f"{LOOPBACK}:{self._ports.page}"
            self._ensure_verb(Name.SERVE, ["--store", store, "--listen", page], self._ports.page, {})
            self._ensure_agent(kafka.url)
        return self.status()

    def down(self) -> list[PartStatus]:
        """Stops what `up` started, in order; data stays. Does nothing to a process that is not ours."""
        with self._locked():
            record = self._read()
            for name in _STOP_ORDER:
                part = record.parts.pop(name, None)
                if part is not None and part.identity.is_alive():
                    self._say(f"stopping {name} (process {part.pid})")
                    part.identity.terminate(_GRACE_S)
                self._write(record)
        return self.status()

    def status(self) -> list[PartStatus]:
        """What runs now, one entry per part."""
        parts = self._read().parts
        return [_status(name, parts.get(name)) for name in Name]

    def _ensure_server(self, name: Name, server: Server) -> None:
        if self._runs(name):
            return
        self._say(f"starting {name} on {server.address}")
        server.start()
        self._remember(name, server.process.pid, server.address, server.log)

    def _create_topics(self, bus: str) -> None:
        command = [sys.executable, "-m", "flamebus", "topics", "create", "--bus", bus]
        ended = subprocess.run(command, capture_output=True, text=True, check=False)
        if ended.returncode != 0:
            raise SetupError(f"cannot create the topics: {ended.stderr.strip()}")

    def _ensure_stream(self, bus: str, influx: InfluxServer) -> None:
        arguments = [
            *("--bus", bus, "--store", str(self._state / "store"), "--influx-url", influx.url),
            *("--influx-org", ORG, "--influx-bucket", BUCKET),
        ]
        # By environment, not by flag: everyone on the machine can read the arguments of a process.
        secret = {"FLAMEBUS_INFLUX_TOKEN": influx.token}
        self._ensure_verb(Name.STREAM, arguments, self._ports.stream_metrics, secret)

    def _ensure_agent(self, bus: str) -> None:
        spool = {"FLAMEBUS_SPOOL": str(self._state / "spool")}
        try:
            self._ensure_verb(Name.AGENT, ["--bus", bus], self._ports.agent_metrics, spool)
        except KernelUnavailableError as error:
            self._say(f"the agent does not run, so this machine is not profiled (flamebus doctor says more): {error}")

    def _ensure_verb(self, name: Name, arguments: Sequence[str], port: int, environment: Mapping[str, str]) -> None:
        """Starts ``flamebus NAME …`` unless it runs, and waits until it listens on ``port`` (its page or metrics)."""
        if self._runs(name):
            return
        address = f"{LOOPBACK}:{port}"
        if not port_is_free(port):
            raise SetupError(f"cannot start {name}: port {port} on {LOOPBACK} is in use by another program")
        self._say(f"starting {name} on {address}")
        log = self._state / f"{name}.log"
        log.unlink(missing_ok=True)  # what an earlier process said would be taken for this one's words
        command = [sys.executable, "-m", "flamebus", name.value, *arguments]
        settings = {**environment, "FLAMEBUS_METRICS_LISTEN": address}
        process = launch(command, log, environment=settings, folder=self._state, dies_with_parent=False)
        self._remember(name, process.pid, address, log)
        wait_until(lambda: process.poll() is not None or accepts_connections(port), _READY_DEADLINE_S)
        if process.poll() is not None:
            self._forget(name)
            words = "\n".join(log.read_text(errors="replace").splitlines()[-_LOG_LINES:])
            failure = KernelUnavailableError if process.returncode == KernelUnavailableError.exit_code else SetupError
            raise failure(f"{name} ended with {process.returncode}: {words}")
        if not accepts_connections(port):
            self._say(f"{name} runs but does not listen on {address} after {_READY_DEADLINE_S} s; see {log}")

    def _runs(self, name: Name) -> bool:
        part = self._read().parts.get(name)
        return part is not None and part.identity.is_alive()

    def _remember(self, name: Name, pid: int, address: str, log: Path) -> None:
        with contextlib.suppress(ProcessLookupError):  # ended already: its caller will notice and say so
            ticks = ProcessIdentity.of(pid).start_ticks
            record = self._read()
            record.parts[name] = PartRecord(name=name, pid=pid, start_ticks=ticks, address=address, log=str(log))
            self._write(record)

    def _forget(self, name: Name) -> None:
        record = self._read()
        record.parts.pop(name, None)
        self._write(record)

    @property
    def _file(self) -> Path:
        return self._state / "stack.json"

    def _read(self) -> StackRecord:
        try:
            return StackRecord.model_validate_json(self._file.read_bytes())
        except FileNotFoundError:
            return StackRecord()
        except ValidationError as error:
            raise SetupError(f"{self._file} is damaged; end the processes by hand and remove it: {error}") from error

    def _write(self, record: StackRecord) -> None:
        new = self._file.with_suffix(".new")
        new.write_text(record.model_dump_json(indent=2))
        new.replace(self._file)

    @contextlib.contextmanager
    def _locked(self) -> Iterator[None]:
        with (self._state / "lock").open("w") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as error:
                raise SetupError(f"another flamebus up or down is at work in {self._state}") from error
            yield


def _status(name: Name, part: PartRecord | None) -> PartStatus:
    if part is None:
        return PartStatus(name=name, state="stopped")
    state = "running" if part.identity.is_alive() else "ended"
    return PartStatus(name=name, state=state, pid=part.pid, address=part.address, log=part.log)
