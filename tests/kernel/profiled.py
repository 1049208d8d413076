"""What the real agent saw of what a test did: run on the embedded bus, read back record by record."""

from __future__ import annotations

import contextlib
import subprocess
import sys
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from confluent_kafka import Consumer, TopicPartition

from flamebus.profile import Resource, attribute
from flamebus.tables import StackReader
from flamebus.wire.batch import decode_batch

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

ROOT = Path(__file__).resolve().parents[2]
WORKLOADS = ROOT / "tests" / "workloads"
TOPIC = "flamebus.samples.cpu.v1"
START_S = 120.0
"""The agent starts in seconds; another test's or benchmark's on this machine may have to end first."""


@dataclass(frozen=True, slots=True)
class Sample:
    """One sample; ``functions`` leaf first."""

    service: str
    resource: Resource
    tid: int
    thread: str
    functions: tuple[str, ...]
    kinds: tuple[str, ...]


@dataclass(slots=True)
class Profile:
    """All that was published."""

    samples: list[Sample] = field(default_factory=list)
    raw: list[bytes] = field(default_factory=list)
    losses: Counter[str] = field(default_factory=Counter)

    def of(self, service: str) -> list[Sample]:
        """Samples of one service; there must be some."""
        found = [sample for sample in self.samples if sample.service == service]
        assert found, f"no samples of {service}, but of {Counter(sample.service for sample in self.samples)}"
        return found

    def share(self, service: str, function: str) -> float:
        """Share of a service's samples that have a function anywhere in their stack."""
        found = self.of(service)
        return sum(function in sample.functions for sample in found) / len(found)

    def add(self, value: bytes) -> None:
        """Decode one record."""
        batch = decode_batch(value)
        reader = StackReader(batch.tables)
        self.raw.append(value)
        self.losses.update({loss.reason: loss.samples for loss in batch.losses})
        rows = (batch.samples.stack.tolist(), batch.samples.resource.tolist(), batch.samples.thread.tolist())
        for stack, resource_row, thread in zip(*rows, strict=True):
            resource = batch.tables.resources[resource_row]
            frames = reader.frames(stack)
            self.samples.append(
                Sample(
                    attribute(resource, "service.name"),
                    resource,
                    int(batch.tables.threads.tid[thread]),
                    batch.tables.strings[batch.tables.threads.name[thread]],
                    tuple(frame.function for frame in frames),
                    tuple(frame.kind.label for frame in frames),
                )
            )


@contextlib.contextmanager
def embedded_bus() -> Iterator[str]:
    """Address of a bus that lives as long as the block."""
    with subprocess.Popen([sys.executable, "-m", "infra.embedded"], cwd=ROOT, stdout=subprocess.PIPE, text=True) as bus:
        assert bus.stdout is not None
        try:
            yield bus.stdout.readline().strip()
        finally:
            bus.kill()


def agent_command(bus: str, spool: Path, *flags: str) -> list[str]:
    """How a test starts an agent."""
    return [sys.executable, "-m", "flamebus", "agent", "--bus", bus, "--interval", "1s", "--spool", str(spool), *flags]


def start_agent(command: Sequence[str], log: Path) -> subprocess.Popen[bytes]:
    """Start an agent and wait until it samples; while another one holds the host's lock, try again.

    Raises:
        AssertionError: it did not come up, with its words.
    """
    deadline = time.monotonic() + START_S
    while time.monotonic() < deadline:
        with log.open("wb") as output:
            agent = subprocess.Popen(command, cwd=ROOT, stderr=output)
        while agent.poll() is None and time.monotonic() < deadline:
            if b"sampling at" in log.read_bytes():
                return agent
            time.sleep(0.05)
        if agent.poll() is None:
            agent.kill()
        agent.wait()
        if b"another flamebus agent" not in log.read_bytes():
            break
        time.sleep(0.5)
    raise AssertionError(f"the agent does not run: {log.read_text()}")


@contextlib.contextmanager
def profiling(folder: Path, *flags: str) -> Iterator[Profile]:
    """Profile the machine while the block runs; afterwards the profile holds everything."""
    profile = Profile()
    with embedded_bus() as bus:
        agent = start_agent(agent_command(bus, folder / "spool", *flags), folder / "agent.log")
        try:
            yield profile
        finally:
            agent.terminate()
            code = agent.wait(30)
        assert code == 0, (folder / "agent.log").read_text()
        for value in read_all(bus):
            profile.add(value)


def read_all(bus: str) -> Iterator[bytes]:
    """Every record of the samples topic up to now."""
    consumer = Consumer({"bootstrap.servers": bus.removeprefix("kafka://"), "group.id": "test", "log_level": 0})
    try:
        for partition in consumer.list_topics(TOPIC, timeout=10).topics[TOPIC].partitions:
            at = TopicPartition(TOPIC, partition, 0)
            _, end = consumer.get_watermark_offsets(at, timeout=10)
            consumer.assign([at])
            read_count = 0
            while read_count < end:
                message = consumer.poll(10)
                assert message is not None, "the bus does not give what it has"
                assert message.error() is None, message.error()
                read_count = message.offset() + 1
                yield message.value()
    finally:
        consumer.close()


def build(folder: Path, source: str, output: str, *flags: str) -> Path:
    """Compile a workload with frame pointers and with what further flags say."""
    path = folder / output
    compiler = {".c": "gcc", ".cpp": "g++"}[Path(source).suffix]
    keep = ["-O1", "-fno-omit-frame-pointer", "-fno-optimize-sibling-calls", "-pthread"]
    subprocess.run([compiler, *keep, "-o", str(path), str(WORKLOADS / source), *flags], check=True)
    return path


def build_rust(folder: Path, source: str, output: str) -> Path:
    """The same for Rust."""
    path = folder / output
    flags = ["-C", "opt-level=1", "-C", "force-frame-pointers=yes", "-C", "symbol-mangling-version=v0"]
    subprocess.run(["rustc", *flags, "-o", str(path), str(WORKLOADS / source)], check=True)
    return path
