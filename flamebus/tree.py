"""The call tree of a profile: what a flame graph draws."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from flamebus.frames import Frame
from flamebus.profile import I64, U32

ROOT = 0


@dataclass(frozen=True, slots=True)
class CallTree:
    """Columns of shape ``(n_nodes,)``; row 0 is the root, callers come before callees.

    Attributes:
        parent: row of the caller; frame: row of ``frames`` (the root's is ignored).
        self_value, total_value: in the profile's unit; a total includes all callees.
        pruned_count: nodes that were left out; their value stays in the totals of their callers.
    """

    frames: tuple[Frame, ...]
    parent: U32
    frame: U32
    self_value: I64
    total_value: I64
    pruned_count: int = 0

    def check(self) -> None:
        """Raise AssertionError unless parents come first and children never exceed their caller."""
        children = np.zeros(len(self.parent), dtype=np.int64)
        np.add.at(children, self.parent[1:], self.total_value[1:])
        assert (self.parent[1:] < np.arange(1, len(self.parent))).all(), "a callee comes before its caller"  # noqa: S101 - what it is for
        assert (children + self.self_value <= self.total_value).all(), "callees exceed their caller"  # noqa: S101 - what it is for

    def prune(self, max_nodes: int) -> "CallTree":
        """The ``max_nodes`` largest nodes; a caller is never smaller than its callee, so the rest is still a tree."""
        count = len(self.parent)
        if count <= max_nodes:
            return self
        order = np.lexsort((np.arange(count), -self.total_value))
        kept = np.sort(order[:max_nodes])
        row = np.zeros(count, dtype=np.uint32)
        row[kept] = np.arange(len(kept), dtype=np.uint32)
        return CallTree(
            self.frames,
            row[self.parent[kept]],
            self.frame[kept],
            self.self_value[kept],
            self.total_value[kept],
            self.pruned_count + count - len(kept),
        )

    def children(self) -> list[list[int]]:
        """Callees of each node, heaviest first."""
        found: list[list[int]] = [[] for _ in self.parent]
        order = np.argsort(-self.total_value[1:], kind="stable") + 1
        for row, parent in zip(order.tolist(), self.parent[order].tolist(), strict=True):
            found[parent].append(row)
        return found


def build_tree(frames: Sequence[Frame], rows: U32, first: I64, value: I64) -> CallTree:
    """The tree of weighted stacks, grown by one level of all stacks at a time.

    Args:
        frames: what stacks refer to by row.
        rows: rows of frames of all stacks one after another, each leaf first.
        first: shape ``(n_stacks + 1,)``; stack ``i`` is ``rows[first[i]:first[i + 1]]``.
        value: of each stack, shape ``(n_stacks,)``.
    """
    parents, node_frames = [np.zeros(1, dtype=np.int64)], [np.zeros(1, dtype=np.int64)]
    node = np.zeros(len(value), dtype=np.int64)
    length = np.diff(first)
    count, depth = 1, 0
    deeper = np.flatnonzero(length > depth)
    while len(deeper):
        frame = rows[first[deeper] + length[deeper] - 1 - depth].astype(np.int64)
        keys, number = np.unique(node[deeper] * len(frames) + frame, return_inverse=True)
        parents.append(keys // len(frames))
        node_frames.append(keys % len(frames))
        node[deeper] = count + number
        count += len(keys)
        depth += 1
        deeper = deeper[length[deeper] > depth]
    own = np.zeros(count, dtype=np.int64)
    np.add.at(own, node, value)
    return CallTree(
        tuple(frames),
        np.concatenate(parents).astype(np.uint32),
        np.concatenate(node_frames).astype(np.uint32),
        own,
        _totals(own, parents),
    )


def _totals(own: I64, parents: list[I64]) -> I64:
    """Own values and those of all callees; ``parents`` holds each level's callers, so the deepest level goes first."""
    total = own.copy()
    end = len(total)
    for level in reversed(parents[1:]):
        start = end - len(level)
        np.add.at(total, level, total[start:end])
        end = start
    return total
