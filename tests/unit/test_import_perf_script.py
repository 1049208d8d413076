"""perf script's text, from real files and by hand."""

from __future__ import annotations

import re

import pytest

from flamebus.errors import BadDataError, UsageError
from flamebus.frames import FrameKind
from flamebus.importing.foreign import JIT, KERNEL, MAX_FRAMES, ReadOptions
from flamebus.importing.formats import Format
from flamebus.importing.perf_records import PerfFrame, parse_frame
from flamebus.profile import SampleType
from tests.support.foreign_files import functions_of, profile_of, real, samples_of, total_of

CPU = SampleType("cpu", "nanoseconds")
HEADER = "w 1/2 [000] 1.000000: 5 cpu-clock: \n"


def periods(text: str, event: str) -> list[int]:
    """The numbers before an event's name, by a way that has nothing in common with the reader."""
    return [int(number) for number in re.findall(rf" (\d+) +{re.escape(event)}(?::\w+)?: ", text)]


@pytest.mark.parametrize(
    ("name", "event"),
    [
        ("perf_frame_pointers.txt", "cpu-clock"),
        ("perf_inlined.txt", "task-clock"),
        ("perf_all_cpus.txt", "cpu-clock"),
    ],
)
def test_real_files_are_read_to_the_nanosecond(name: str, event: str) -> None:
    wanted = periods(real(name).decode(), event)
    profile = profile_of(real(name), name=name)
    samples = list(profile.samples)
    assert profile.sample_type == CPU
    assert [sample.value for sample in samples] == wanted
    assert len(wanted) > 30


def test_user_frames_of_a_real_file() -> None:
    profile = profile_of(real("perf_frame_pointers.txt"))
    samples = list(profile.samples)
    assert profile.host == "vm"
    assert profile.notes.passed_over == {"event context-switches": 45}
    names = {name for sample in samples for name in functions_of(sample)}
    assert {"crunch", "main", "__libc_start_call_main"} <= names
    crunch = {loc for s in samples for loc in s.locations if [line.function for line in loc.lines] == ["crunch"]}
    assert len(crunch) == 1, "samples all over one function share a location"
    assert all(sample.thread_name == "checkout" and sample.tid for sample in samples)
    offsets = [sample.offset_ns for sample in samples]
    assert offsets == sorted(offsets, key=lambda offset: offset or 0)
    assert offsets[0] == 0


def test_kernel_frames_of_a_real_file() -> None:
    samples = samples_of(real("perf_frame_pointers.txt"), options=ReadOptions(sample_type="context-switches"))
    kernel = {place for sample in samples for place in sample.locations if place.mapping == KERNEL}
    assert {location.kind for location in kernel} == {FrameKind.KERNEL}
    assert "schedule" in {line.function for location in kernel for line in location.lines}


def test_inlined_functions_of_a_real_file_share_their_location() -> None:
    samples = samples_of(real("perf_inlined.txt"))
    first = samples[0].locations[0]
    assert [(line.function, line.file, line.line) for line in first.lines] == [
        ("step", "checkout.c", 4),
        ("crunch", "checkout.c", 5),
    ]
    assert first.mapping.file == "/srv/shop/checkout"
    assert functions_of(samples[0])[:3] == ["step", "crunch", "main"]


def test_one_frame_behind_the_header_without_call_chains() -> None:
    samples = samples_of(real("perf_all_cpus.txt"))
    assert {len(sample.locations) for sample in samples} == {1}
    assert "JS:*fib [eval]:1:13" in {functions_of(sample)[0] for sample in samples}
    assert JIT in {sample.locations[0].mapping for sample in samples}


def test_tracepoints_count_once_each() -> None:
    profile = profile_of(real("perf_tracepoint.txt"))
    samples = list(profile.samples)
    assert profile.sample_type == SampleType("samples", "count")
    assert total_of(samples) == len(samples) == real("perf_tracepoint.txt").count(b"sched:sched_switch")
    assert all(functions_of(sample)[0] == "__schedule" for sample in samples)


def test_unresolved_frames_have_the_agents_names() -> None:
    (sample,) = samples_of(
        HEADER
        + "\t    1a2b [unknown] (/usr/lib/libfoo.so)\n"
        + "\t  7f1234 [unknown] (/usr/lib/libbar.so.1+0x3c4d)\n"
        + "\tffffffffc0a01234 [unknown] ([nf_tables])\n"
        + "\tffffffff81000010 [unknown] ([kernel.kallsyms])\n"
        + "\t       0 [unknown] ([unknown])\n"
    )
    wanted = ["libfoo.so+0x1a2b", "libbar.so.1+0x3c4d", "[nf_tables]+0xffffffffc0a01234", "[kernel]+0xffffffff81000010"]
    assert functions_of(sample) == [*wanted, "0x0"]
    native, kernel = FrameKind.NATIVE, FrameKind.KERNEL
    assert [location.kind for location in sample.locations] == [native, native, kernel, kernel, native]


@pytest.mark.parametrize(
    ("text", "symbol", "file"),
    [
        ("11f3 crunch+0x3a (/srv/w)", "crunch+0x3a", "/srv/w"),
        ("11f3 operator new(unsigned long)+0x1 (/lib/c++.so)", "operator new(unsigned long)+0x1", "/lib/c++.so"),
        ("11f3 (anonymous namespace)::f(int) (/srv/A (x86)/w)", "(anonymous namespace)::f(int)", "/srv/A (x86)/w"),
        ("11f3 f (/memfd:jit (deleted))", "f", "/memfd:jit"),
        ("11f3 f ([vdso])", "f", "[vdso]"),
        ("11f3 f (inlined)", "f", "inlined"),
        ("11f3 [unknown] (anon)", "[unknown]", "anon"),
        ("11f3 f", "f", ""),
        ("11f3", "[unknown]", ""),
    ],
)  # fmt: skip
def test_frames(text: str, symbol: str, file: str) -> None:
    assert parse_frame(text) == PerfFrame(0x11F3, symbol, file)


@pytest.mark.parametrize(
    ("header", "thread", "event"),
    [
        ("w 28402   958.666691:    5025125 cpu-clock: ", (28402, "w"), "cpu-clock"),
        ("Web Content 12/13 [003] 958.666691123: 7 cycles:ppp: ", (13, "Web Content"), "cycles"),
        (":-1 -1 [000] 1.000000: 7 cpu_core/cycles/: ", (0, ":-1"), "cpu_core/cycles/"),
        ("dd 1 [000] 1.000000: 7 cpu/event=0x3c,umask=0x0/: ", (1, "dd"), "cpu/event=0x3c,umask=0x0/"),
        ("a 1 1.000000: 7 L1-dcache-load-misses:uk:", (1, "a"), "L1-dcache-load-misses"),
        ("a 1 1.000000: ", (1, "a"), ""),
    ],
)
def test_headers_vary(header: str, thread: tuple[int, str], event: str) -> None:
    profile = profile_of(f"{header}\n\t10 f (/srv/w)\n\n{header}\n\t10 f (/srv/w)\n", Format.PERF_SCRIPT)
    samples = list(profile.samples)
    assert [(sample.tid, sample.thread_name) for sample in samples] == [thread] * 2
    if event == "cpu-clock":
        assert profile.sample_type == CPU
    else:
        assert profile.sample_type == SampleType(event or "samples", "count")


def test_the_event_can_be_chosen() -> None:
    name = "perf_frame_pointers.txt"
    profile = profile_of(real(name), options=ReadOptions(sample_type="context-switches"))
    assert total_of(list(profile.samples)) == sum(periods(real(name).decode(), "context-switches"))
    assert profile.sample_type == SampleType("context-switches", "count")
    with pytest.raises(UsageError, match="no samples of event 'cycles'; there are: context-switches, cpu-clock"):
        profile_of(real(name), options=ReadOptions(sample_type="cycles"))


def test_a_period_makes_cpu_time_of_any_event() -> None:
    profile = profile_of(real("perf_tracepoint.txt"), options=ReadOptions(period_ns=1000))
    assert profile.sample_type == CPU
    assert {sample.value for sample in profile.samples} == {1000}


def test_what_perf_lost_is_told_and_side_band_records_are_none() -> None:
    profile = profile_of(
        "w 1 [000] 1.000000: PERF_RECORD_COMM exec: w:1/1\n"
        + HEADER
        + "\t10 f (/srv/w)\n"
        + "w 1 1.000001: PERF_RECORD_LOST lost 17\n"
        + "w 1 1.000002: PERF_RECORD_MMAP2 1/1: [0x55(0x1000) @ 0 08:01 1 0]: r-xp /srv/w\n"
        + "w 1 1.000003: PERF_RECORD_LOST lost 6\n",
        Format.PERF_SCRIPT,
    )
    assert len(list(profile.samples)) == 1
    assert profile.notes.lost == {"ring_full": 23}


def test_a_sample_without_a_stack_still_counts() -> None:
    samples = samples_of(HEADER + "\n" + HEADER + "\t10 f (/srv/w)\n")
    assert [len(sample.locations) for sample in samples] == [0, 1]
    assert total_of(samples) == 10


@pytest.mark.parametrize(
    ("text", "reason", "message"),
    [
        (HEADER + "\t10 f (/srv/w)\nnonsense\n", "malformed", "line 3: neither the beginning of a sample nor a frame"),
        (HEADER + "\t10 f (/srv/w)\n  zz zz\n", "malformed", "line 3: neither"),
        ("\t10 f (/srv/w)\n", "malformed", "line 1: neither"),
        ("main;work 3\n", "malformed", "line 1: neither"),
        (HEADER + "\t10 f\n" * (MAX_FRAMES + 1), "oversized", "the stack has more than 8192 frames"),
        ("w 1 1.000000: 99999999999999999999 cycles: \n", "overflow", "line 1: the period 99999999999999999999"),
        ("w 1 1.000000: PERF_RECORD_LOST lost 6\n", "empty", "it holds no samples"),
        ("# ========\n# hostname : web-1\n", "empty", "it holds no samples"),
    ],
)
def test_bad_lines_are_named(text: str, reason: str, message: str) -> None:
    with pytest.raises(BadDataError) as caught:
        samples_of(text, Format.PERF_SCRIPT)
    assert message in str(caught.value)
    assert caught.value.reason == reason


@pytest.mark.parametrize(
    "line",
    ["a " * 250_000 + "1.000000: x", " " * 500_000 + "x", "1 " * 250_000 + "1.000000: 1 c:"],
)
def test_no_line_takes_longer_than_its_length(line: str) -> None:
    with pytest.raises(BadDataError, match="neither"):
        samples_of(line, Format.PERF_SCRIPT)
