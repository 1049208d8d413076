"""A call tree as JSON columns: each text is sent once, however many nodes carry it."""

from collections.abc import Iterable

import numpy as np

from flamebus.interval import wilson_interval
from flamebus.tree import CallTree


class _Words:
    """Texts by number; number 0 is the empty text."""

    def __init__(self) -> None:
        self._numbers = {"": 0}

    def numbers(self, texts: Iterable[str]) -> list[int]:
        return [self._numbers.setdefault(text, len(self._numbers)) for text in texts]

    def all(self) -> list[str]:
        return list(self._numbers)


def tree_columns(tree: CallTree, effective: float) -> dict[str, object]:
    """The tree as docs/http.md describes it.

    Args:
        tree: callers before callees; row 0 is the root, which has no frame.
        effective: effective number of samples of the whole profile, for the intervals of shares.
    """
    names, mappings, kinds = _Words(), _Words(), _Words()
    frames = [tree.frames[row] for row in tree.frame[1:].tolist()]
    share = np.minimum(tree.total_value / max(int(tree.total_value[0]), 1), 1.0)
    low, high = wilson_interval(share, effective)
    columns = {
        "parent": tree.parent.tolist(),
        "name": [0, *names.numbers(frame.function for frame in frames)],
        "mapping": [0, *mappings.numbers(frame.mapping for frame in frames)],
        "kind": [0, *kinds.numbers(frame.kind.label for frame in frames)],
        "self": tree.self_value.tolist(),
        "total": tree.total_value.tolist(),
        "low": np.round(low, 6).tolist(),
        "high": np.round(high, 6).tolist(),
    }
    return {
        "nodes": columns,
        "names": names.all(),
        "mappings": mappings.all(),
        "kinds": kinds.all(),
        "pruned_nodes": tree.pruned_count,
    }
