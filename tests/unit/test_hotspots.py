"""Ranking: sums, ties, recursion, and the lines that InfluxDB gets of it."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from flamebus.frames import Line, Location, Mapping
from flamebus.hotspot import OTHER_FUNCTION
from flamebus.interval import effective_count, wilson_interval
from flamebus.wire.batch import encode_batch
from streams.hotspots import Ranked, rank
from streams.sinks.lines import MAX_TAG_BYTES, report_lines, tag_value
from streams.windows import PartitionWindows, Record
from tests.support.batches import START_UNIX_NANO, WINDOW_NS, make_batch
from tests.support.stream_logs import LATENESS, tick

if TYPE_CHECKING:
    from collections.abc import Sequence

RESOURCE = (("service.name", "checkout"),)
Weighted = tuple["Sequence[Location]", int, float]


def function(name: str, mapping: str = "/srv/app") -> Location:
    return Location(Mapping(mapping), 64, lines=(Line(name),))


def ranked(samples: Sequence[Weighted], top_k: int = 30) -> Ranked:
    rows = [(stack, RESOURCE, (1, "main"), value, weight, n) for n, (stack, value, weight) in enumerate(samples)]
    windows = PartitionWindows("t", 3, WINDOW_NS, LATENESS)
    windows.add(Record(0, START_UNIX_NANO + WINDOW_NS, encode_batch(make_batch(rows))))
    windows.add(tick(1, START_UNIX_NANO + WINDOW_NS + LATENESS))
    ((part,),) = (closed.parts for closed in windows.take_closed())
    return rank(part, top_k)


A, B, C, MAIN = function("a"), function("b"), function("c"), function("main")


def test_self_total_and_other_add_up() -> None:
    report = ranked([([A, MAIN], 10, 1.0), ([B, A, MAIN], 10, 3.0), ([C, MAIN], 5, 1.0)], top_k=2).report
    found = {entry.function: (entry.self_value, entry.total_value) for entry in report.functions}
    assert found == {"b": (30, 30), "a": (10, 40), "main": (0, 45), OTHER_FUNCTION: (5, 5)}
    assert report.total == 45
    assert report.samples == 5.0
    assert report.functions[-1].function == OTHER_FUNCTION
    assert [(stack.functions, stack.value) for stack in report.stacks] == [
        (("b", "a", "main"), 30),
        (("a", "main"), 10),
    ]


def test_recursion_counts_once_per_stack() -> None:
    report = ranked([([A, A, B, A, MAIN], 10, 1.0)]).report
    assert {entry.function: entry.total_value for entry in report.functions}["a"] == 10


def test_inlined_functions_count_as_functions() -> None:
    inlined = replace(A, lines=(Line("inner"), Line("a")))
    report = ranked([([inlined, MAIN], 10, 1.0)]).report
    assert {entry.function: (entry.self_value, entry.total_value) for entry in report.functions[:-1]} == {
        "inner": (10, 10),
        "a": (0, 10),
        "main": (0, 10),
    }


def test_ties_are_broken_by_name() -> None:
    names = ["delta", "alpha", "charlie", "bravo"]
    report = ranked([([function(name)], 10, 1.0) for name in names], top_k=2).report
    assert [entry.function for entry in report.functions] == ["alpha", "bravo", OTHER_FUNCTION]


def test_a_sample_without_a_stack_has_a_name() -> None:
    report = ranked([([], 10, 1.0)]).report
    assert report.functions[0].function == "[no stack]"
    assert report.stacks[0].functions == ("[no stack]",)


def test_with_equal_weights_an_interval_is_that_of_the_samples() -> None:
    report = ranked([([A], 10, 2.0)] * 30 + [([B], 10, 2.0)] * 70).report
    (a,) = [entry for entry in report.functions if entry.function == "a"]
    assert (a.self_share.low, a.self_share.high) == pytest.approx(wilson_interval(0.3, 100.0))


def test_heavy_samples_are_held_less_sure() -> None:
    light = ranked([([A], 10, 1.0)] * 20 + [([B], 10, 1.0)] * 180).report.functions
    heavy = ranked([([A], 10, 10.0)] * 2 + [([B], 10, 1.0)] * 180).report.functions
    widths = [
        next(entry.self_share.high - entry.self_share.low for entry in functions if entry.function == "a")
        for functions in (light, heavy)
    ]
    assert widths[1] > 2 * widths[0]


def points(lines: Sequence[str]) -> dict[str, dict[str, str]]:
    """Fields of the function points by tag, as they stand in the lines."""
    found = {}
    for line in lines:
        matched = re.fullmatch(r"function,function=(.*),kind=cpu,partition=3,service=checkout (.*) \d+", line)
        if matched:
            found[matched[1]] = dict(entry.split("=") for entry in matched[2].split(","))
    return found


def test_one_name_in_two_files_is_one_point_with_the_interval_of_the_sum() -> None:
    both = [([A], 10, 1.0)] * 20 + [([function("a", "/opt/other")], 10, 1.0)] * 10 + [([B], 10, 1.0)] * 70
    lines = points(list(report_lines(ranked(both))))
    assert lines["a"]["self"] == "300i"
    low, high = wilson_interval(0.3, effective_count(1000.0, 10_000.0))
    assert (float(lines["a"]["share_low"]), float(lines["a"]["share_high"])) == pytest.approx((low, high))


def test_a_function_that_is_called_like_the_rest_is_added_to_it() -> None:
    lines = points(list(report_lines(ranked([([function(OTHER_FUNCTION)], 10, 1.0), ([B], 5, 1.0), ([C], 1, 1.0)], 1))))
    assert lines[OTHER_FUNCTION]["self"] == "16i"


@pytest.mark.parametrize(
    ("name", "tag"),
    [
        ("", "-"),
        ("std::map<int, int>::operator=", r"std::map<int\,\ int>::operator\="),
        ("a\nb\tc\r\x00d", r"a\ b\ c\ \ d"),
        ('say "hi"', r"say\ " + '"hi"'),
        ("C:\\dir\\", "C:⧵dir⧵"),
        ("naïve_ünïcode_日本", "naïve_ünïcode_日本"),
    ],
)
def test_names_as_tags(name: str, tag: str) -> None:
    assert tag_value(name) == tag


def test_a_name_of_64_kb_is_cut_and_stays_itself() -> None:
    first, second = tag_value("x" * 65_536 + "1"), tag_value("x" * 65_536 + "2")
    assert first != second
    assert len(first.encode()) <= MAX_TAG_BYTES
    assert tag_value("x" * 65_536 + "1") == first
    assert len(tag_value("日" * 30_000).encode()) <= MAX_TAG_BYTES


def test_names_that_become_the_same_tag_are_added() -> None:
    lines = points(list(report_lines(ranked([([function("a\nb")], 10, 1.0), ([function("a b")], 7, 1.0)]))))
    assert lines[r"a\ b"]["self"] == "17i"
