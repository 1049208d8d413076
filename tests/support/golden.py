"""Records whose bytes are kept for ever in tests/data/golden: one of every kind and version that was ever published.

``python -m tests.support.golden`` writes those that are not there yet and refuses to touch one that is: what was once
published has to be read as it is.
"""

from __future__ import annotations

import sys
from pathlib import Path

import msgpack

from flamebus.hotspot import OTHER_FUNCTION, FunctionHotspot, HotspotReport, Share, StackHotspot
from flamebus.wire.batch import encode_batch
from flamebus.wire.headers import DeadLetter, Headers, cloud_event
from flamebus.wire.results import encode_hotspot_report
from flamebus.wire.tick import Tick, encode_tick
from tests.support.batches import START_UNIX_NANO, WINDOW_NS, known_batch

GOLDEN = Path(__file__).resolve().parent.parent / "data" / "golden"
TICK = Tick(START_UNIX_NANO + 250_000_000)
LETTER = DeadLetter("hash_mismatch", "stack 3 lies – twice", "flamebus.samples.cpu.v1", 2, 4711, START_UNIX_NANO)
EVENT = ("00112233", "/agent/host-1", "flamebus.samples.cpu.v1", START_UNIX_NANO + 1)


def known_report() -> HotspotReport:
    """A report with a resolved function, the rest, and two stacks, one of them without frames."""
    return HotspotReport(
        report_id=bytes(range(16, 32)),
        service="checkout",
        kind="cpu",
        sample_type=("cpu", "nanoseconds"),
        window_start_unix_nano=START_UNIX_NANO,
        window_size_nano=WINDOW_NS,
        partition=2,
        total=40_404_040,
        samples=4.0,
        hosts=1,
        lost=7,
        dropped=0,
        late=2,
        functions=(
            FunctionHotspot(
                *("std::sort<ä>", "checkout", "native", 30_303_030, 40_404_040),
                Share(0.75, 0.3006, 0.9544),
                Share(1.0, 0.5101, 1.0),
            ),
            FunctionHotspot(
                OTHER_FUNCTION, "", "", 10_101_010, 10_101_010, Share(0.25, 0.0456, 0.6994), Share(0.25, 0.0456, 0.6994)
            ),
        ),
        stacks=(
            StackHotspot(2**64 - 1, ("std::sort<ä>", "main"), 30_303_030, Share(0.75, 0.3006, 0.9544)),
            StackHotspot(0, (), 10_101_010, Share(0.25, 0.0456, 0.6994)),
        ),
    )


def packed_headers(headers: Headers) -> bytes:
    """Headers as one file: a MessagePack array of pairs."""
    data: bytes = msgpack.packb([[name, value] for name, value in headers])
    return data


def records() -> dict[str, bytes]:
    """What this version writes, by the name of its file."""
    return {
        "sample_batch.v1.msgpack": encode_batch(known_batch()),
        "window_batch.v1.msgpack": encode_batch(known_batch(is_window=True)),
        "hotspot_report.v1.msgpack": encode_hotspot_report(known_report()),
        "tick.v1.msgpack": encode_tick(TICK),
        "dead_letter_headers.v1.msgpack": packed_headers(LETTER.headers()),
        "cloud_event_headers.v1.msgpack": packed_headers(cloud_event(*EVENT)),
    }


def write_missing() -> list[str]:
    """Write the records that have no file yet; their names."""
    GOLDEN.mkdir(exist_ok=True)
    missing = {name: data for name, data in records().items() if not (GOLDEN / name).exists()}
    for name, data in missing.items():
        with (GOLDEN / name).open("xb") as stream:
            stream.write(data)
    return sorted(missing)


if __name__ == "__main__":
    sys.stdout.write("\n".join(write_missing() or ["nothing is missing; what is there stays as it is"]) + "\n")
