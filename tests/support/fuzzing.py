"""Feeds mutated records to every decoder. ``python -m tests.support.fuzzing --count 1000000`` (``make fuzz``).

A decoder may refuse a record with BadDataError, or read it; nothing else. Reading takes at most ``MAX_CPU_S`` and
memory of ten times the record, as traced by tracemalloc, which sees what Python, numpy and msgpack allocate.
"""

from __future__ import annotations

import argparse
import faulthandler
import io
import random
import sys
import time
import tracemalloc
from collections import Counter
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from functools import cache, partial
from typing import TYPE_CHECKING, Any

from flamebus.errors import BadDataError
from flamebus.frames import FrameKind, Line, Location
from flamebus.tables import StackReader
from flamebus.wire.batch import decode_batch, encode_batch
from flamebus.wire.headers import DeadLetter
from flamebus.wire.recording import BusRecord, RecordingHeader, RecordingReader, RecordingWriter
from flamebus.wire.results import decode_hotspot_report, encode_hotspot_report
from flamebus.wire.tick import decode_tick, encode_tick
from tests.support import golden
from tests.support.batches import CART, CHECKOUT, KERNEL, LIBC, MAIN, WORK, make_batch
from tests.support.mutation import Seed, mutant, tokens

if TYPE_CHECKING:
    from collections.abc import Callable

    from flamebus.profile import SampleBatch

MAX_CPU_S = 0.5
"""A thousand times what these records take; a busy machine does not stretch CPU time so far."""
MEMORY_RATIO, FREE_BYTES = 10, 64 * 1024
_CHUNK = 10_000
_CHUNK_DEADLINE_S = 600


@dataclass(slots=True)
class Tally:
    """What came out: counts by outcome, and every mutant that did what none may."""

    outcomes: Counter[str] = field(default_factory=Counter)
    mutations: Counter[str] = field(default_factory=Counter)
    failures: list[str] = field(default_factory=list)
    largest_ratio: float = 0.0
    longest_s: float = 0.0

    def note(self, where: str, outcome: str, size: int, memory_bytes: int, cpu_s: float) -> None:
        """Count one decoding and hold it against the limits."""
        self.outcomes[outcome] += 1
        self.longest_s = max(self.longest_s, cpu_s)
        self.largest_ratio = max(self.largest_ratio, (memory_bytes - FREE_BYTES) / max(size, 1))
        if cpu_s > MAX_CPU_S or memory_bytes > MEMORY_RATIO * size + FREE_BYTES:
            self.failures.append(f"{where}: {cpu_s:.2f} s, {memory_bytes:,} bytes of memory")

    def add(self, other: Tally) -> None:
        """Count what another process counted."""
        self.outcomes += other.outcomes
        self.mutations += other.mutations
        self.failures += other.failures
        self.largest_ratio = max(self.largest_ratio, other.largest_ratio)
        self.longest_s = max(self.longest_s, other.longest_s)


@cache
def seeds() -> tuple[Seed, ...]:
    """The golden records, and a batch with the proportions of a real one."""
    rng = random.Random(0)
    leaves = [Location(LIBC, 0x1000 + n, lines=(Line(f"function_{n}", "libc.c", n),)) for n in range(60)]
    kernel = [Location(KERNEL, 0x10 + n, FrameKind.KERNEL, (Line(f"sys_{n}"),)) for n in range(20)]
    rows = [
        (
            (*rng.sample(kernel, rng.randrange(3)), *rng.choices(leaves, k=rng.randrange(6)), WORK, MAIN),
            rng.choice((CART, CHECKOUT)),
            (rng.randrange(9), "worker"),
            10_101_010,
            1.0,
            rng.randrange(100_000),
        )
        for _ in range(300)
    ]
    return tuple(
        Seed(data, tuple(tokens(data))) for data in (*golden.records().values(), encode_batch(make_batch(rows)))
    )


def walk_batch(batch: SampleBatch) -> None:
    """Hash every stack and write the batch again."""
    reader = StackReader(batch.tables)
    for row in range(len(batch.tables.stacks.id)):
        reader.stack_id(row)
    assert decode_batch(encode_batch(batch)).batch_id == batch.batch_id


def read_headers(data: bytes) -> DeadLetter:
    """Dead-letter headers with the mutant as the value of one of them."""
    headers = golden.LETTER.headers()
    wrong = headers[len(data) % len(headers)][0]
    return DeadLetter.from_headers([(name, data if name == wrong else value) for name, value in headers])


def read_recording(data: bytes) -> list[BusRecord]:
    """A recording whose entry is the mutant."""
    return [
        record
        for _, record in RecordingReader(
            io.BytesIO(_recording_header() + len(data).to_bytes(4, "little") + data)
        ).records()
    ]


@cache
def _recording_header() -> bytes:
    file = io.BytesIO()
    RecordingWriter(file, RecordingHeader("flamebus.", 1))
    return file.getvalue()


DECODERS: dict[str, tuple[Callable[[bytes], Any], Callable[[Any], object]]] = {
    "batch": (decode_batch, walk_batch),
    "report": (decode_hotspot_report, encode_hotspot_report),
    "tick": (decode_tick, encode_tick),
    "headers": (read_headers, DeadLetter.headers),
    "recording": (read_recording, len),
}
"""What decodes, and what is done with the result to show that it can be used."""


def run_one(seed: int, number: int, tally: Tally) -> None:
    """Make one mutant and feed it to the decoder it is for; every tenth to all of them."""
    name, data = mutant(random.Random(seed * 2**32 + number), seeds())
    tally.mutations[name] += 1
    for decoder in DECODERS if number % 10 == 0 else (_decoder_for(data),):
        decode, use = DECODERS[decoder]
        where = f"seed {seed} number {number} ({name}, {len(data):,} bytes): {decoder}"
        tracemalloc.reset_peak()
        before, begin = tracemalloc.get_traced_memory()[0], time.thread_time()
        try:
            result = decode(data)
            memory = tracemalloc.get_traced_memory()[1] - before
            use(result)
            outcome = "read"
        except BadDataError as error:
            memory = tracemalloc.get_traced_memory()[1] - before
            outcome = error.reason
        except Exception as error:  # noqa: BLE001 - that is what we look for
            memory, outcome = 0, f"! {type(error).__name__}"
            tally.failures.append(f"{where}: {error!r}"[:300])
        tally.note(where, outcome, len(data), memory, time.thread_time() - begin)


def _decoder_for(data: bytes) -> str:
    if b"hotspot" in data[:64]:
        return "report"
    return "tick" if b"flamebus.tick" in data[:32] else "batch"


def run_chunk(seed: int, numbers: range) -> Tally:
    """Some mutants, in this process; what hangs in C is ended with a traceback."""
    tally = Tally()
    seeds()
    _recording_header()  # made once, before anything is measured
    faulthandler.dump_traceback_later(_CHUNK_DEADLINE_S, exit=True)
    tracemalloc.start()
    try:
        for number in numbers:
            run_one(seed, number, tally)
    finally:
        tracemalloc.stop()
        faulthandler.cancel_dump_traceback_later()
    return tally


def run(seed: int, count: int, processes: int) -> Tally:
    """Mutants ``0`` to ``count - 1`` of a seed, spread over processes."""
    chunks = [range(start, min(start + _CHUNK, count)) for start in range(0, count, _CHUNK)]
    total = Tally()
    with ProcessPoolExecutor(processes) as pool:
        for tally in pool.map(partial(run_chunk, seed), chunks):
            total.add(tally)
    return total


def main() -> None:
    """Print the tally; exit code 1 when a mutant did what none may."""
    parser = argparse.ArgumentParser(prog="python -m tests.support.fuzzing", description=__doc__)
    parser.add_argument("--count", type=int, default=1_000_000, help="how many mutants")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--processes", type=int, default=2)
    options = parser.parse_args()
    tally = run(options.seed, options.count, options.processes)
    print(f"seed {options.seed}: {options.count:,} mutants, {tally.outcomes.total():,} decodings")
    for title, counts in (("outcome", tally.outcomes), ("mutation", tally.mutations)):
        print(f"\n{title}")
        for name, number in counts.most_common():
            print(f"  {name:<18}{number:>10,}")
    print(f"\nlongest decoding {tally.longest_s * 1e3:.1f} ms of CPU (limit {MAX_CPU_S * 1e3:.0f} ms)")
    print(f"most memory {tally.largest_ratio:.1f} × the record beyond {FREE_BYTES:,} bytes (limit {MEMORY_RATIO})")
    for failure in tally.failures[:20]:
        print(f"FAILED {failure}")
    sys.exit(1 if tally.failures else 0)


if __name__ == "__main__":
    main()
