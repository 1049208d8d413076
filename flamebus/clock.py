"""Clocks as arguments, and how durations and points in time are written by people."""

import re
import time
from datetime import UTC, datetime
from typing import Protocol

from flamebus.errors import UsageError

NANOSECONDS = {"ns": 1, "us": 10**3, "ms": 10**6, "s": 10**9, "m": 60 * 10**9, "h": 3600 * 10**9, "d": 86400 * 10**9}
_DURATION = re.compile(r"(\d+(?:\.\d+)?)(ns|us|ms|s|m|h|d)")


class Clock(Protocol):
    """Something that knows the time."""

    def unix_nano(self) -> int:
        """Wall clock, ns UTC since the epoch."""
        ...


class SystemClock:
    """The machine's wall clock."""

    def unix_nano(self) -> int:
        """Wall clock, ns UTC since the epoch."""
        return time.time_ns()


def parse_duration(text: str) -> int:
    """Nanoseconds of ``10s``, ``1h30m``, ``250ms``.

    Raises:
        UsageError: not a duration.
    """
    parts = _DURATION.findall(text.strip())
    if not parts or "".join(number + unit for number, unit in parts) != text.strip():
        raise UsageError(f"not a duration: {text!r}; write it as 10s, 250ms, 1h30m or 7d")
    return sum(round(float(number) * NANOSECONDS[unit]) for number, unit in parts)


def format_duration(duration_ns: int) -> str:
    """The shortest exact form that :func:`parse_duration` reads: ``10s``, ``90s``, ``1500ms``."""
    for unit in ("d", "h", "m", "s", "ms", "us"):
        if duration_ns and duration_ns % NANOSECONDS[unit] == 0:
            return f"{duration_ns // NANOSECONDS[unit]}{unit}"
    return f"{duration_ns}ns" if duration_ns else "0s"


def parse_time(text: str, now_unix_nano: int) -> int:
    """Unix ns of ``now``, ``-15m``, ``2026-01-31T12:00:00Z`` (UTC without a zone) or a Unix time in seconds or ns.

    Raises:
        UsageError: none of these.
    """
    text = text.strip()
    if text == "now":
        return now_unix_nano
    if text.startswith(("-", "now-")):
        return now_unix_nano - parse_duration(text.removeprefix("now").removeprefix("-"))
    if text.isdigit():
        # Ten digits reach the year 2286 in seconds; nobody has profiles of 1970 in nanoseconds.
        return int(text) if len(text) > 12 else int(text) * NANOSECONDS["s"]
    try:
        moment = datetime.fromisoformat(text)
    except ValueError as error:
        raise UsageError(f"not a time: {text!r}; write now, -15m, 2026-01-31T12:00:00Z or a Unix time") from error
    moment = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    return int(moment.timestamp()) * NANOSECONDS["s"] + moment.microsecond * 1000


def format_time(unix_nano: int) -> str:
    """ISO 8601 in UTC with milliseconds: ``2026-01-31T12:00:00.000Z``."""
    seconds, rest = divmod(unix_nano, NANOSECONDS["s"])
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%dT%H:%M:%S}.{rest // 10**6:03d}Z"
