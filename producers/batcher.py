"""From resolved samples to batches: one per service and epoch-aligned interval, cut when the interval is over."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from flamebus.distinct import distinct
from flamebus.profile import (
    F32,
    I64,
    TIME_DELTA_UNIT_NS,
    U32,
    Loss,
    SampleBatch,
    Samples,
    SampleType,
)
from flamebus.window import window_start, window_starts
from producers import agent_metrics as metrics
from producers.dictionary import Dictionary
from producers.losses import AGENT_SERVICE, LossLedger

MAX_HELD_SAMPLES = 2_000_000
"""28 bytes each: 100 CPUs at 999 Hz for 20 s. What comes on top is dropped and counted as ``agent_overloaded``."""


@dataclass(frozen=True, slots=True)
class ResolvedSamples:
    """Samples whose stack, process and thread are rows of a dictionary; columns of shape ``(n,)``.

    Attributes:
        dictionary: the generation that the rows belong to.
        time_unix_nano: when; node: leaf in the call tree; resource, thread: rows of the dictionary.
        weight: periods that the sample stands for.
    """

    dictionary: Dictionary
    time_unix_nano: I64
    node: U32
    resource: U32
    thread: U32
    weight: F32

    def __len__(self) -> int:
        return len(self.node)


@dataclass(frozen=True, slots=True)
class Sender:
    """What a batch says of who made it and what was measured.

    Attributes:
        session: 8 bytes, random per start of the agent: with the sequence they make batch ids that never repeat.
        period: distance between samples in the unit of ``sample_type``; the value of each sample.
    """

    session: bytes
    host: str
    boot_id: str
    agent_version: str
    kind: str
    sample_type: SampleType
    period: int


@dataclass(frozen=True, slots=True)
class ServiceBatch:
    """A batch and the service whose key it is published under."""

    service: str
    batch: SampleBatch


class Batcher:
    """Holds the samples of open intervals. What comes after its interval was cut gets a further batch of it."""

    def __init__(self, sender: Sender, interval_ns: int, losses: LossLedger) -> None:
        self._sender = sender
        self._interval_ns = interval_ns
        self._losses = losses
        self._chunks: list[ResolvedSamples] = []
        self._held_count = 0
        self._sequence = 0

    def add(self, samples: ResolvedSamples) -> None:
        """Hold samples until their interval is cut; nothing is looked at, so this costs nothing per sample."""
        if self._held_count + len(samples) > MAX_HELD_SAMPLES:
            dropped = float(samples.weight.sum())
            metrics.LOSSES.labels("agent_overloaded").inc(dropped)
            self._losses.add((Loss("agent_overloaded", round(dropped), round(dropped * self._sender.period)),))
        elif len(samples):
            self._chunks.append(samples)
            self._held_count += len(samples)

    def cut(self, before_unix_nano: int, now_unix_nano: int) -> list[ServiceBatch]:
        """Batches of all intervals that end by ``before_unix_nano``, oldest first, with the losses noted so far.

        A service's own losses go with its batch, the host's with the largest batch; losses of a service without samples
        get a batch without samples in the interval that ``now_unix_nano`` lies in, the host's one of ``AGENT_SERVICE``.
        """
        chunks, self._chunks = self._chunks, []
        self._held_count = 0
        parts: dict[tuple[int, str], list[tuple[Dictionary, ResolvedSamples]]] = {}
        for chunk in _merged(chunks):
            for start, rest in self._by_interval(chunk):
                if start + self._interval_ns > before_unix_nano:
                    self._chunks.append(rest)
                    self._held_count += len(rest)
                    continue
                for service, own in _by_service(rest):
                    parts.setdefault((start, service), []).append((rest.dictionary, own))
        return self._with_losses(parts, now_unix_nano)

    def _by_interval(self, chunk: ResolvedSamples) -> Iterator[tuple[int, ResolvedSamples]]:
        starts = window_starts(chunk.time_unix_nano, self._interval_ns)
        for start in distinct(starts).tolist():
            yield start, _pick(chunk, starts == start)

    def _with_losses(
        self, parts: dict[tuple[int, str], list[tuple[Dictionary, ResolvedSamples]]], now_unix_nano: int
    ) -> list[ServiceBatch]:
        largest = max(parts, key=lambda key: sum(len(own) for _, own in parts[key]), default=None)
        result = []
        for key in sorted(parts):
            start, service = key
            for dictionary, samples in parts[key]:
                noted = self._losses.take(service, *([""] if key == largest else []))
                result.append(ServiceBatch(service, self._batch(start, dictionary, samples, noted)))
        start = window_start(now_unix_nano, self._interval_ns)
        for service in self._losses.services():
            batch = self._batch(start, Dictionary(), _NOTHING, self._losses.take(service))
            result.append(ServiceBatch(service or AGENT_SERVICE, batch))
        return result

    def _batch(
        self, start: int, dictionary: Dictionary, samples: ResolvedSamples, losses: tuple[Loss, ...]
    ) -> SampleBatch:
        sender = self._sender
        resources, resource = np.unique(samples.resource, return_inverse=True)
        threads, thread = np.unique(samples.thread, return_inverse=True)
        branches = dictionary.tree.cut(
            samples.node,
            tuple(dictionary.resources[row] for row in resources.tolist()),
            [dictionary.threads[row] for row in threads.tolist()],
        )
        # By stack, then time: equal and rising numbers side by side compress best.
        order = np.lexsort((samples.time_unix_nano, branches.stacks))
        time = samples.time_unix_nano[order]
        self._sequence += 1
        return SampleBatch(
            batch_id=sender.session + self._sequence.to_bytes(8, "big"),
            sequence=self._sequence,
            host=sender.host,
            boot_id=sender.boot_id,
            agent_version=sender.agent_version,
            kind=sender.kind,
            sample_type=sender.sample_type,
            period_type=sender.sample_type,
            period=sender.period,
            start_unix_nano=start,
            end_unix_nano=start + self._interval_ns,
            tables=branches.tables,
            samples=Samples(
                stack=branches.stacks[order],
                resource=resource.astype(np.uint32)[order],
                thread=thread.astype(np.uint32)[order],
                value=np.full(len(samples), sender.period, dtype=np.int64),
                weight=samples.weight[order],
                time_delta=((time - start) // TIME_DELTA_UNIT_NS).astype(np.uint32),
            ),
            losses=losses,
        )


_NONE = np.empty(0, dtype=np.uint32)
_NOTHING = ResolvedSamples(
    Dictionary(), np.empty(0, dtype=np.int64), _NONE, _NONE, _NONE, np.empty(0, dtype=np.float32)
)


def _pick(chunk: ResolvedSamples, rows: np.ndarray[tuple[int, ...], np.dtype[np.bool_ | np.intp]]) -> ResolvedSamples:
    return ResolvedSamples(
        chunk.dictionary,
        chunk.time_unix_nano[rows],
        chunk.node[rows],
        chunk.resource[rows],
        chunk.thread[rows],
        chunk.weight[rows],
    )


def _merged(chunks: list[ResolvedSamples]) -> Iterator[ResolvedSamples]:
    """One chunk per dictionary, in the order of first use: there is one, or two while a generation changes."""
    for dictionary in {id(chunk.dictionary): chunk.dictionary for chunk in chunks}.values():
        own = [chunk for chunk in chunks if chunk.dictionary is dictionary]
        yield ResolvedSamples(
            dictionary,
            np.concatenate([chunk.time_unix_nano for chunk in own]),
            np.concatenate([chunk.node for chunk in own]),
            np.concatenate([chunk.resource for chunk in own]),
            np.concatenate([chunk.thread for chunk in own]),
            np.concatenate([chunk.weight for chunk in own]),
        )


def _by_service(chunk: ResolvedSamples) -> Iterator[tuple[str, ResolvedSamples]]:
    services = [chunk.dictionary.services[row] for row in range(len(chunk.dictionary.services))]
    names, number_of_resource = np.unique(np.array(services, dtype=object), return_inverse=True)
    number = number_of_resource[chunk.resource]
    for index in distinct(number).tolist():
        yield str(names[index]), _pick(chunk, number == index)
