"""What a request asks for: its query parameters, checked, with units."""

from collections.abc import Mapping

from flamebus.clock import parse_duration
from flamebus.errors import UsageError
from flamebus.profile import Kind
from flamebus.time_range import TimeRange, read_time_range

DEFAULT_MAX_NODES = 8192
MAX_MAX_NODES = 65_536
DEFAULT_TOP_LIMIT = 500
MAX_TOP_LIMIT = 10_000
MAX_SEARCH_CHARACTERS = 200
MAX_POINTS = 2000
"""Most points of a series: more than a screen has pixels."""
_AUTOMATIC_POINTS = 300
_STEPS_NS = tuple(
    parse_duration(text)
    for text in ("10s", "20s", "30s", "1m", "2m", "5m", "10m", "15m", "30m", "1h", "2h", "3h", "6h", "12h", "1d")
)
"""Steps a series takes by itself: multiples of the default window that divide the clock."""


def time_range(query: Mapping[str, str], now_unix_nano: int) -> TimeRange:
    """The range of ``from`` and ``to``, or of ``since``; the last hour by default.

    Raises:
        UsageError: not times, ``since`` together with ``from``, or reversed.
    """
    return read_time_range(query.get("since"), query.get("from"), query.get("to"), now_unix_nano)


def service(query: Mapping[str, str]) -> str:
    """The service asked for.

    Raises:
        UsageError: none is given.
    """
    if not query.get("service"):
        raise UsageError("which service? add service=NAME; /api/v1/services lists them")
    return query["service"]


def kind(query: Mapping[str, str]) -> str:
    """The kind asked for; ``cpu`` by default."""
    return query.get("kind") or Kind.CPU


def search(query: Mapping[str, str]) -> str:
    """The text to look for in function names, or an empty string.

    Raises:
        UsageError: longer than any function name.
    """
    text = query.get("search", "").strip()
    if len(text) > MAX_SEARCH_CHARACTERS:
        raise UsageError(f"search is {len(text)} characters long; at most {MAX_SEARCH_CHARACTERS} are allowed")
    return text


def count(query: Mapping[str, str], name: str, default: int, most: int) -> int:
    """A whole number between 1 and ``most``.

    Raises:
        UsageError: anything else.
    """
    text = query.get(name, "")
    if not text:
        return default
    # Eighteen digits are far beyond every limit; longer ones are not worth converting.
    if not (text.isascii() and text.isdigit()) or len(text) > 18 or not 1 <= int(text) <= most:
        raise UsageError(f"{name} must be a whole number from 1 to {most}, not {text!r}")
    return int(text)


def step_ns(query: Mapping[str, str], span: TimeRange) -> int:
    """Width of a point of a series, ns: ``step`` as a duration, else one that gives at most 300 points.

    Raises:
        UsageError: not a duration, or so short that the range has more than ``MAX_POINTS`` points.
    """
    if query.get("step"):
        step = parse_duration(query["step"])
        if step <= 0 or span.length_ns / step > MAX_POINTS:
            raise UsageError(f"step {query['step']} is too short for this range: at most {MAX_POINTS} points")
        return step
    wanted = span.length_ns / _AUTOMATIC_POINTS
    longest = _STEPS_NS[-1]
    return next((step for step in _STEPS_NS if step >= wanted), -int(-wanted // longest) * longest)
