"""Samples become batches of one service, each inside one window, none larger than a record may be."""

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
import xxhash

from flamebus.errors import BadDataError
from flamebus.importing.foreign import MAX_VALUE, ForeignProfile, ForeignSample
from flamebus.importing.placing import Placed, Placement
from flamebus.profile import (
    HOST_ATTRIBUTE,
    SERVICE_ATTRIBUTE,
    TIME_DELTA_UNIT_NS,
    Loss,
    Resource,
    SampleBatch,
    Samples,
)
from flamebus.tables import TablesBuilder
from flamebus.wire.batch import encode_batch
from flamebus.wire.splitting import split_encoded
from flamebus.wire.topics import MAX_MESSAGE_BYTES

CHUNK_SAMPLES = 10_000
"""Parts of samples that are held before they become batches: 28 bytes each in a record, so that few are split."""

_CHUNK_FRAMES = 250_000
_HEADER_ROOM_BYTES = 16 * 1024
"""For key, headers and what Kafka itself puts around a record."""


@dataclass(frozen=True, slots=True)
class Origin:
    """What imported batches say of where they come from."""

    service: str
    host: str
    kind: str
    version: str


@dataclass(slots=True)
class _Row:
    sample: ForeignSample
    placed: Placed


class Batcher:
    """Makes the batches of one profile.

    The id of a batch follows from its bytes and its number in the profile: the same file, read again with the same
    options, makes the same batches, which workers then count once.
    """

    def __init__(self, profile: ForeignProfile, origin: Origin, placement: Placement) -> None:
        self._profile = profile
        self._origin = origin
        self._placement = placement
        self._rows: list[_Row] = []
        self._frames_count = 0
        self._total = 0.0
        self._sequence = 0
        attributes = {SERVICE_ATTRIBUTE: origin.service, HOST_ATTRIBUTE: origin.host}
        self._resource: Resource = tuple(sorted((key, value) for key, value in attributes.items() if value))

    def batches(self) -> Iterator[tuple[SampleBatch, bytes]]:
        """All batches with their records, by and by; those of a window need not come together.

        Raises:
            BadDataError: the profile is damaged; what came before is then to be thrown away.
        """
        for ordinal, sample in enumerate(self._profile.samples):
            if self._is_full(sample.value * sample.weight):
                yield from self._flush(())
            for placed in self._placement.place(sample, ordinal):
                self._rows.append(_Row(sample, placed))
                self._frames_count += len(sample.locations)
                self._total += sample.value * placed.weight
        lost = tuple(Loss(reason, count) for reason, count in sorted(self._profile.notes.lost.items()) if count)
        yield from self._flush(lost)

    def _is_full(self, more: float) -> bool:
        """Whether a sample of this total must wait for the next batch: one batch's total has to be exact too."""
        return (
            len(self._rows) >= CHUNK_SAMPLES or self._frames_count >= _CHUNK_FRAMES or self._total + more >= MAX_VALUE
        ) and bool(self._rows)

    def _flush(self, lost: tuple[Loss, ...]) -> Iterator[tuple[SampleBatch, bytes]]:
        windows: dict[int, list[_Row]] = {}
        for row in self._rows:
            windows.setdefault(row.placed.window_start, []).append(row)
        self._rows, self._frames_count, self._total = [], 0, 0.0
        for start in sorted(windows):
            batch = replace(self._batch(start, windows[start]), losses=lost)
            lost = ()
            batch = replace(batch, batch_id=xxhash.xxh3_128_digest(encode_batch(batch)))
            for part, data in split_encoded(batch):
                if len(data) > MAX_MESSAGE_BYTES - _HEADER_ROOM_BYTES:
                    raise BadDataError("oversized", f"one stack makes a record of {len(data):,} bytes, too large")
                yield part, data

    def _batch(self, start: int, rows: list[_Row]) -> SampleBatch:
        builder = TablesBuilder()
        resource = builder.resource(self._resource)
        stack = [builder.stack(row.sample.locations) for row in rows]
        thread = [builder.thread(row.sample.tid, row.sample.thread_name) for row in rows]
        self._sequence += 1
        return SampleBatch(
            batch_id=bytes(16),
            sequence=self._sequence,
            host=self._origin.host,
            boot_id="",
            agent_version=self._origin.version,
            kind=self._origin.kind,
            sample_type=self._profile.sample_type,
            period_type=self._profile.period_type,
            period=self._profile.period,
            start_unix_nano=start,
            end_unix_nano=start + self._placement.window_ns,
            tables=builder.build(),
            samples=Samples(
                stack=np.array(stack, dtype=np.uint32),
                resource=np.full(len(rows), resource, dtype=np.uint32),
                thread=np.array(thread, dtype=np.uint32),
                value=np.array([row.sample.value for row in rows], dtype=np.int64),
                weight=np.array([row.placed.weight for row in rows], dtype=np.float32),
                time_delta=np.array([row.placed.delta_ns // TIME_DELTA_UNIT_NS for row in rows], dtype=np.uint32),
            ),
        )
