"""A profile as stacks with their sums, and what can be asked of it without pruning anything."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from flamebus.frames import Frame
from flamebus.hotspot import FunctionHotspot, Share
from flamebus.interval import effective_count, wilson_interval
from flamebus.profile import F64, I64, U32
from flamebus.tree import CallTree, build_tree


@dataclass(frozen=True, slots=True)
class StackTotals:
    """A profile as columns.

    Attributes:
        rows: rows of ``frames`` of all stacks one after another, each leaf first.
        first: shape ``(n_stacks + 1,)``; stack ``i`` is ``rows[first[i]:first[i + 1]]``.
        value, samples, variance: of each stack, shape ``(n_stacks,)``.
    """

    frames: tuple[Frame, ...]
    rows: U32
    first: I64
    value: I64
    samples: F64
    variance: F64

    @property
    def total(self) -> int:
        """Sum of values."""
        return int(self.value.sum())

    @property
    def effective(self) -> float:
        """Effective number of samples, for intervals."""
        return effective_count(float(self.total), float(self.variance.sum()))

    def named_stacks(self) -> Iterator[tuple[list[str], int]]:
        """Stacks as names of functions, leaf first, with their values."""
        rows, first = self.rows.tolist(), self.first.tolist()
        for begin, end, value in zip(first, first[1:], self.value.tolist(), strict=False):
            yield [self.frames[row].function for row in rows[begin:end]], value

    def tree(self) -> CallTree:
        """The whole call tree."""
        return build_tree(self.frames, self.rows, self.first, self.value)


@dataclass(frozen=True, slots=True)
class Match:
    """What a search found in all stacks.

    Attributes:
        value: of samples with a match anywhere, each once; share: the same as part of the total.
        function_count: functions whose name matches.
    """

    value: int
    share: Share
    function_count: int


def matching(frames: Sequence[Frame], text: str) -> list[int]:
    """Rows of frames whose function contains the text, whatever its case."""
    wanted = text.casefold()
    return [row for row, frame in enumerate(frames) if wanted in frame.function.casefold()]


def search(found: StackTotals, text: str) -> Match:
    """How much of a profile has a function whose name contains the text; nothing is too small to be found."""
    rows = matching(found.frames, text)
    is_match = np.zeros(max(len(found.frames), 1), dtype=bool)
    is_match[rows] = True
    hits = np.concatenate(([0], np.cumsum(is_match[found.rows])))
    value = int(found.value[hits[found.first[1:]] > hits[found.first[:-1]]].sum())
    return Match(value, share_of(value, found), len(rows))


def top_functions(found: StackTotals, text: str = "", limit: int | None = None) -> list[FunctionHotspot]:
    """Functions by self value, then total value; from all stacks, however small. Recursion counts once.

    Args:
        found: the profile.
        text: only functions whose name contains it, whatever its case.
        limit: at most so many, all when not given.
    """
    own, whole = _function_values(found)
    rows = np.array(matching(found.frames, text), dtype=np.int64)
    rows = rows[np.lexsort((rows, -whole[rows], -own[rows]))][:limit]
    own_shares, whole_shares = _shares(own[rows], found), _shares(whole[rows], found)
    return [
        FunctionHotspot(
            function=found.frames[row].function,
            mapping=found.frames[row].mapping,
            frame_kind=found.frames[row].kind.label,
            self_value=int(own[row]),
            total_value=int(whole[row]),
            self_share=own_share,
            total_share=whole_share,
        )
        for row, own_share, whole_share in zip(rows.tolist(), own_shares, whole_shares, strict=True)
    ]


def share_of(value: int, found: StackTotals) -> Share:
    """A value as part of the profile, with its interval."""
    return _shares(np.array([value]), found)[0]


def _function_values(found: StackTotals) -> tuple[I64, I64]:
    """Self and total value of each row of frames."""
    count = len(found.frames)
    own, whole = np.zeros(count, dtype=np.int64), np.zeros(count, dtype=np.int64)
    length = np.diff(found.first)
    filled = length > 0
    np.add.at(own, found.rows[found.first[:-1][filled]], found.value[filled])
    stack = np.repeat(np.arange(len(length)), length)
    once = np.unique(stack * max(count, 1) + found.rows)
    np.add.at(whole, once % max(count, 1), found.value[once // max(count, 1)])
    return own, whole


def _shares(values: I64, found: StackTotals) -> list[Share]:
    part = values.astype(np.float64) / max(found.total, 1)
    low, high = wilson_interval(part, found.effective)
    return [Share(*three) for three in zip(part.tolist(), low.tolist(), high.tolist(), strict=True)]
