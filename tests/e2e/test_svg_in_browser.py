"""The SVG of the real verb in a real browser: it zooms, searches and loads nothing."""

from __future__ import annotations

import subprocess
import sys
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest
from playwright.sync_api import Page, sync_playwright

from flamebus.store.writer import StoreWriter
from flamebus.window import DEFAULT_WINDOW_SIZE_NS
from tests.support.small_day import HOUR, START, origin, profile

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

SCRIPT = "<script>document.title='broken'</script>"


@pytest.fixture(scope="module")
def picture(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("svg")
    stacks = [
        (("parse", "handle", "main"), 600_000),
        (("render", "handle", "main"), 300_000),
        ((SCRIPT, "main"), 99_990),
        (("leaf_of_tiny", "tiny", "main"), 10),
    ]
    StoreWriter(str(folder / "store")).write(origin(0), [profile(0, "checkout", stacks)])
    target = folder / "checkout.svg"
    command = [
        *(sys.executable, "-m", "flamebus", "flamegraph", "--store", str(folder / "store"), "--service", "checkout"),
        *("--from", str(START), "--to", str(START + DEFAULT_WINDOW_SIZE_NS)),
        *("--format", "svg", "--output", str(target)),
    ]
    subprocess.run(command, check=True, timeout=60)
    assert HOUR.from_unix_nano == START
    return target


@contextmanager
def shown(
    chromium: Path, picture: Path, width: int = 1200, *, is_dark: bool = False
) -> Iterator[tuple[Page, list[str]]]:
    """The file by itself; what goes wrong or is asked of anybody else is collected."""
    problems: list[str] = []
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=str(chromium), args=["--no-sandbox", "--disable-gpu"])
        context = browser.new_context(
            viewport={"width": width, "height": 700}, color_scheme="dark" if is_dark else "light"
        )
        page = context.new_page()
        page.on("console", lambda message: problems.append(message.text))
        page.on("pageerror", lambda error: problems.append(str(error)))
        page.on("request", lambda request: problems.append(request.url) if request.url != picture.as_uri() else None)
        page.goto(picture.as_uri())
        page.wait_for_selector("svg.live")
        yield page, problems
        browser.close()


def names(page: Page) -> list[str]:
    """Frames that are drawn, outermost first."""
    titles = page.locator("g.frame title").all_text_contents()
    return [title.split(" (")[0].split(" ·")[0] for title in titles]


def test_it_zooms_by_click_and_shows_what_was_too_small(chromium: Path, picture: Path) -> None:
    with shown(chromium, picture) as (page, problems):
        assert sorted(names(page)) == sorted(["all", "main", "handle", SCRIPT, "parse", "render"])
        page.locator("g.frame", has_text="handle").first.click()
        assert names(page) == ["all", "main", "handle", "parse", "render"]
        box = page.locator("g.frame", has_text="handle").first.bounding_box()
        assert box is not None
        assert box["width"] > 1100
        page.click(".reset")
        assert SCRIPT in names(page)
        page.locator("g.frame", has_text="main").first.click()
        page.fill("input", "tiny")
        page.locator("g.frame.hit").first.click(force=True)
        page.fill("input", "")
        assert names(page) == ["all", "main", "tiny", "leaf_of_tiny"]
        assert page.evaluate("document.title") == "checkout"
        assert not problems


def test_search_counts_each_sample_once_also_where_nothing_is_drawn(chromium: Path, picture: Path) -> None:
    with shown(chromium, picture) as (page, problems):
        page.keyboard.press("/")
        page.keyboard.type("HANDLE")
        assert page.text_content(".found") == "matched 90.00 % · 1 function"
        page.fill("input", "tiny")
        assert page.text_content(".found") == "matched 0.00 % · 2 functions"
        assert page.locator("g.frame.hit").count() == 2
        page.fill("input", "r")
        assert page.text_content(".found") == "matched 100.00 % · 3 functions"
        page.keyboard.press("Escape")
        assert page.text_content(".found") == ""
        assert page.locator("g.frame.hit").count() == 0
        assert not problems


def test_the_keyboard_alone_is_enough(chromium: Path, picture: Path) -> None:
    with shown(chromium, picture) as (page, problems):
        for key in ("ArrowDown", "ArrowDown", "ArrowDown", "ArrowDown", "ArrowRight"):
            page.keyboard.press(key)
        assert (page.text_content(".status") or "").startswith("render (app, native) · 30.00 %")
        page.keyboard.press("Enter")
        assert names(page) == ["all", "main", "handle", "render"]
        page.keyboard.press("Escape")
        assert "parse" in names(page)
        assert not problems


@pytest.mark.parametrize(("width", "is_dark"), [(390, False), (390, True), (1200, True)])
def test_it_fits_and_can_be_read(chromium: Path, picture: Path, width: int, is_dark: bool) -> None:
    with shown(chromium, picture, width, is_dark=is_dark) as (page, problems):
        assert page.evaluate("document.documentElement.getBoundingClientRect().width") <= width
        page.locator("g.frame", has_text="parse").first.hover()
        page.fill("input", "parse")
        status, found = page.locator(".status").bounding_box(), page.locator(".found").bounding_box()
        field = page.locator("input").bounding_box()
        assert status is not None
        assert found is not None
        assert field is not None
        assert status["y"] >= min(found["y"] + found["height"], field["y"] + field["height"]) or width > 620
        assert found["x"] + found["width"] <= width
        fill = page.evaluate("getComputedStyle(document.querySelector('text.title')).fill")
        page_fill = page.evaluate("getComputedStyle(document.querySelector('.page')).fill")
        assert (fill, page_fill) == (
            ("rgb(236, 235, 231)", "rgb(21, 21, 20)") if is_dark else ("rgb(29, 29, 27)", "rgb(245, 245, 243)")
        )
        assert not problems


def test_it_is_a_picture_without_scripts(chromium: Path, picture: Path) -> None:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=str(chromium), args=["--no-sandbox", "--disable-gpu"])
        page = browser.new_context(java_script_enabled=False).new_page()
        begin = time.monotonic()
        page.goto(picture.as_uri())
        assert time.monotonic() - begin < 30
        assert page.locator("g.frame").count() == 6
        assert page.locator("g.frame text").all_text_contents()[:2] == ["all", "main"]
        browser.close()
