"""The real parts a test may need, what they stand on here, and what happens when one is missing."""

from __future__ import annotations

import os
import platform
import shutil
from collections import Counter
from enum import StrEnum
from functools import cache
from pathlib import Path
from typing import NoReturn

import pytest

from infra import build, docker


class Part(StrEnum):
    """A part that may be missing; each is also a marker."""

    KERNEL = "kernel"
    KAFKA = "kafka"
    INFLUXDB = "influxdb"
    S3 = "s3"
    BROWSER = "browser"


FIXTURES: dict[str, Part] = {
    "kernel": Part.KERNEL,
    "kafka": Part.KAFKA,
    "kafka_topic_prefix": Part.KAFKA,
    "own_kafka": Part.KAFKA,
    "influxdb": Part.INFLUXDB,
    "influxdb_bucket": Part.INFLUXDB,
    "own_influxdb": Part.INFLUXDB,
    "s3": Part.S3,
    "own_s3": Part.S3,
    "chromium": Part.BROWSER,
}
"""Which part a fixture stands for: a test that uses it gets the marker by itself."""


@cache
def required() -> frozenset[Part]:
    """The parts that ``FLAMEBUS_REQUIRE`` names, comma separated: for these, missing means failed."""
    names = os.environ.get("FLAMEBUS_REQUIRE", "").replace(" ", "")
    return frozenset(Part(name) for name in names.split(",") if name)


def require_or_skip(part: Part, reason: str) -> NoReturn:
    """Ends the calling test because a part is missing: failed when the run requires the part, skipped otherwise."""
    if part in required():
        pytest.fail(f"{part} is required by FLAMEBUS_REQUIRE and missing: {reason}", pytrace=False)
    pytest.skip(f"needs {part}: {reason}")


@cache
def docker_version() -> str:
    """Version of the Docker engine that answers, or an empty string.

    ``FLAMEBUS_TEST_SERVERS=process`` hides an engine, to run on local processes all the same.
    """
    if os.environ.get("FLAMEBUS_TEST_SERVERS") == "process":
        return ""
    return docker.engine_version()


def kernel_missing() -> str:
    """Why BPF programs cannot be loaded here, or an empty string."""
    if os.geteuid() != 0:
        return "not root"
    if not Path("/sys/kernel/btf/vmlinux").exists():
        return "the kernel has no BTF"
    return ""


def chromium_path() -> Path | None:
    """The installed Chromium, if any."""
    found = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    return Path(found) if found else None


def describe_kernel() -> str:
    """One line for the header of a test run."""
    btf = "BTF" if Path("/sys/kernel/btf/vmlinux").exists() else "no BTF"
    missing = kernel_missing()
    return f"{platform.system()} {platform.release()}, {btf}" + (f" (missing: {missing})" if missing else "")


def describe_chromium() -> str:
    """One line for the header of a test run."""
    path = chromium_path()
    return str(path) if path else "missing: no chromium on PATH"


def describe_servers() -> dict[str, str]:
    """For the header of a test run: what each server stands on, or would stand on once built."""
    engine = docker_version()
    how = f"container (testcontainers, Docker {engine})" if engine else "local process"
    versions = {"kafka": build.KAFKA_VERSION, "influxdb": build.INFLUXDB_VERSION, "s3": build.VERSITYGW_VERSION}
    cache = build.default_cache()
    return {
        name: f"{how}, {'versitygw ' if name == 's3' else ''}{version}"
        + ("" if engine or build.is_built(cache, name) else " (not built yet: built on first use)")
        for name, version in versions.items()
    }


class RunCounter:
    """Counts how many tests of each part really ran, so that a green run in which nothing ran is noticed."""

    def __init__(self) -> None:
        self.ran: Counter[Part] = Counter()

    def note(self, item: pytest.Item) -> None:
        """Counts one test that ran to a verdict."""
        self.ran.update(part for part in Part if item.get_closest_marker(part))

    def missing(self) -> list[Part]:
        """Required parts of which no test ran."""
        return sorted(part for part in required() if self.ran[part] == 0)

    def summary(self) -> str:
        """One line, such as ``kernel 12, kafka 40, …``."""
        return ", ".join(f"{part} {self.ran[part]}" for part in Part)
