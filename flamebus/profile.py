"""A batch of samples as columns over shared tables: the one shape that agents send, windows keep and readers merge.

All columns are one-dimensional numpy arrays and are never written to: a decoded batch reads them in place.
Conventions of every table: row 0 of ``strings`` is the empty string, row 0 of ``mappings`` is "no mapping", row 0 of
``nodes`` is the root of the call tree (its location is ignored). All other tables start at 0 with a real row.
"""

from dataclasses import dataclass
from enum import StrEnum

import numpy as np
from numpy.typing import NDArray

U8 = NDArray[np.uint8]
U32 = NDArray[np.uint32]
U64 = NDArray[np.uint64]
I64 = NDArray[np.int64]
F32 = NDArray[np.float32]
F64 = NDArray[np.float64]

TIME_DELTA_UNIT_NS = 100_000
"""Unit of a sample's ``time_delta``: 100 µs keeps ten seconds in 17 bits, and no sampler here is faster than 1 ms."""

SERVICE_ATTRIBUTE = "service.name"
HOST_ATTRIBUTE = "host.name"
CONTAINER_ATTRIBUTE = "container.id"
UNKNOWN_SERVICE = "unknown_service"
"""What OpenTelemetry calls a service that did not say its name."""

Resource = tuple[tuple[str, str], ...]
"""Attributes of who was sampled, sorted by name; OpenTelemetry's semantic conventions where they have a name."""


class Kind(StrEnum):
    """Which producer made a batch; the stem of its program, module, topic, test, workload and page."""

    CPU = "cpu"


@dataclass(frozen=True, slots=True)
class SampleType:
    """What a value measures, as in pprof: ``("cpu", "nanoseconds")``."""

    type: str
    unit: str


@dataclass(frozen=True, slots=True)
class Functions:
    """Columns ``name`` and ``file``: rows of ``strings``. Shape ``(n_functions,)``."""

    name: U32
    file: U32


@dataclass(frozen=True, slots=True)
class Mappings:
    """Files mapped: ``file`` and ``build_id`` are rows of ``strings``; the rest bytes. Shape ``(n_mappings,)``."""

    file: U32
    build_id: U32
    start: U64
    limit: U64
    offset: U64


@dataclass(frozen=True, slots=True)
class Locations:
    """Columns of addresses, shape ``(n_locations,)``.

    The lines of location ``i`` are ``lines[first_line[i]:first_line[i + 1]]``, innermost first; an empty range means
    unresolved.
    """

    mapping: U32
    address: U64
    frame_kind: U8
    first_line: U32


@dataclass(frozen=True, slots=True)
class Lines:
    """Columns ``function`` (row of functions) and source ``line`` (0 = unknown). Shape ``(n_lines,)``."""

    function: U32
    line: U32


@dataclass(frozen=True, slots=True)
class Nodes:
    """The call tree: ``parent`` is the caller's row and always smaller than the node's own. Shape ``(n_nodes,)``."""

    parent: U32
    location: U32


@dataclass(frozen=True, slots=True)
class Stacks:
    """A stack is the node of its leaf; ``id`` is its content hash (flamebus.frames). Shape ``(n_stacks,)``."""

    id: U64
    node: U32


@dataclass(frozen=True, slots=True)
class Threads:
    """Columns ``tid`` and ``name`` (row of strings). Shape ``(n_threads,)``."""

    tid: U32
    name: U32


@dataclass(frozen=True, slots=True)
class Tables:
    """Everything that samples refer to by row."""

    strings: tuple[str, ...]
    functions: Functions
    mappings: Mappings
    locations: Locations
    lines: Lines
    nodes: Nodes
    stacks: Stacks
    resources: tuple[Resource, ...]
    threads: Threads


@dataclass(frozen=True, slots=True)
class Samples:
    """Columns of shape ``(n_samples,)``.

    Attributes:
        stack: row of stacks; resource: row of resources; thread: row of threads.
        value: what one event measured, in the sample type's unit, ≥ 0.
        weight: how many events the row stands for, finite and > 0; the total is the sum of value × weight, at most
            2**53 in a batch, so that float64 adds it up exactly.
        time_delta: units of ``TIME_DELTA_UNIT_NS`` since the batch's start; ``None`` in windows.
    """

    stack: U32
    resource: U32
    thread: U32
    value: I64
    weight: F32
    time_delta: U32 | None

    def __len__(self) -> int:
        return len(self.stack)

    def totals(self) -> F64:
        """Value × weight of each row, in the sample type's unit; float64, exact below 2**53."""
        return self.value.astype(np.float64) * self.weight


@dataclass(frozen=True, slots=True)
class Loss:
    """Samples that did not make it, and why.

    Attributes:
        reason: stable word such as ``ring_full`` (a letter, then letters, digits and ``_``, lower case, at most 64);
            docs/agent.md lists all.
        samples: how many; value: their value in the sample type's unit, 0 when unknown; each at most 2**53.
    """

    reason: str
    samples: int
    value: int = 0


@dataclass(frozen=True, slots=True)
class SampleBatch:
    """One record of a samples or windows topic.

    Attributes:
        batch_id: 16 bytes, unique; duplicates are recognised by (host, kind, batch_id).
        kind: a word, as a loss's reason is one: it becomes part of topics, paths and labels.
        sequence: +1 per agent and kind, so that a gap shows a lost batch.
        host, boot_id, agent_version: who sent it; a window has host ``""``, and each resource its ``host.name``.
        sample_type: what values measure; period_type: what the sampling period is measured in; period: in its unit.
        start_unix_nano, end_unix_nano: half-open range of event time that all samples lie in, at most a day.
    """

    batch_id: bytes
    sequence: int
    host: str
    boot_id: str
    agent_version: str
    kind: str
    sample_type: SampleType
    period_type: SampleType
    period: int
    start_unix_nano: int
    end_unix_nano: int
    tables: Tables
    samples: Samples
    losses: tuple[Loss, ...] = ()

    def times_unix_nano(self) -> I64:
        """Event time of each sample, ns UTC; the start for every row of a window."""
        delta = self.samples.time_delta
        if delta is None:
            return np.full(len(self.samples), self.start_unix_nano, dtype=np.int64)
        return self.start_unix_nano + delta.astype(np.int64) * TIME_DELTA_UNIT_NS


def attribute(resource: Resource, name: str, default: str = "") -> str:
    """Value of one attribute of a resource, or the default."""
    return next((value for key, value in resource if key == name), default)


def service_of(resource: Resource) -> str:
    """Service that a resource belongs to; ``unknown_service`` when it does not say."""
    return attribute(resource, SERVICE_ATTRIBUTE) or UNKNOWN_SERVICE
