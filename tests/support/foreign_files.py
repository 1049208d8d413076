"""Foreign profiles for tests: real files in tests/data/import, and ones made in memory."""

from __future__ import annotations

import gzip
import io
from pathlib import Path
from typing import TYPE_CHECKING

from flamebus.importing import pprof_pb2
from flamebus.importing.foreign import ReadOptions
from flamebus.importing.formats import Format, detect, read
from flamebus.importing.source import Source

if TYPE_CHECKING:
    from flamebus.importing.foreign import ForeignProfile, ForeignSample

FOLDER = Path(__file__).resolve().parents[1] / "data" / "import"


def profile_of(
    data: bytes | str, form: Format = Format.AUTO, options: ReadOptions | None = None, name: str = "it"
) -> ForeignProfile:
    """What the reader makes of these bytes."""
    source = Source(name, io.BytesIO(data.encode() if isinstance(data, str) else data))
    return read(source, detect(source) if form is Format.AUTO else form, options or ReadOptions())


def samples_of(
    data: bytes | str, form: Format = Format.AUTO, options: ReadOptions | None = None
) -> list[ForeignSample]:
    return list(profile_of(data, form, options).samples)


def real(name: str) -> bytes:
    """A file that perf or Go wrote."""
    return (FOLDER / name).read_bytes()


def total_of(samples: list[ForeignSample]) -> float:
    return sum(sample.value * sample.weight for sample in samples)


def functions_of(sample: ForeignSample) -> list[str]:
    """Names leaf first, inlined ones included."""
    return [frame.function for location in sample.locations for frame in location.frames()]


def pprof_profile() -> pprof_pb2.Profile:
    """Two stacks of main → work → (inlined step), 3 and 2 samples of 10 ms, and one in an unresolved library."""
    texts = [b"", b"samples", b"count", b"cpu", b"nanoseconds", b"main", b"work", b"step", b"shop.go", b"/srv/shop"]
    texts += [b"/usr/lib/libz.so.1", b"thread", b"worker-1", b"tid"]
    types = [pprof_pb2.ValueType(type=1, unit=2), pprof_pb2.ValueType(type=3, unit=4)]
    line = pprof_pb2.Line
    thread = [pprof_pb2.Label(key=11, str=12), pprof_pb2.Label(key=13, num=71)]
    return pprof_pb2.Profile(
        string_table=texts,
        sample_type=types,
        period_type=types[1],
        period=10_000_000,
        time_nanos=1_767_225_600_000_000_000,
        duration_nanos=30_000_000_000,
        mapping=[
            pprof_pb2.Mapping(id=1, memory_start=0x400000, memory_limit=0x500000, filename=9),
            pprof_pb2.Mapping(id=2, memory_start=0x7F0000, memory_limit=0x7F9000, file_offset=0x1000, filename=10),
        ],
        function=[
            pprof_pb2.Function(id=number, name=name, filename=8, start_line=number)
            for number, name in ((1, 5), (2, 6), (3, 7))
        ],
        location=[
            pprof_pb2.Location(id=1, mapping_id=1, address=0x401000, line=[line(function_id=1, line=9)]),
            pprof_pb2.Location(id=2, mapping_id=1, address=0x402000, line=[line(function_id=3), line(function_id=2)]),
            pprof_pb2.Location(id=3, mapping_id=2, address=0x7F0A2B),
        ],
        sample=[
            pprof_pb2.Sample(location_id=[2, 1], value=[3, 30_000_000], label=thread),
            pprof_pb2.Sample(location_id=[1], value=[2, 20_000_000]),
            pprof_pb2.Sample(location_id=[3, 1], value=[1, 10_000_001]),
            pprof_pb2.Sample(location_id=[1], value=[0, 0]),
        ],
    )


def pprof_bytes(profile: pprof_pb2.Profile | None = None) -> bytes:
    return gzip.compress((profile or pprof_profile()).SerializeToString())
