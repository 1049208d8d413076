"""What a request may ask for, and what is refused with a reason."""

import pytest

from dashboard.parameters import MAX_POINTS, count, search, service, step_ns, time_range
from flamebus.errors import UsageError
from flamebus.time_range import TimeRange

SECOND = 10**9
NOW = 1_800_000_000 * SECOND


def test_the_last_hour_is_the_default() -> None:
    assert time_range({}, NOW) == TimeRange(NOW - 3600 * SECOND, NOW)


@pytest.mark.parametrize(
    ("query", "seconds"),
    [({"since": "15m"}, 900), ({"since": "-15m"}, 900), ({"from": "-1h", "to": "-30m"}, 1800)],
)
def test_ranges_are_as_long_as_asked(query: dict[str, str], seconds: int) -> None:
    assert time_range(query, NOW).length_ns == seconds * SECOND


@pytest.mark.parametrize(
    ("query", "said"),
    [
        ({"from": "now", "to": "-1h"}, "reversed"),
        ({"from": "now", "to": "now"}, "empty"),
        ({"since": "1h", "from": "-1h"}, "not both"),
        ({"from": "yesterday"}, "not"),
        ({"from": "9" * 60}, "not a time"),
        ({"from": "٣"}, "not a time"),
        ({"since": "99999d"}, "1970"),
    ],
)
def test_ranges_without_sense_are_refused(query: dict[str, str], said: str) -> None:
    with pytest.raises(UsageError, match=said):
        time_range(query, NOW)


def test_a_service_must_be_named() -> None:
    with pytest.raises(UsageError, match="which service"):
        service({})


@pytest.mark.parametrize("text", ["0", "-1", "11", "1.5", "٣", "9" * 5000, "x"])
def test_counts_out_of_bounds_are_refused(text: str) -> None:
    with pytest.raises(UsageError, match="from 1 to 10"):
        count({"limit": text}, "limit", 5, 10)


def test_a_search_has_a_limit() -> None:
    assert search({"search": " a "}) == "a"
    with pytest.raises(UsageError, match="characters"):
        search({"search": "x" * 201})


@pytest.mark.parametrize("days", [0.001, 1, 30, 4000])
def test_a_series_has_few_points_whatever_its_range(days: float) -> None:
    span = TimeRange(0, int(days * 86_400) * SECOND)
    assert 1 <= span.length_ns / step_ns({}, span) <= 300
    with pytest.raises(UsageError, match="too short"):
        step_ns({"step": f"{span.length_ns // (MAX_POINTS + 1)}ns"}, span)
