"""The page in a real browser, on a real server and store."""

from __future__ import annotations

import json
import re
import time
import urllib.error
import urllib.request
from typing import TYPE_CHECKING

import pytest
from playwright.sync_api import expect

from tests.e2e.served import open_page, serving
from tests.support.written_store import write_store

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

VIEW = "/?service=checkout&kind=cpu&since=1h"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    store = tmp_path_factory.mktemp("store")
    write_store(store, ("checkout", "search"), time.time_ns())
    with serving(store) as served:
        yield served.url


def test_the_page_shows_zooms_searches_and_remembers(chromium: Path, server: str) -> None:
    with open_page(chromium) as (page, problems):
        page.goto(server + VIEW)
        page.wait_for_selector("g.frame")
        assert "parse_order" in page.inner_text("body")
        page.fill("#search", "rare_cleanup")
        page.wait_for_url(re.compile("search=rare_cleanup"))
        page.wait_for_selector("#found")
        assert "%" in page.inner_text("#found")
        page.locator("g.frame", has_text="handle_request").first.click()
        page.wait_for_selector("#reset:visible")
        page.reload()
        page.wait_for_selector("g.frame")
        assert page.input_value("#search") == "rare_cleanup"
        page.get_by_role("combobox", name="Service").select_option("search")
        page.wait_for_url(re.compile("service=search"))
        page.go_back()
        page.wait_for_url(re.compile("service=checkout"))
        assert not problems


def test_a_brush_over_the_series_selects_its_range(chromium: Path, server: str) -> None:
    with open_page(chromium) as (page, problems):
        page.goto(server + VIEW.replace("1h", "5m"))
        page.wait_for_selector("g.frame")
        box = page.locator(".u-over").bounding_box()
        assert box is not None
        page.mouse.move(box["x"] + box["width"] * 0.6, box["y"] + 20)
        page.mouse.down()
        page.mouse.move(box["x"] + box["width"] * 0.9, box["y"] + 25, steps=5)
        page.mouse.up()
        page.wait_for_url(re.compile(r"from=.*&to="))
        page.wait_for_selector("input[aria-label=From]:visible")
        page.wait_for_selector("g.frame")
        assert not problems


def test_the_graph_is_walked_with_the_keyboard(chromium: Path, server: str) -> None:
    with open_page(chromium) as (page, problems):
        page.goto(server + VIEW)
        page.wait_for_selector("g.frame")
        page.focus("#graph")
        for _ in range(3):
            page.keyboard.press("ArrowDown")
        page.wait_for_selector(".tip:visible", timeout=5000)
        assert "handle_request" in page.inner_text(".tip")
        page.keyboard.press("Enter")
        page.wait_for_url(re.compile("zoom="))
        page.keyboard.press("Escape")
        page.wait_for_url(lambda url: "zoom=" not in url)
        page.keyboard.press("?")
        page.wait_for_selector("dialog[open]")
        page.keyboard.press("Escape")
        page.wait_for_selector("dialog[open]", state="hidden")
        page.keyboard.press("/")
        assert page.evaluate("document.activeElement.id") == "search"
        assert not problems


def test_the_table_sorts_and_its_rows_search(chromium: Path, server: str) -> None:
    with open_page(chromium) as (page, problems):
        page.goto(server + VIEW)
        page.wait_for_selector("table.top tbody tr")
        first = page.locator("table.top tbody tr").first
        assert "parse_order" in first.inner_text()
        page.get_by_role("columnheader", name="Total").get_by_role("button").click()
        page.wait_for_selector("th.total[aria-sort=descending]")
        assert "main" in first.inner_text()
        page.get_by_role("columnheader", name="Total").get_by_role("button").click()
        page.wait_for_selector("th.total[aria-sort=ascending]")
        assert "rare_cleanup" in first.inner_text()
        first.get_by_role("button").click()
        page.wait_for_url(re.compile("search=rare_cleanup"))
        page.wait_for_selector("#found")
        page.get_by_role("searchbox", name="Filter functions").fill("tcp_")
        expect(page.locator("table.top tbody tr")).to_have_count(1)
        assert not problems


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_page_fits_a_phone(chromium: Path, server: str, scheme: str) -> None:
    with open_page(chromium, width=390, scheme=scheme) as (page, problems):
        page.goto(server + VIEW)
        page.wait_for_selector("g.frame")
        assert page.evaluate("document.documentElement.scrollWidth - innerWidth") <= 0
        assert not problems


def fetch(url: str) -> tuple[int, dict[str, object]]:
    try:
        with urllib.request.urlopen(url, timeout=10) as answer:  # noqa: S310 - our own server on loopback
            return answer.status, json.load(answer)
    except urllib.error.HTTPError as error:
        with error:
            return error.code, json.load(error)


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("services?since=1h", 200),
        ("kinds?since=1h", 200),
        ("series?service=checkout&kind=cpu&since=1h", 200),
        ("flamegraph?service=checkout&kind=cpu&since=1h", 200),
        ("top?service=checkout&kind=cpu&since=1h", 200),
        ("heatmap?service=checkout&kind=cpu&since=1h", 200),
        ("losses?service=checkout&kind=cpu&since=1h", 200),
        ("top?service=nobody&kind=cpu&since=1h", 404),
        ("top?service=checkout&kind=cpu&from=2026-01-02T00:00:00Z&to=2026-01-01T00:00:00Z", 400),
    ],
)
def test_every_route_answers(server: str, path: str, status: int) -> None:
    answered, body = fetch(f"{server}/api/v1/{path}")
    assert answered == status, body
    assert body


def test_search_finds_what_the_tree_has_pruned(server: str) -> None:
    _, body = fetch(f"{server}/api/v1/flamegraph?service=checkout&since=1h&max_nodes=3&search=rare_CLEANUP")
    assert "rare_cleanup" not in json.dumps(body["names"])
    assert body["pruned_nodes"]
    found = body["search"]
    assert isinstance(found, dict)
    assert found["functions"] == 1
    assert 0 < found["share"][0] < 0.05


def test_the_graph_is_drawn_at_once(chromium: Path, server: str) -> None:
    with open_page(chromium) as (page, _):
        page.goto(server + VIEW)
        page.wait_for_selector("g.frame")
        narrowest = (
            "Math.min(...[...document.querySelectorAll('g.frame')].map(frame =>"
            " frame.querySelector('rect').getAttribute('width') / frame.getAttribute('width')))"
        )
        assert page.evaluate(narrowest) == 1
