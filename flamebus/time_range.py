"""A range of time, and how people write one: ``since``, or ``from`` and ``to``."""

from dataclasses import dataclass

from flamebus.clock import format_time, parse_duration, parse_time
from flamebus.errors import UsageError

DEFAULT_SINCE = "1h"
_MAX_TEXT_CHARACTERS = 40
_MAX_UNIX_NANO = 2**63 - 1
_CALENDAR_END_UNIX_NANO = 253_402_300_800 * 10**9  # the year 10000


@dataclass(frozen=True, slots=True)
class TimeRange:
    """Half-open range ``[from, to)`` of window starts, ns UTC; never empty.

    Raises:
        UsageError: empty or reversed.
    """

    from_unix_nano: int
    to_unix_nano: int

    def __post_init__(self) -> None:
        if self.from_unix_nano >= self.to_unix_nano:
            raise UsageError(
                f"the time range is empty or reversed: from {_shown(self.from_unix_nano)} to "
                f"{_shown(self.to_unix_nano)}; from must be before to"
            )

    @property
    def length_ns(self) -> int:
        """How long it is."""
        return self.to_unix_nano - self.from_unix_nano


def read_time_range(since: str | None, start: str | None, end: str | None, now_unix_nano: int) -> TimeRange:
    """The range that somebody asked for; the last hour by default.

    Args:
        since: a duration that ends at ``end``, such as ``15m``.
        start: where it starts instead: ``now``, ``-15m``, ``2026-01-31T12:00:00Z`` or a Unix time.
        end: where it ends, written likewise; now by default.
        now_unix_nano: what "now" is.

    Raises:
        UsageError: not times, ``since`` together with ``start``, before 1970, or reversed.
    """
    if since and start:
        raise UsageError("give either since or from, not both")
    to_unix_nano = _instant(end, now_unix_nano) if end else now_unix_nano
    if start:
        from_unix_nano = _instant(start, now_unix_nano)
    else:
        from_unix_nano = to_unix_nano - parse_duration((since or DEFAULT_SINCE).removeprefix("-"))
    if from_unix_nano < 0:
        raise UsageError("the time range starts before 1970; choose a later from or a shorter since")
    return TimeRange(from_unix_nano, to_unix_nano)


def _instant(text: str, now_unix_nano: int) -> int:
    # Length and alphabet are checked first: int() knows other digits, and refuses long numbers.
    if not text.isascii() or len(text) > _MAX_TEXT_CHARACTERS:
        raise UsageError("not a time; write now, -15m, 2026-01-31T12:00:00Z or a Unix time")
    unix_nano = parse_time(text, now_unix_nano)
    if unix_nano > _MAX_UNIX_NANO:
        raise UsageError("a time lies beyond the year 2262; Unix times are in seconds, or in ns with 19 digits")
    return unix_nano


def _shown(unix_nano: int) -> str:
    return format_time(unix_nano) if 0 <= unix_nano < _CALENDAR_END_UNIX_NANO else str(unix_nano)
