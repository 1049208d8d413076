"""How far a long command is, on one line of a terminal; nothing where standard error is a file or a pipe."""

import sys
import time
from collections.abc import Callable
from typing import Self, TextIO

_PERIOD_S = 0.2


class Progress:
    """A line that is drawn over; use it as a context manager, which takes the line away in the end."""

    def __init__(self, stream: TextIO | None = None, clock_s: Callable[[], float] = time.monotonic) -> None:
        self._stream = stream or sys.stderr
        self._clock_s = clock_s
        self._is_shown = self._stream.isatty()
        self._drawn_at = clock_s()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._is_shown:
            self._stream.write("\r\x1b[K")
            self._stream.flush()

    def tell(self, text: Callable[[], str]) -> None:
        """Draw the text, unless the last one is fresh; it is asked for only when it is drawn."""
        if not self._is_shown or self._clock_s() - self._drawn_at < _PERIOD_S:
            return
        self._drawn_at = self._clock_s()
        self._stream.write(f"\r\x1b[K{text()}")
        self._stream.flush()
