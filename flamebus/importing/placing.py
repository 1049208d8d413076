"""When the samples of a foreign profile are said to have been taken."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from flamebus.errors import BadDataError
from flamebus.importing.foreign import ForeignSample
from flamebus.profile import TIME_DELTA_UNIT_NS
from flamebus.window import window_start

_GOLDEN = 0.6180339887498949
"""Fraction of the golden ratio: its multiples, without their whole part, are spread evenly however many there are."""

_LAST_UNIX_NANO = 2**62


@dataclass(frozen=True, slots=True)
class Placed:
    """A part of a sample in one window; ``delta_ns`` is its time since the window's start."""

    window_start: int
    delta_ns: int
    weight: float


@dataclass(frozen=True, slots=True)
class Placement:
    """Puts samples into windows.

    Attributes:
        window_ns: size of windows.
        start_unix_nano: when the profile began; ``None`` puts everything at the start of one window, number 0, which
            whoever publishes moves to the window of that moment.
        duration_ns: how long it took; samples without a time of their own are spread over it evenly.
    """

    window_ns: int
    start_unix_nano: int | None = None
    duration_ns: int = 0

    def place(self, sample: ForeignSample, ordinal: int) -> Iterator[Placed]:
        """Parts whose weights add up to the sample's, in order of time.

        Args:
            sample: its weight is cut between events, never inside of one, so that every part is exact.
            ordinal: number of the sample in its profile: says where the rest goes that cannot be spread evenly.

        Raises:
            BadDataError: ``bad_time``.
        """
        if self.start_unix_nano is None:
            yield Placed(0, 0, sample.weight)
        elif sample.offset_ns is not None:
            yield self._at(self.start_unix_nano + sample.offset_ns, sample.weight)
        else:
            yield from self._spread(self.start_unix_nano, sample.weight, ordinal * _GOLDEN % 1)

    def _spread(self, begin: int, weight: float, phase: float) -> Iterator[Placed]:
        if weight == 1 or weight != int(weight) or self.duration_ns <= TIME_DELTA_UNIT_NS:
            yield self._at(begin + int(phase * self.duration_ns), weight)
            return
        first, last = window_start(begin, self.window_ns), window_start(begin + self.duration_ns - 1, self.window_ns)
        starts = np.maximum(np.arange(first, last + 1, self.window_ns, dtype=np.int64), begin)
        ends = np.append(starts[1:], begin + self.duration_ns)
        # How many events come before the end of each window: rounding there, once, keeps the sum whole.
        before = np.floor(weight * ((ends - begin) / self.duration_ns) + phase)
        before[-1] = weight
        counts = np.diff(before, prepend=0.0)
        for row in np.flatnonzero(counts).tolist():
            yield self._at(int(starts[row] + phase * (ends[row] - starts[row])), float(counts[row]))

    def _at(self, unix_nano: int, weight: float) -> Placed:
        if not 0 <= unix_nano < _LAST_UNIX_NANO:
            raise BadDataError("bad_time", f"a sample lies at {unix_nano} ns, before 1970 or after 2116")
        start = window_start(unix_nano, self.window_ns)
        return Placed(start, unix_nano - start, weight)
