"""What a window and a watermark are, apart from how their state moves through a worker.

A window is a half-open range of event time aligned to the epoch. The watermark of a partition is the highest event time
seen in it (no later than the broker's own stamp) minus the allowed lateness: event time before which no more data is
expected. A window closes when the watermark reaches its end; what comes later for it is late.
"""

from dataclasses import dataclass, replace

import numpy as np

from flamebus.profile import I64

DEFAULT_WINDOW_SIZE_NS = 10 * 10**9
DEFAULT_LATENESS_NS = 2 * 10**9
MAX_CLOCK_SKEW_NS = 5 * 10**9
"""How far event time may run ahead of the broker's stamp before a record is refused as ``clock_skew``."""


@dataclass(frozen=True, slots=True, order=True)
class Window:
    """Half-open range ``[start, end)``, ns UTC."""

    start_unix_nano: int
    size_ns: int

    @property
    def end_unix_nano(self) -> int:
        """First instant after the window."""
        return self.start_unix_nano + self.size_ns


def window_start(unix_nano: int, size_ns: int) -> int:
    """Start of the epoch-aligned window that an instant lies in."""
    return unix_nano - unix_nano % size_ns


def window_starts(unix_nano: I64, size_ns: int) -> I64:
    """The same for a column of instants, shape ``(n,)``."""
    result: I64 = unix_nano - np.mod(unix_nano, size_ns)
    return result


@dataclass(frozen=True, slots=True)
class Watermark:
    """Event time before which no more data is expected in one partition, ns UTC. It never goes back."""

    unix_nano: int
    lateness_ns: int = DEFAULT_LATENESS_NS

    def observe(self, event_unix_nano: int, append_unix_nano: int) -> "Watermark":
        """The watermark after a record whose latest event is at ``event_unix_nano``.

        A host whose clock runs ahead must not close everybody's windows, so the broker's stamp is an upper bound.
        """
        candidate = min(event_unix_nano, append_unix_nano) - self.lateness_ns
        return self if candidate <= self.unix_nano else replace(self, unix_nano=candidate)

    def has_closed(self, window: Window) -> bool:
        """Whether the window's end has been passed: nothing more may be added to it."""
        return window.end_unix_nano <= self.unix_nano
