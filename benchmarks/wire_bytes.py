"""Bytes per sample on the wire: what a broker stores of a busy host over the samples in it, and where they go.

The real agent at 99 Hz publishes to a real Kafka under the mixed load; stored record batches are read from the broker's
files. The topic has one partition, so that all services of the host are compressed together; what several partitions
cost is found by compressing each one's records by themselves. Cutting and encoding is timed on what was stored. The
figure is of the whole host: on a machine where others are at work it holds their programs too.
"""

from __future__ import annotations

import argparse
import os
import time
import zlib
from collections import defaultdict
from typing import TYPE_CHECKING

import msgpack
import numpy as np
from cramjam import zstd

from benchmarks.agent_stage import AgentRun, stage
from benchmarks.load import Load, build
from benchmarks.log_segment import StoredBatch, stored_batches
from benchmarks.report import Figure, main
from flamebus.profile import SampleType
from flamebus.tables import StackReader
from flamebus.wire.batch import SCHEMA, TABLES, decode_batch, encode_batch
from flamebus.wire.topics import samples_topic
from producers.batcher import Batcher, ResolvedSamples, Sender
from producers.dictionary import Dictionary
from producers.losses import LossLedger
from producers.sink import COMPRESSION_LEVEL

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

    from flamebus.profile import SampleBatch

HZ = 99
INTERVAL_S = 10
DURATION_S = 55  # four whole intervals lie in it, whenever it begins
WARM_UP_S = 8  # the JVM and V8 compile what is hot
_OUR_SERVICES = (b"load-", b"flamebus-agent", b"kernel")
_REPEATS = 5
BAR_BYTES = 21
"""What the OpenTelemetry eBPF profiler sends under such a load (gzip, a dictionary per request of 5 s, no names of
native functions)."""


def publish(folder: Path, bus: str) -> None:
    """Run the agent under the load."""
    with Load(build(folder)) as load:
        print("parts of the load: " + ", ".join(load.parts))
        time.sleep(WARM_UP_S)
        options = ["--hz", str(HZ), "--interval", f"{INTERVAL_S}s"]
        with AgentRun(bus, folder, options):
            time.sleep(DURATION_S)


def whole_intervals(batches: Iterable[StoredBatch]) -> list[StoredBatch]:
    """Record batches of samples, without those of the first and last interval, which the agent saw a part of."""
    found = [(_start(batch), batch) for batch in batches if any(map(_is_batch, batch.records))]
    first, last = min(start for start, _ in found), max(start for start, _ in found)
    return [batch for start, batch in found if first < start < last]


def _is_batch(record: tuple[bytes, bytes]) -> bool:
    return SCHEMA.encode() in record[1][:64]  # ticks would lie between them


def _start(stored: StoredBatch) -> int:
    return max(decode_batch(record[1]).start_unix_nano for record in stored.records if _is_batch(record))


def columns(records: Iterable[tuple[bytes, bytes]]) -> dict[str, bytes]:
    """Bytes of every part of some batches, each part's of all batches together."""
    parts: defaultdict[str, bytearray] = defaultdict(bytearray)
    for _, value in records:
        record = msgpack.unpackb(value)
        tables = record["tables"]
        for table in TABLES:
            for name, data in tables[table].items():
                parts[f"{table}.{name}"] += data
        for name, data in record["samples"].items():
            parts[f"samples.{name}"] += data
        parts["strings"] += msgpack.packb(tables["strings"])
        parts["resources"] += msgpack.packb(tables["resources"])
        parts["header and losses"] += msgpack.packb([v for k, v in record.items() if k not in {"tables", "samples"}])
    return {name: bytes(data) for name, data in parts.items()}


def compressed(data: bytes) -> int:
    """Bytes as a producer would send them."""
    return len(bytes(zstd.compress(data, level=COMPRESSION_LEVEL)))


def in_partitions(stored: Sequence[StoredBatch], partitions: int) -> float:
    """Bytes per sample if the records of each batch lay in several partitions, by their keys."""
    total = samples = 0
    for batch in stored:
        parts: defaultdict[int, bytearray] = defaultdict(bytearray)
        for key, value in batch.records:
            parts[zlib.crc32(key) % partitions] += value
            samples += len(decode_batch(value).samples)
        total += sum(compressed(bytes(part)) for part in parts.values())
    return total / samples


def of_the_load(stored: Sequence[StoredBatch]) -> list[StoredBatch]:
    """The batches without services of others, who may be at work on this machine."""
    return [
        StoredBatch(
            batch.stored_bytes, tuple(record for record in batch.records if record[0].startswith(_OUR_SERVICES))
        )
        for batch in stored
    ]


def encoding_s(stored: Sequence[StoredBatch]) -> float:
    """CPU seconds that the agent takes to cut and encode an interval, with a dictionary that holds all of them."""
    dictionary = Dictionary()
    chunks = [_resolved(dictionary, decode_batch(value)) for batch in stored for _, value in batch.records]
    sender = Sender(bytes(8), "host", "boot", "0", "cpu", SampleType("cpu", "nanoseconds"), 1)
    taken = []
    for _ in range(_REPEATS):
        batcher = Batcher(sender, INTERVAL_S * 10**9, LossLedger())
        for chunk in chunks:
            batcher.add(chunk)
        begin = time.process_time()
        for each in batcher.cut(2**63 - 1, 0):
            encode_batch(each.batch)
        taken.append(time.process_time() - begin)
    return min(taken) / len(stored)


def _resolved(dictionary: Dictionary, batch: SampleBatch) -> ResolvedSamples:
    reader, tables, samples, tree = StackReader(batch.tables), batch.tables, batch.samples, dictionary.tree
    stacks = [reader.locations(row) for row in range(len(tables.stacks.id))]
    nodes = [tree.stack([tree.location(location) for location in reversed(stack)]) for stack in stacks]
    names = (tables.strings[row] for row in tables.threads.name)
    threads = [dictionary.thread(tid, name) for tid, name in zip(tables.threads.tid.tolist(), names, strict=True)]
    resources = [dictionary.resource(resource) for resource in tables.resources]
    node, resource, thread = (np.array(rows, dtype=np.uint32) for rows in (nodes, resources, threads))
    return ResolvedSamples(
        dictionary,
        batch.times_unix_nano(),
        node[samples.stack],
        resource[samples.resource],
        thread[samples.thread],
        samples.weight,
    )


def figures(stored: Sequence[StoredBatch]) -> list[Figure]:
    """The figure with its bar, what it is made of, and what would change it."""
    decoded = [decode_batch(value) for batch in stored for _, value in batch.records]
    samples = sum(len(batch.samples) for batch in decoded)
    by_part: defaultdict[str, int] = defaultdict(int)
    for batch in stored:
        for name, data in columns(batch.records).items():
            by_part[name] += compressed(data)
    rows = {
        "services per interval": len(decoded) / len(stored),
        "stacks per sample": sum(len(batch.tables.stacks.id) for batch in decoded) / samples,
        "nodes per sample": sum(len(batch.tables.nodes.parent) for batch in decoded) / samples,
        "locations per sample": sum(len(batch.tables.locations.address) for batch in decoded) / samples,
        "strings per sample": sum(len(batch.tables.strings) for batch in decoded) / samples,
    }
    raw = sum(len(value) for batch in stored for _, value in batch.records)
    return [
        Figure("stored bytes per sample", sum(b.stored_bytes for b in stored) / samples, "B", BAR_BYTES),
        Figure("the load's own services, compressed by themselves", in_partitions(of_the_load(stored), 1), "B"),
        Figure("all in 4 partitions, each compressed by itself", in_partitions(stored, 4), "B"),
        Figure("before compression", raw / samples, "B"),
        Figure("CPU to cut and encode an interval", encoding_s(stored) * 1e3, "ms"),
        Figure("samples", samples),
        Figure("intervals", len(stored)),
        *(Figure(name, value) for name, value in rows.items()),
        *(
            Figure(f"compressed alone: {name}", size / samples, "B")
            for name, size in sorted(by_part.items(), key=lambda part: -part[1])
        ),
    ]


def measure() -> list[Figure]:
    """All figures of one run."""
    os.environ["FLAMEBUS_PARTITIONS"] = "1"
    with stage() as (bus, folder):
        publish(folder, bus)
        stored = list(stored_batches(folder / "kafka" / "data", samples_topic("cpu").name()))
    return figures(whole_intervals(stored))


if __name__ == "__main__":
    main("wire_bytes", measure, argparse.ArgumentParser(prog="python -m benchmarks.wire_bytes", description=__doc__))
