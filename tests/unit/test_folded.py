"""Folded text, line by line."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flamebus.errors import BadDataError
from flamebus.folded import FoldedStack, format_folded, parse_folded_line

NAMES = st.text(st.characters(exclude_characters=";\n\r", exclude_categories=("Cs", "Cc", "Z")), min_size=1).filter(
    lambda name: not name.startswith("#")
)


@given(st.lists(NAMES, min_size=1, max_size=5), st.integers(0, 2**53))
def test_what_is_written_is_read_back(functions: list[str], value: int) -> None:
    (line,) = format_folded([(functions, value)])
    assert parse_folded_line(line) == FoldedStack(tuple(functions), value)


@pytest.mark.parametrize(
    ("line", "functions", "count"),
    [
        ("main;work 3", ("work", "main"), 3),
        ("main\t7", ("main",), 7),
        ("main;operator new(unsigned long);std::map<int, int>::at 12", None, 12),
        ("a;b 1.5", ("b", "a"), 1.5),
        ("a;b 2.0", ("b", "a"), 2),
        ("a;b 1e3\r\n", ("b", "a"), 1000),
        (";a;;b; 4", ("b", "a"), 4),
        ("java;Foo::bar_[j];write_[k] 9007199254740992", ("write_[k]", "Foo::bar_[j]", "java"), 2**53),
    ],
)
def test_lines_of_other_tools(line: str, functions: tuple[str, ...] | None, count: float) -> None:
    stack = parse_folded_line(line)
    assert stack is not None
    assert stack.functions == functions or functions is None
    assert (stack.count, type(stack.count)) == (count, type(count))


@pytest.mark.parametrize("line", ["", "   ", "\n", "# a comment 12", "  # indented 1"])
def test_blank_lines_and_comments_are_no_stacks(line: str) -> None:
    assert parse_folded_line(line) is None


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("main;work", "malformed"),
        ("12", "malformed"),
        ("; 12", "malformed"),
        ("main twelve", "malformed"),
        ("main ١٢", "malformed"),
        ("main nan", "malformed"),
        ("main inf", "malformed"),
        ("main 0x10", "malformed"),
        ("main --3", "malformed"),
        ("main -3", "negative"),
        ("main -0.5", "negative"),
        ("main 9007199254740993", "overflow"),
        ("main 99999999999999999999999999", "overflow"),
        ("main 1e400", "overflow"),
    ],
)
def test_what_is_wrong_is_said(line: str, reason: str) -> None:
    with pytest.raises(BadDataError) as caught:
        parse_folded_line(line)
    assert caught.value.reason == reason


def test_separators_inside_names_do_not_break_the_format() -> None:
    (line,) = format_folded([(["a;b", "c\nd"], 1)])
    assert line == "c d;a:b 1"
