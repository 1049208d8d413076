"""The SVG is well-formed whatever functions are called, holds every node, and loads nothing."""

from __future__ import annotations

import json
import re
import xml.etree.ElementTree as ET
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from flamebus.frames import Frame, FrameKind
from flamebus.svg import Caption, color, render_svg
from flamebus.tree import build_tree

SVG = "{http://www.w3.org/2000/svg}"
CAPTION = Caption("checkout", "cpu", "nanoseconds")
NASTY = (
    "</text><script>alert(1)</script>",
    "]]></script>",
    "std::vector<int, std::allocator<int>>&",
    "\"quoted\" 'twice'",
    "nul\0bell\x07escape\x1b[31m",
    "\ud800 lone surrogate",
    "größe 漢字 🔥",
    "&amp;&#x41;",
    "<!-- --><!DOCTYPE x>",
    "",
)


def picture(names: list[str], value: int = 10, **options: Any) -> str:
    """A stack that calls all of these, outermost first."""
    frames = [Frame(name, "a<b>&.so", FrameKind.NATIVE) for name in names]
    rows = np.arange(len(names), dtype=np.uint32)[::-1]
    return render_svg(build_tree(frames, rows, np.array([0, len(names)]), np.array([value])), CAPTION, **options)


def data(text: str) -> dict[str, Any]:
    content = ET.fromstring(text).find(f"{SVG}script[@type='application/json']")  # noqa: S314 - our own output
    assert content is not None
    result: dict[str, Any] = json.loads(content.text or "")
    return result


@pytest.mark.parametrize("name", NASTY)
def test_names_can_be_anything(name: str) -> None:
    text = picture(["main", name])
    text.encode("utf-8")
    root = ET.fromstring(text)  # noqa: S314 - our own output
    assert len(root.findall(f"{SVG}script")) == 2
    assert len(root.findall(f".//{SVG}g[@class='frame']")) == 3
    assert [frame[0] for frame in data(text)["frames"]] == ["main", name]


@given(st.lists(st.text(max_size=30), min_size=1, max_size=6), st.text(max_size=30))
def test_any_text_keeps_it_well_formed(names: list[str], title: str) -> None:
    frames = [Frame(name) for name in names]
    tree = build_tree(frames, np.arange(len(names), dtype=np.uint32), np.array([0, len(names)]), np.array([7]))
    ET.fromstring(render_svg(tree, Caption(title, title, title)))  # noqa: S314 - our own output


def test_it_names_nothing_outside_itself() -> None:
    text = picture(["main"])
    addresses = set(re.findall(r"https?://[^\"'\s<>]+", text))
    assert addresses == {"http://www.w3.org/2000/svg", "http://www.w3.org/1999/xhtml"}
    assert not re.search(r"\b(href|src|url|import|fetch|XMLHttpRequest|@font-face)\b\s*[=(:]", text)


def test_every_node_is_in_the_file_but_only_visible_ones_are_drawn() -> None:
    count = 5_000
    frames = [Frame(f"function_{number}") for number in range(count)]
    value = np.array([10**9] + [1] * (count - 1))
    tree = build_tree(frames, np.arange(count, dtype=np.uint32), np.arange(count + 1), value)
    text = render_svg(tree, CAPTION)
    content = data(text)
    assert len(content["parent"]) == count + 1
    assert {frame[0] for frame in content["frames"]} == {frame.function for frame in frames}
    assert len(re.findall('<g class="frame">', text)) == 2
    assert content["total"][0] * content["factor"] == value.sum()
    assert all(caller < row for row, caller in enumerate(content["parent"][1:], start=1))


def test_what_is_left_out_is_said() -> None:
    assert "3 smaller nodes left out" in picture(["a", "b", "c", "d"], max_nodes=2)


def test_values_are_divided_by_their_period() -> None:
    content = data(picture(["main"], 3 * 10_101_010))
    assert (content["factor"], content["total"]) == (3 * 10_101_010, [1, 1])


def test_an_empty_profile_is_a_picture_too() -> None:
    empty = build_tree([], np.zeros(0, np.uint32), np.zeros(1, np.int64), np.zeros(0, np.int64))
    assert data(render_svg(empty, CAPTION))["total"] == [0]


def test_colours_tell_kinds_apart_and_stay() -> None:
    colors = {kind: color(Frame("f", "m", kind)) for kind in FrameKind}
    assert len(set(colors.values())) == len(FrameKind)
    assert all(re.fullmatch("#[0-9a-f]{6}", value) for value in colors.values())
    assert color(Frame("f", "m")) == color(Frame("f", "m"))
