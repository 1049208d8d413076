"""How ``flamebus agent`` becomes the agent: what reads command lines and settings stays behind.

typer and pydantic cost 15 MB that the agent would hold for as long as the host runs, and the C library reads how it may
hoard memory only when a program starts. So once the settings are checked the process executes ``python -m
producers.main``, which imports no more than it needs: same process id, same files, 30 MB less. The settings go along in
a file without a name.
"""

from __future__ import annotations

import json
import os
import sys
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import NoReturn

from producers.losses import AGENT_SERVICE

_ALLOCATION = {
    "OPENBLAS_NUM_THREADS": "1",  # each of numpy's threads has buffers of its own, and we multiply no matrices
    "MALLOC_ARENA_MAX": "1",  # one heap: librdkafka's threads allocate little at a time
    # What is larger than this goes back to the kernel when it is freed, not into a heap that only grows: tables of
    # symbols are read through buffers of megabytes. Setting it also keeps glibc from raising it by itself.
    "MALLOC_MMAP_THRESHOLD_": "65536",
    "MALLOC_TRIM_THRESHOLD_": "65536",
}


@dataclass(frozen=True, slots=True)
class AgentSettings:
    """The settings of one run, checked.

    Attributes:
        servers: Kafka's ``host:port,…``; bus: the same as people wrote it.
        hz: samples per second and CPU; tgid: the one process to sample, 0 for all.
        service: overrides every service name when not empty; service_rules: TOML, or a file of it.
        interval_ns: length of a batch; duration_ns: stop after this long, None for never.
        spool: folder; spool_bytes: its limit.
        topic_prefix: goes before the name of every topic.
        metrics_listen: ``host:port``, empty for none.
        symbol_cache_bytes: limit of the symbol tables in memory.
    """

    servers: str
    bus: str
    hz: int
    tgid: int
    service: str
    service_rules: str
    interval_ns: int
    duration_ns: int | None
    spool: str
    spool_bytes: int
    topic_prefix: str
    metrics_listen: str
    symbol_cache_bytes: int


def become_agent(settings: AgentSettings) -> NoReturn:
    """Execute the agent in this process. Does not return."""
    descriptor = os.memfd_create("flamebus-settings", 0)  # without close-on-exec
    os.write(descriptor, json.dumps(asdict(settings)).encode())
    os.lseek(descriptor, 0, os.SEEK_SET)
    home = str(Path(__file__).resolve().parent.parent)
    paths = [home, *filter(None, os.environ.get("PYTHONPATH", "").split(os.pathsep))]
    own = {**_ALLOCATION, "OTEL_SERVICE_NAME": AGENT_SERVICE}  # whose samples are the agent's own
    environment = {**own, **os.environ, "PYTHONPATH": os.pathsep.join(paths)}
    # -P: the folder that the caller happens to be in is no place to import from.
    command = [sys.executable, "-P", "-m", "producers.main", str(descriptor)]
    os.execve(sys.executable, command, environment)  # noqa: S606 - it is this program, without a shell


def received_settings(descriptor: int) -> AgentSettings:
    """What :func:`become_agent` handed over; can be read once."""
    with os.fdopen(descriptor, encoding="utf-8") as stream:
        return AgentSettings(**json.load(stream))
