"""The call tree of a profile: what a flame graph draws."""

from collections.abc import Iterable, Sequence
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
            count - len(kept),
        )


def build_tree(frames: Sequence[Frame], stacks: Iterable[tuple[Sequence[int], int]]) -> CallTree:
    """The tree of weighted stacks.

    Args:
        frames: what stacks refer to by row.
        stacks: rows of frames, leaf first, and a value.
    """
    nodes: dict[tuple[int, int], int] = {}
    parent, frame, own = [ROOT], [0], [0]
    for rows, value in stacks:
        node = ROOT
        for row in reversed(rows):
            key = (node, row)
            found = nodes.get(key)
            if found is None:
                found = nodes[key] = len(parent)
                parent.append(node)
                frame.append(row)
                own.append(0)
            node = found
        own[node] += value
    total = np.array(own, dtype=np.int64)
    # Callers have smaller rows than callees, so one pass from the end adds everything up.
    for row in range(len(parent) - 1, 0, -1):
        total[parent[row]] += total[row]
    return CallTree(
        tuple(frames),
        np.array(parent, dtype=np.uint32),
        np.array(frame, dtype=np.uint32),
        np.array(own, dtype=np.int64),
        total,
    )
