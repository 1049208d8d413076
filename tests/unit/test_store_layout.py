"""Names of files and folders, and which hours a range touches."""

from __future__ import annotations

import pytest

from flamebus.errors import UsageError
from flamebus.store.layout import (
    HOUR_NS,
    Dataset,
    Source,
    compacted_file,
    dates_of,
    folder,
    hour_start,
    hours_of,
    is_compacted_file,
    may_hold,
    parse_window_file,
    window_file,
)
from flamebus.time_range import TimeRange
from flamebus.window_profile import LogRange

START = 1_767_225_600 * 10**9


@pytest.mark.parametrize("topic", ["flamebus.samples.cpu.v1", "eu_west.samples-cpu", "a/b*c?[d]", "größe"])
@pytest.mark.parametrize("content", ["", "0123456789abcdef"])
def test_a_file_name_says_what_it_was_computed_from(topic: str, content: str) -> None:
    name = window_file(LogRange(topic, 3, 17, 42), START, ["checkout"], content)
    assert "/" not in name
    source = parse_window_file(name)
    assert source is not None
    assert (source.first_offset, source.last_offset) == (17, 42)
    later = window_file(LogRange(topic, 3, 17, 99), START, ["checkout", "search"], content)
    assert parse_window_file(later) == Source(source.key, 99, 17), "the same window, whoever has samples in it"
    assert not is_compacted_file(name)


def test_a_file_name_rules_out_most_other_services_and_never_its_own() -> None:
    services = [f"service-{number:03d}" for number in range(1_000)]
    name = window_file(LogRange("t", 3, 17, 42), START, services[:25])
    assert all(may_hold(f"samples/kind=cpu/{name}", service) for service in services[:25])
    assert sum(may_hold(name, service) for service in services[25:]) < 50
    assert may_hold(compacted_file("0123456789abcdef"), "any")


def test_a_file_that_does_not_say_its_services_may_hold_any() -> None:
    """Stores of before names said it are still read."""
    name = window_file(LogRange("t", 3, 17, 42), START, ["checkout"])
    older = f"{name.rpartition('_')[0]}.parquet"
    assert parse_window_file(older) == parse_window_file(name)
    assert may_hold(older, "search")


@pytest.mark.parametrize("name", ["w-x.parquet", ".writing-00", "notes.txt", compacted_file("0123456789abcdef")])
def test_other_files_are_no_windows(name: str) -> None:
    assert parse_window_file(name) is None


def test_more_of_the_log_wins() -> None:
    assert max([Source("k", 5, 1), Source("k", 9, 3), Source("k", 9, 2)], key=lambda s: s.coverage).first_offset == 2


def test_folders_are_hours() -> None:
    name = folder(Dataset.SAMPLES, "cpu", START + 7 * HOUR_NS + 1)
    assert name == "samples/kind=cpu/date=2026-01-01/hour=07"
    assert hour_start("2026-01-01", "07") == START + 7 * HOUR_NS


def test_a_range_that_ends_on_the_hour_does_not_touch_the_next() -> None:
    assert hours_of(TimeRange(START, START + HOUR_NS)) == ("2026-01-01/00", "2026-01-01/00")
    assert dates_of(TimeRange(START, START + 24 * HOUR_NS)) == ("2026-01-01", "2026-01-01")


@pytest.mark.parametrize("end", [START, START - 1])
def test_a_reversed_range_is_refused(end: int) -> None:
    with pytest.raises(UsageError, match="reversed"):
        TimeRange(START, end)
