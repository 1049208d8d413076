"""How long a server asks us to wait."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from streams.sinks.influx import asked_pause_s

NOW = datetime(2026, 1, 31, 12, 0, 0, tzinfo=UTC)


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        ("", 0.0),
        ("7", 7.0),
        ("99999", 60.0),
        ("Sat, 31 Jan 2026 12:00:30 GMT", 30.0),
        ("Sat, 31 Jan 2026 11:00:00 GMT", 0.0),
        ("soon", 0.0),
        ("-3", 0.0),
        ("1e300", 0.0),
    ],
)
def test_a_number_a_date_or_nonsense(header: str, seconds: float) -> None:
    assert asked_pause_s(header, NOW) == seconds
