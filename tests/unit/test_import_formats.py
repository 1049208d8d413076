"""Sources, formats and folded text of imports; bad input names its place."""

from __future__ import annotations

import gzip
import io

import pytest

from flamebus.errors import BadDataError
from flamebus.frames import FrameKind
from flamebus.importing.foreign import JIT, KERNEL, MAX_FRAMES, ReadOptions
from flamebus.importing.formats import Format, detect
from flamebus.importing.source import MAX_LINE_BYTES, Source
from flamebus.profile import SampleType
from tests.support.foreign_files import functions_of, pprof_bytes, pprof_profile, profile_of, real, samples_of

PERF = "w 1/2 [000] 1.000000: 5 cpu-clock: \n\t10 f+0x0 (/srv/w)\n"


class Drops(io.RawIOBase):
    """A pipe that brings one byte at a time."""

    def __init__(self, data: bytes) -> None:
        self._data = data

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: bytearray | memoryview) -> int:  # type: ignore[override]  # narrower than any buffer
        count = min(1, len(self._data))
        buffer[:count], self._data = self._data[:count], self._data[count:]
        return count


@pytest.mark.parametrize(
    ("data", "form"),
    [
        (b"main;work 3\n", Format.FOLDED),
        (b"\n\n# by hand\nmain 1\n", Format.FOLDED),
        (b"main -1\n", Format.FOLDED),
        (PERF.encode(), Format.PERF_SCRIPT),
        (b"# ========\n# hostname : web-1\n#\n\n" + PERF.encode(), Format.PERF_SCRIPT),
        (pprof_bytes(), Format.PPROF),
        (pprof_profile().SerializeToString(), Format.PPROF),
    ],
)
@pytest.mark.parametrize("is_packed", [False, True])
def test_formats_are_known_by_their_beginning(data: bytes, form: Format, is_packed: bool) -> None:
    packed = gzip.compress(data) if is_packed and data[:2] != b"\x1f\x8b" else data
    assert detect(Source("it", io.BytesIO(packed))) is form
    assert detect(Source("it", io.BufferedReader(Drops(packed)))) is form


@pytest.mark.parametrize("name", ["perf_frame_pointers.txt", "perf_inlined.txt", "perf_all_cpus.txt", "go_cpu.pprof"])
def test_real_files_are_known(name: str) -> None:
    wanted = Format.PPROF if name.endswith("pprof") else Format.PERF_SCRIPT
    assert detect(Source(name, io.BytesIO(real(name)))) is wanted


@pytest.mark.parametrize(
    ("data", "reason", "message"),
    [
        (b"", "empty", "it is empty"),
        (gzip.compress(b""), "empty", "it is empty"),
        (b"hello world, this is prose\n", "unknown_schema", "neither folded text"),
        (bytes(range(256)) * 20, "malformed", "it is not a pprof profile"),
        (gzip.compress(b"main;work 3\n" * 9999)[:-40], "truncated", "it cannot be unpacked"),
        (b"\x1f\x8b\x08\x00 no gzip at all", "malformed", "it cannot be unpacked"),
        (b"main 1\nmain;\xff\xfe 2\n", "invalid_utf8", "it, line 2: not UTF-8"),
        (b"main 1\n\n# c\nmain\n", "malformed", "it, line 4: not 'root;"),
        (b"main 1\nmain -2\n", "negative", "it, line 2: the count is negative"),
        (b"main 1\nmain 1e300\n", "overflow", "it, line 2: the count 1e300 is above"),
        (b"main 1\n" + b"a" * MAX_LINE_BYTES + b" 1\n", "oversized", "it, line 2: the line is longer"),
        (b"main 1\n" + b"a;" * (MAX_FRAMES + 1) + b"b 1\n", "oversized", "it, line 2: the stack has 8194 frames"),
    ],
)
def test_bad_input_names_its_place(data: bytes, reason: str, message: str) -> None:
    with pytest.raises(BadDataError, match="it") as caught:
        samples_of(data)
    assert caught.value.reason == reason
    assert str(caught.value).startswith(message) or message in str(caught.value)


def test_annotations_of_folded_text_become_kinds() -> None:
    (sample,) = samples_of("java;Foo::bar_[j];inl_[i];write_[k];_[k] 3\n")
    assert functions_of(sample) == ["_[k]", "write", "inl", "Foo::bar", "java"]
    assert [location.kind for location in sample.locations[1:3]] == [FrameKind.KERNEL, FrameKind.NATIVE]
    assert [location.mapping for location in sample.locations][1::2] == [KERNEL, JIT]


def test_counts_of_folded_text_keep_their_total() -> None:
    text = "a 3\nb 0\nc 2.5\nd 16777217\ne 9007199254740992\n"
    profile = profile_of(text)
    samples = list(profile.samples)
    assert [(sample.value, sample.weight) for sample in samples] == [
        (1, 3), (1, 2.5), (16777217, 1.0), (9007199254740992, 1.0),
    ]  # fmt: skip
    assert profile.sample_type == SampleType("samples", "count")
    assert profile.notes.passed_over == {"count of 0": 1}


def test_a_period_makes_cpu_time_of_counts() -> None:
    profile = profile_of("a 3\nb 0.5\n", options=ReadOptions(period_ns=10_000_000))
    assert (profile.sample_type, profile.period) == (SampleType("cpu", "nanoseconds"), 10_000_000)
    assert [(sample.value, sample.weight) for sample in profile.samples] == [(10_000_000, 3), (10_000_000, 0.5)]
    with pytest.raises(BadDataError, match=r"it, line 1: the value .* is above 2\*\*53"):
        samples_of("a 90071992547409\n", options=ReadOptions(period_ns=1000))


def test_the_unit_of_folded_text_can_be_said() -> None:
    for given, wanted in (("bytes", SampleType("bytes", "count")), ("alloc/bytes", SampleType("alloc", "bytes"))):
        assert profile_of("a 1\n", options=ReadOptions(sample_type=given)).sample_type == wanted


def test_a_byte_order_mark_is_no_part_of_a_name() -> None:
    (sample,) = samples_of(b"\xef\xbb\xbfmain 1\r\n")
    assert functions_of(sample) == ["main"]
