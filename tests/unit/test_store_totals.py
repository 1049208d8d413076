"""Trees, top tables and searches against the plainest way to compute them."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from flamebus.frames import Frame
from flamebus.store.totals import StackTotals, search, top_functions

FRAMES = tuple(Frame(name) for name in ("main", "handle", "parse", "Straße", "read", "main"))
STACKS = st.lists(
    st.tuples(st.lists(st.integers(0, len(FRAMES) - 1), max_size=8), st.integers(0, 2**55)), max_size=12
)  # fmt: skip


def totals(stacks: list[tuple[list[int], int]]) -> StackTotals:
    return StackTotals(
        FRAMES,
        np.array([row for rows, _ in stacks for row in rows], dtype=np.uint32),
        np.cumsum([0, *(len(rows) for rows, _ in stacks)]),
        np.array([value for _, value in stacks], dtype=np.int64),
        np.ones(len(stacks)),
        np.ones(len(stacks)),
    )


def paths(stacks: list[tuple[list[int], int]]) -> tuple[dict[tuple[int, ...], int], dict[tuple[int, ...], int]]:
    own: dict[tuple[int, ...], int] = {}
    whole: dict[tuple[int, ...], int] = {(): 0}
    for rows, value in stacks:
        path = tuple(reversed(rows))
        own[path] = own.get(path, 0) + value
        for length in range(len(path) + 1):
            whole[path[:length]] = whole.get(path[:length], 0) + value
    return own, whole


@given(STACKS)
def test_the_tree_is_the_one_that_counting_by_hand_gives(stacks: list[tuple[list[int], int]]) -> None:
    tree = totals(stacks).tree()
    tree.check()
    own, whole = paths(stacks)
    names: list[tuple[int, ...]] = [()]
    for row in range(1, len(tree.parent)):
        names.append((*names[tree.parent[row]], int(tree.frame[row])))
    assert dict(zip(names, tree.total_value.tolist(), strict=True)) == whole
    assert {name: value for name, value in zip(names, tree.self_value.tolist(), strict=True) if value} == {
        name: value for name, value in own.items() if value
    }


@given(STACKS, st.integers(1, 20))
def test_pruning_keeps_the_heaviest_nodes_and_every_total(stacks: list[tuple[list[int], int]], most: int) -> None:
    whole = totals(stacks).tree()
    tree = whole.prune(most)
    tree.check()
    assert len(tree.parent) == min(most, len(whole.parent))
    assert tree.pruned_count == len(whole.parent) - len(tree.parent)
    assert sorted(tree.total_value, reverse=True) == sorted(whole.total_value, reverse=True)[: len(tree.parent)]


@given(STACKS)
def test_children_come_heaviest_first(stacks: list[tuple[list[int], int]]) -> None:
    tree = totals(stacks).tree()
    children = tree.children()
    assert sorted(row for rows in children for row in rows) == list(range(1, len(tree.parent)))
    for parent, rows in enumerate(children):
        values = tree.total_value[rows].tolist()
        assert values == sorted(values, reverse=True)
        assert set(tree.parent[rows].tolist()) <= {parent}


@given(STACKS)
def test_recursion_counts_once_in_the_top_table(stacks: list[tuple[list[int], int]]) -> None:
    found = {(entry.function, entry.self_value, entry.total_value) for entry in top_functions(totals(stacks))}
    expected = {
        (
            frame.function,
            sum(value for rows, value in stacks if rows and rows[0] == row),
            sum(value for rows, value in stacks if row in rows),
        )
        for row, frame in enumerate(FRAMES)
    }
    assert found == expected


@given(STACKS, st.sampled_from(["", "main", "MAIN", "strasse", "ea", "nowhere"]))
def test_search_counts_each_stack_once_however_small(stacks: list[tuple[list[int], int]], text: str) -> None:
    match = search(totals(stacks), text)
    rows = {row for row, frame in enumerate(FRAMES) if text.casefold() in frame.function.casefold()}
    assert match.function_count == len(rows)
    assert match.value == sum(value for stack, value in stacks if rows & set(stack))


def test_a_share_of_nothing_is_known_to_be_nothing() -> None:
    match = search(totals([]), "main")
    assert (match.value, match.share.value, match.share.low) == (0, 0.0, 0.0)


def test_limit_and_text_narrow_the_table() -> None:
    found = totals([([2, 1, 0], 5), ([4, 1, 0], 3), ([0], 1)])
    assert [entry.function for entry in top_functions(found, limit=2)] == ["parse", "read"]
    assert [entry.function for entry in top_functions(found, "HAND")] == ["handle"]
    assert top_functions(found, "handle")[0].total_share.value == pytest.approx(8 / 9)
