"""What the agent's benchmarks stand on: a real Kafka, the real ``flamebus agent``, and what it delivered."""

from __future__ import annotations

import fcntl
import os
import signal
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Self

from confluent_kafka import Consumer, TopicPartition

from flamebus.profile import SampleBatch, service_of
from flamebus.wire.batch import SCHEMA, decode_batch
from flamebus.wire.topics import DEFAULT_PREFIX, samples_topic
from infra.build import default_cache, kafka_classpath
from infra.servers.kafka import KafkaServer
from infra.servers.process import wait_until
from producers.kernel.programs import LoadedProgram, ProgramStats, loaded_programs
from producers.lock import DEFAULT_LOCK

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

_HOME = Path(__file__).resolve().parent.parent
_START_DEADLINE_S = 30
_STOP_DEADLINE_S = 30
_LOCK_DEADLINE_S = 300  # another agent on this host is another benchmark or test, which ends
_READ_DEADLINE_S = 30


@dataclass(frozen=True, slots=True)
class Memory:
    """What a process holds, bytes.

    Attributes:
        pss: its part of resident memory, shared pages divided among their users.
        rss: resident memory.
        peak_rss: the most that was ever resident.
        kernel: locked by its BPF maps and programs.
    """

    pss: int
    rss: int
    peak_rss: int
    kernel: int


@contextmanager
def kafka(folder: Path) -> Iterator[str]:
    """A real broker of our own with the topics of the contract; gives its ``kafka://`` address."""
    server = KafkaServer(folder / "kafka", kafka_classpath(default_cache()))
    server.start()
    try:
        create_topics(server.url, DEFAULT_PREFIX)
        yield server.url
    finally:
        server.stop()


def create_topics(bus: str, prefix: str) -> None:
    """Make those of the contract that are missing under a prefix."""
    words = ["topics", "create", "--bus", bus, "--topic-prefix", prefix]
    subprocess.run([sys.executable, "-m", "flamebus", *words], check=True, cwd=_HOME, stdout=subprocess.DEVNULL)


class AgentRun:
    """One run of ``flamebus agent``, from ``with`` to the end of its block, which is a SIGTERM."""

    def __init__(
        self, bus: str, folder: Path, options: Sequence[str] = (), *, topic_prefix: str = DEFAULT_PREFIX
    ) -> None:
        """Nothing runs yet.

        Args:
            bus: ``kafka://…``.
            folder: for spool and log.
            options: more of the verb's options.
            topic_prefix: of the topics, which are made when missing.
        """
        self._bus, self._prefix = bus, topic_prefix
        self._command = [sys.executable, "-m", "flamebus", "agent", "--bus", bus, "--spool", str(folder / "spool")]
        self._command += ["--topic-prefix", topic_prefix, *options]
        self._log = folder / "agent.log"
        self._process: subprocess.Popen[bytes] | None = None
        self._programs_before: set[int] = set()

    def __enter__(self) -> Self:
        """Wait for other agents of this host to end, start ours, and wait until it samples."""
        create_topics(self._bus, self._prefix)
        _wait_for_the_host()
        self._programs_before = {program.number for program in loaded_programs()}
        with self._log.open("wb") as log:
            environment = {**os.environ, "OTEL_SERVICE_NAME": "flamebus-agent"}
            self._process = subprocess.Popen(
                self._command, cwd=_HOME, env=environment, stdout=log, stderr=log, start_new_session=True
            )
        wait_until(lambda: self._has_ended() or bool(self._programs()), _START_DEADLINE_S)
        if self._has_ended() or not self._programs():
            self.__exit__()
            raise RuntimeError(f"the agent does not sample after {_START_DEADLINE_S} s: {self.log()}")
        return self

    def __exit__(self, *_: object) -> None:
        """Have it publish what it holds, and end."""
        if self._process is None:
            return
        if self._process.poll() is None:
            self._process.send_signal(signal.SIGTERM)
        try:
            self._process.wait(_STOP_DEADLINE_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
            raise

    @property
    def pid(self) -> int:
        """Of the agent."""
        assert self._process is not None, "it was not started"
        return self._process.pid

    def log(self) -> str:
        """What it printed."""
        return self._log.read_text(errors="replace")

    def _has_ended(self) -> bool:
        return self._process is not None and self._process.poll() is not None

    def _programs(self) -> list[LoadedProgram]:
        """Ours: those of all agents that were loaded since ours was started (there is one agent per host)."""
        return [p for p in loaded_programs() if p.number not in self._programs_before and p.name == "cpu_sample"]

    def program_stats(self) -> ProgramStats:
        """Runs and run time of its BPF programs; somebody has to hold ``enable_stats()``."""
        stats = [program.stats for program in self._programs()]
        return ProgramStats(sum(each.runs_count for each in stats), sum(each.run_time_ns for each in stats))

    def cpu_s(self) -> float:
        """CPU time of all its living threads, user and system, seconds (ns resolution)."""
        tasks = Path(f"/proc/{self.pid}/task").iterdir()
        return sum(int((task / "schedstat").read_text().split()[0]) for task in tasks) / 1e9

    def memory(self) -> Memory:
        """What it holds now."""
        rollup = _kilobytes(Path(f"/proc/{self.pid}/smaps_rollup").read_text())
        peak = _kilobytes(Path(f"/proc/{self.pid}/status").read_text())["VmHWM"]
        return Memory(rollup["Pss"] * 1024, rollup["Rss"] * 1024, peak * 1024, self._kernel_bytes())

    def _kernel_bytes(self) -> int:
        total = 0
        for entry in Path(f"/proc/{self.pid}/fdinfo").iterdir():
            with suppress(FileNotFoundError):  # closed meanwhile
                lines = entry.read_text().splitlines()
                total += sum(int(line.split()[1]) for line in lines if line.startswith("memlock:"))
        return total


def _kilobytes(text: str) -> dict[str, int]:
    return {line.split(":")[0]: int(line.split()[1]) for line in text.splitlines() if line.endswith(" kB")}


def _wait_for_the_host() -> None:
    """Wait until no agent holds the host's lock."""

    def is_free() -> bool:
        try:
            with DEFAULT_LOCK.open("a") as lock:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True

    if not wait_until(is_free, _LOCK_DEADLINE_S):
        raise RuntimeError(f"another agent holds {DEFAULT_LOCK} since {_LOCK_DEADLINE_S} s")


def delivered(bus: str, topic_prefix: str = DEFAULT_PREFIX) -> list[SampleBatch]:
    """Every batch in the topic of CPU samples, partition by partition."""
    name = samples_topic("cpu").name(topic_prefix)
    consumer = Consumer({"bootstrap.servers": bus.removeprefix("kafka://"), "group.id": "benchmark"})
    try:
        partitions = consumer.list_topics(name, timeout=10).topics[name].partitions
        ends = {p: consumer.get_watermark_offsets(TopicPartition(name, p), timeout=10)[1] for p in partitions}
        consumer.assign([TopicPartition(name, p, 0) for p, end in ends.items() if end])
        batches: list[SampleBatch] = []
        deadline = time.monotonic() + _READ_DEADLINE_S
        while any(ends.values()):
            if time.monotonic() > deadline:
                raise RuntimeError(f"{name} could not be read to its end in {_READ_DEADLINE_S} s")
            message = consumer.poll(0.2)
            if message is None or message.error():
                continue
            if message.offset() + 1 >= ends[message.partition()]:
                ends[message.partition()] = 0
            if SCHEMA.encode() in message.value()[:64]:  # ticks lie between the batches
                batches.append(decode_batch(message.value()))
        return batches
    finally:
        consumer.close()


def samples_by_service(batches: Sequence[SampleBatch]) -> dict[str, float]:
    """Samples by weight of each service."""
    found: dict[str, float] = {}
    for batch in batches:
        services = [service_of(resource) for resource in batch.tables.resources]
        for resource, weight in zip(batch.samples.resource.tolist(), batch.samples.weight.tolist(), strict=True):
            found[services[resource]] = found.get(services[resource], 0.0) + weight
    return found


def losses_by_reason(batches: Sequence[SampleBatch]) -> dict[str, int]:
    """Samples lost, dropped or maimed, by reason."""
    found: dict[str, int] = {}
    for batch in batches:
        for loss in batch.losses:
            found[loss.reason] = found.get(loss.reason, 0) + loss.samples
    return found


@contextmanager
def stage() -> Iterator[tuple[str, Path]]:
    """A bus and an empty folder; gives both."""
    with ExitStack() as exits:
        folder = Path(exits.enter_context(tempfile.TemporaryDirectory(prefix="flamebus-bench-")))
        yield exits.enter_context(kafka(folder)), folder
