"""pprof profiles, from Go and by hand."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

import pytest

from flamebus.errors import BadDataError, UsageError
from flamebus.frames import FrameKind
from flamebus.importing.foreign import MAX_FRAMES, ReadOptions
from flamebus.importing.formats import Format
from flamebus.profile import SampleType
from tests.support.foreign_files import (
    functions_of,
    pprof_bytes,
    pprof_profile,
    profile_of,
    real,
    samples_of,
    total_of,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from flamebus.importing.pprof_pb2 import Profile


def test_a_cpu_profile_of_go() -> None:
    profile = profile_of(real("go_cpu.pprof"))
    samples = list(profile.samples)
    # go tool pprof -top: "Duration: 916.71ms, Total samples = 400ms"
    assert (profile.sample_type, total_of(samples)) == (SampleType("cpu", "nanoseconds"), 400_000_000)
    assert sum(sample.weight for sample in samples) == 40
    assert {sample.value for sample in samples} == {10_000_000}
    assert profile.duration_ns is not None
    assert round(profile.duration_ns / 1e6, 2) == 916.71
    # … "140ms 35.00%  runtime.asyncPreempt"
    own = total_of([sample for sample in samples if functions_of(sample)[0] == "runtime.asyncPreempt"])
    assert own == 140_000_000
    assert all(location.mapping.name == "sample.test" for location in samples[0].locations)


def test_a_heap_profile_of_go() -> None:
    profile = profile_of(real("go_heap.pprof"), options=ReadOptions(sample_type="alloc_space"))
    samples = list(profile.samples)
    assert profile.sample_type == SampleType("alloc_space", "bytes")
    # go tool pprof -sample_index=alloc_space -top: "100% of 77.07MB total"
    assert round(total_of(samples) / 2**20, 2) == 77.07
    objects = profile_of(real("go_heap.pprof"), options=ReadOptions(sample_type="alloc_objects"))
    assert total_of(list(objects.samples)) > 0


def test_every_part_of_a_profile() -> None:
    profile = profile_of(pprof_bytes())
    first, second, third = list(profile.samples)
    assert functions_of(first) == ["step", "work", "main"]
    assert [line.line for line in first.locations[1].lines] == [1], "where the function starts"
    assert first.locations[0].mapping.file == "/srv/shop"
    assert (first.value, first.weight, first.tid, first.thread_name) == (10_000_000, 3, 71, "worker-1")
    assert (second.value, second.weight) == (10_000_000, 2)
    assert functions_of(third) == ["libz.so.1+0x1a2b", "main"]
    assert (third.value, third.weight) == (10_000_001, 1)
    assert profile.notes.passed_over == {"value of 0": 1}
    assert (profile.duration_ns, profile.taken_unix_nano) == (30_000_000_000, 1_767_225_600_000_000_000)
    assert (profile.period_type, profile.period) == (SampleType("cpu", "nanoseconds"), 10_000_000)


def test_values_are_chosen_by_name_or_by_the_profile() -> None:
    by_name = profile_of(pprof_bytes(), options=ReadOptions(sample_type="samples"))
    assert total_of(list(by_name.samples)) == 6
    changed = pprof_profile()
    changed.default_sample_type = 1
    assert profile_of(pprof_bytes(changed)).sample_type == SampleType("samples", "count")
    with pytest.raises(UsageError, match="no values of type 'heap'; there are: samples, cpu"):
        profile_of(pprof_bytes(), options=ReadOptions(sample_type="heap"))


def test_a_count_that_does_not_divide_the_value_is_left_out() -> None:
    changed = pprof_profile()
    changed.sample[0].value[:] = [7, 30_000_000]
    first = samples_of(pprof_bytes(changed))[0]
    assert (first.value, first.weight) == (30_000_000, 1)


def test_kernel_mappings_have_the_agents_names() -> None:
    changed = pprof_profile()
    changed.string_table[10] = b"[kernel.kallsyms]"
    third = samples_of(pprof_bytes(changed))[2]
    assert (third.locations[0].kind, third.locations[0].mapping.name) == (FrameKind.KERNEL, "[kernel]")


def set_value(profile: Profile, value: int) -> None:
    profile.sample[1].value[1] = value


@pytest.mark.parametrize(
    ("change", "reason", "message"),
    [
        (lambda p: set_value(p, -5), "negative", "it, sample 2: the value -5 is negative"),
        (lambda p: set_value(p, 2**60), "overflow", "it, sample 2: the value 1152921504606846976"),
        (lambda p: p.sample[1].value.append(1), "bad_length", "it, sample 2: 3 values"),
        (lambda p: p.sample[1].location_id.append(99), "bad_reference", "it, sample 2: there is no location 99"),
        (lambda p: p.sample[1].location_id.extend([1] * MAX_FRAMES), "oversized", "it, sample 2: the stack has 8193"),
        (lambda p: p.location[2].line.add(function_id=9), "bad_reference", "it, sample 3: there is no function 9"),
        (lambda p: setattr(p.location[2], "mapping_id", 9), "bad_reference", "it, sample 3: there is no mapping 9"),
        (lambda p: setattr(p.function[0], "name", 99), "bad_reference", "it: there is no string 99, only 14"),
        (lambda p: setattr(p.function[0], "name", -1), "bad_reference", "it: there is no string -1"),
        (lambda p: p.string_table.__setitem__(5, b"\xff\xfe"), "invalid_utf8", "it: string 5 is not UTF-8"),
        (lambda p: p.string_table.__setitem__(0, b"x"), "malformed", "it is not a pprof profile"),
        (lambda p: p.ClearField("sample_type"), "malformed", "it is not a pprof profile"),
    ],
)
def test_damage_is_named(change: Callable[[Profile], None], reason: str, message: str) -> None:
    profile = pprof_profile()
    change(profile)
    with pytest.raises(BadDataError) as caught:
        samples_of(pprof_bytes(profile))
    assert caught.value.reason == reason
    assert str(caught.value).startswith(message)


def test_every_truncation_is_an_error_of_ours() -> None:
    whole = pprof_profile().SerializeToString()
    complete = 0
    for length in range(1, len(whole)):
        with contextlib.suppress(BadDataError):  # and no other
            complete += bool(samples_of(whole[:length], Format.PPROF))
    assert complete < len(whole) // 4, "a cut between two fields is a smaller profile; most cuts are damage"
