"""``/tmp/perf-PID.map``: what just-in-time compilers write so that profilers can name generated code.

One line a piece of code, ``START SIZE NAME`` with hexadecimal numbers (jit-interface.txt of Linux' perf). The file
grows while the process runs; code that moved or took another's place has a later line, and the latest counts.
"""

from __future__ import annotations

import os
from array import array
from typing import TYPE_CHECKING

import numpy as np

from producers.symbols.failures import FailureCounts, SymbolFailure
from producers.symbols.source import identity_of

if TYPE_CHECKING:
    from numpy.typing import NDArray

MAX_LINES = 200_000
"""Kept of one process, 20 bytes each; the oldest half goes when there are more."""
MAX_TAIL_BYTES = 16 << 20
"""Read of a file that is there already, from its end."""
MAX_STEP_BYTES = 2 << 20
"""Read at one time: 40,000 lines, 40 ms."""
MAX_NAME_BYTES = 1_024
_MAX_OVERLAPS = 32  # lines that may lie between an address and the start of the code around it


class PerfMap:
    """The lines of one file; names stay there and are read when asked."""

    def __init__(self, descriptor: int, failures: FailureCounts) -> None:
        """Take over ``descriptor`` of the open file. Nothing is read yet."""
        self._descriptor, self._failures = descriptor, failures
        self.device_and_inode = identity_of(descriptor)[:2]
        self._starts, self._sizes, self._names = array("Q"), array("I"), array("Q")
        size = os.fstat(descriptor).st_size
        self._position = max(0, size - MAX_TAIL_BYTES)
        self._is_inside_line = self._position > 0
        if self._position:
            failures.note(SymbolFailure.PERF_MAP_TOO_LARGE)
        self._order: NDArray[np.int64] = np.empty(0, np.int64)
        self._sorted: NDArray[np.uint64] = np.empty(0, np.uint64)

    def __del__(self) -> None:
        os.close(self._descriptor)

    def __len__(self) -> int:
        return len(self._starts)

    @property
    def was_cut(self) -> bool:
        """Whether the file has become shorter than what was read of it: it was begun anew."""
        return os.fstat(self._descriptor).st_size < self._position

    @property
    def has_more(self) -> bool:
        """Whether the file goes on behind what has been read."""
        return os.fstat(self._descriptor).st_size > self._position

    def read_more(self) -> bool:
        """Take in the next lines, at most ``MAX_STEP_BYTES``; whether there were any."""
        try:
            content = os.pread(self._descriptor, MAX_STEP_BYTES, self._position)
        except OSError:
            return False
        begin = content.find(b"\n") + 1 if self._is_inside_line else 0
        end = content.rfind(b"\n") + 1
        if not end:
            if len(content) == MAX_STEP_BYTES:  # no line is as long: skip it
                self._position, self._is_inside_line = self._position + len(content), True
                self._failures.note(SymbolFailure.PERF_MAP_BAD_LINE)
            return False
        before = len(self)
        self._take(content[begin:end], self._position + begin)
        self._position, self._is_inside_line = self._position + end, False
        if len(self) > before:
            self._sort()
        return len(self) > before

    def _take(self, lines: bytes, position: int) -> None:
        bad = 0
        for line in lines.split(b"\n")[:-1]:
            start, _, rest = line.partition(b" ")
            size, _, name = rest.partition(b" ")
            try:
                begin, length = int(start, 16), int(size, 16)
                if not name or length == 0 or begin + length > 1 << 64:
                    raise ValueError  # noqa: TRY301 - one way to say that a line is bad
                self._sizes.append(length)
                self._starts.append(begin)
                self._names.append(position + len(line) - len(name))
            except (ValueError, OverflowError):
                bad += 1
                del self._sizes[len(self._starts) :]
            position += len(line) + 1
        if bad:
            self._failures.note(SymbolFailure.PERF_MAP_BAD_LINE, bad)

    def _sort(self) -> None:
        if len(self) > MAX_LINES:
            old = len(self) - MAX_LINES // 2
            del self._starts[:old], self._sizes[:old], self._names[:old]
            self._failures.note(SymbolFailure.PERF_MAP_TOO_LARGE)
        starts = np.array(self._starts, dtype=np.uint64)
        self._order = np.argsort(starts, kind="stable")
        self._sorted = starts[self._order]

    def name(self, address: int) -> str:
        """What the latest line around an address says; empty when none does. Invalid UTF-8 is replaced."""
        row = int(np.searchsorted(self._sorted, np.uint64(address), side="right"))
        near = self._order[max(0, row - _MAX_OVERLAPS) : row].tolist()
        around = [line for line in near if address - self._starts[line] < self._sizes[line]]
        if not around:
            return ""
        try:
            content = os.pread(self._descriptor, MAX_NAME_BYTES, self._names[max(around)])
        except OSError:
            return ""
        return content.partition(b"\n")[0].decode("utf-8", "replace")
