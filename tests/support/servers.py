"""Fixtures of real servers, one per session, and fresh ones for tests that break them.

Where a Docker engine answers they are containers (testcontainers), else processes on loopback (`infra.servers`). Both
can be killed, frozen and started again on the same data and port; the flags say so, and a test asks them first.
"""

from __future__ import annotations

import re
import uuid
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol, TypeVar

import pytest

from flamebus.errors import FlamebusError
from infra import build
from infra.servers.influxdb import BUCKET, ORG, InfluxServer
from infra.servers.kafka import KafkaServer
from infra.servers.s3 import S3Server
from tests.support.containers import InfluxContainer, KafkaContainer, S3Container
from tests.support.parts import (
    Part,
    chromium_path,
    describe_servers,
    docker_version,
    kernel_missing,
    require_or_skip,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path


class Control(Protocol):
    """What can be done to a server besides using it."""

    def start(self, deadline_s: float = ...) -> None: ...
    def stop(self, grace_s: float = ...) -> None: ...
    def kill(self) -> None: ...
    def pause(self) -> None: ...
    def resume(self) -> None: ...
    def restart(self, deadline_s: float = ...) -> None: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class RealServer:
    """A running server and what a test may expect of it.

    Attributes:
        address: ``host:port``.
        url: the same as clients take it (``kafka://…``, ``http://…``).
        control: stop, kill, freeze, restart. Only for servers of a test's own (`own_kafka` …).
        stands_on: what it is, for people.
        is_real: False for an emulation (the embedded bus), whose limits some tests cannot accept.
        can_kill, can_pause: whether `control` really does these.
    """

    address: str
    url: str
    control: Control
    stands_on: str
    is_real: bool = True
    can_kill: bool = True
    can_pause: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class RealInfluxDB(RealServer):
    """An InfluxDB that is set up; ``create_bucket(name)`` makes an empty bucket."""

    create_bucket: Callable[[str], None]
    token: str
    org: str
    bucket: str


@dataclass(frozen=True, slots=True, kw_only=True)
class RealS3(RealServer):
    """An S3 server and its keys."""

    access_key: str
    secret_key: str


def open_kafka(folder: Path) -> RealServer:
    """Starts a broker of the caller's own; ``control.stop()`` is up to the caller."""
    cache = build.default_cache()
    server = KafkaContainer() if docker_version() else KafkaServer(folder, build.kafka_classpath(cache))
    server.start()
    return RealServer(
        address=server.address, url=f"kafka://{server.address}", control=server, stands_on=describe_servers()["kafka"]
    )


def open_influxdb(folder: Path) -> RealInfluxDB:
    """Starts an InfluxDB of the caller's own, set up; ``control.stop()`` is up to the caller."""
    cache = build.default_cache()
    server = InfluxContainer() if docker_version() else InfluxServer(folder, build.influxd_binary(cache))
    server.start()
    return RealInfluxDB(
        address=server.address,
        url=f"http://{server.address}",
        control=server,
        stands_on=describe_servers()["influxdb"],
        token=server.token,
        org=ORG,
        bucket=BUCKET,
        create_bucket=server.admin.create_bucket,
    )


def open_s3(folder: Path) -> RealS3:
    """Starts an S3 server of the caller's own; ``control.stop()`` is up to the caller."""
    cache = build.default_cache()
    server = S3Container() if docker_version() else S3Server(folder, build.versitygw_binary(cache))
    server.start()
    return RealS3(
        address=server.address,
        url=f"http://{server.address}",
        control=server,
        stands_on=describe_servers()["s3"],
        access_key=S3Server.access_key,
        secret_key=S3Server.secret_key,
    )


_Opened = TypeVar("_Opened", bound=RealServer)


def _lend(part: Part, opening: Callable[[Path], _Opened], folder: Path) -> Iterator[_Opened]:
    try:
        server = opening(folder)
    except FlamebusError as error:
        require_or_skip(part, str(error))
    yield server
    server.control.stop()


@pytest.fixture(scope="session")
def kafka(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RealServer]:
    """A real broker shared by the session. Take topics below `kafka_topic_prefix`; never kill it."""
    yield from _lend(Part.KAFKA, open_kafka, tmp_path_factory.mktemp("kafka"))


@pytest.fixture
def own_kafka(tmp_path: Path) -> Iterator[RealServer]:
    """A real broker of this test alone, to be killed, frozen and restarted."""
    yield from _lend(Part.KAFKA, open_kafka, tmp_path / "own-kafka")


@pytest.fixture
def kafka_topic_prefix(request: pytest.FixtureRequest) -> str:
    """Beginning of topic names that no other test uses, such as ``test-windows-1f3a9c07.``."""
    stem = re.sub(r"[^a-z0-9]+", "-", request.node.name.lower()).strip("-")[:60]
    return f"{stem}-{uuid.uuid4().hex[:8]}."


@pytest.fixture(scope="session")
def influxdb(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RealInfluxDB]:
    """A real InfluxDB shared by the session. Write to `influxdb_bucket`; never kill it."""
    yield from _lend(Part.INFLUXDB, open_influxdb, tmp_path_factory.mktemp("influxdb"))


@pytest.fixture
def own_influxdb(tmp_path: Path) -> Iterator[RealInfluxDB]:
    """A real InfluxDB of this test alone, to be killed, frozen and restarted."""
    yield from _lend(Part.INFLUXDB, open_influxdb, tmp_path / "own-influxdb")


@pytest.fixture
def influxdb_bucket(influxdb: RealInfluxDB) -> str:
    """An empty bucket of this test alone; also the name of its InfluxQL database."""
    name = f"test-{uuid.uuid4().hex[:12]}"
    influxdb.create_bucket(name)
    return name


@pytest.fixture(scope="session")
def s3(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RealS3]:
    """A real S3 server shared by the session. Create a bucket of the test's own."""
    yield from _lend(Part.S3, open_s3, tmp_path_factory.mktemp("s3"))


@pytest.fixture
def own_s3(tmp_path: Path) -> Iterator[RealS3]:
    """A real S3 server of this test alone, to be killed, frozen and restarted."""
    yield from _lend(Part.S3, open_s3, tmp_path / "own-s3")


@pytest.fixture(scope="session")
def kernel() -> None:
    """Skips, or fails when required, where BPF programs cannot be loaded."""
    missing = kernel_missing()
    if missing:
        require_or_skip(Part.KERNEL, missing)


@pytest.fixture(scope="session")
def chromium() -> Path:
    """Path of an installed Chromium."""
    path = chromium_path()
    if path is None:
        require_or_skip(Part.BROWSER, "no chromium on PATH")
    return path
