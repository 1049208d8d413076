"""What the page does when there is nothing to show, or something is wrong: say it, and heal by itself."""

from __future__ import annotations

import re
import time
from typing import TYPE_CHECKING

import pytest
from playwright.sync_api import expect

from tests.e2e.served import open_page, serving
from tests.support.written_store import write_store

if TYPE_CHECKING:
    from pathlib import Path

    from playwright.sync_api import Page

VIEW = "/?service=checkout&kind=cpu&since=1h"


@pytest.fixture
def store(tmp_path: Path) -> Path:
    folder = tmp_path / "store"
    folder.mkdir()
    write_store(folder, ("checkout",), time.time_ns())
    return folder


def wait_for_banner(page: Page, pattern: str) -> None:
    # The page's content policy forbids evaluated conditions, so this polls from outside.
    expect(page.locator(".message")).to_be_visible(timeout=20_000)
    expect(page.locator(".message")).to_contain_text(re.compile(pattern), timeout=20_000)


def wait_until_healed(page: Page) -> None:
    page.wait_for_selector(".message", state="hidden")
    page.wait_for_selector("g.frame")


def test_a_page_left_open_survives_the_server(chromium: Path, store: Path) -> None:
    with serving(store) as served, open_page(chromium) as (page, _):
        page.goto(served.url + VIEW)
        page.wait_for_selector("g.frame")
        served.stop()
        page.keyboard.press("w")
        wait_for_banner(page, "cannot be reached.*Trying again in")
        assert page.locator("g.frame").count() > 0, "what was shown stays, marked as old"
        assert "is-stale" in (page.get_attribute("body", "class") or "")
        served.start()
        wait_until_healed(page)
        assert "is-stale" not in (page.get_attribute("body", "class") or "")


def test_a_store_that_is_gone_for_a_while(chromium: Path, store: Path) -> None:
    with serving(store) as served, open_page(chromium) as (page, _):
        hidden = store.rename(store.with_name("elsewhere"))
        page.goto(served.url + VIEW)
        wait_for_banner(page, "Trying again in")
        assert "store" in page.inner_text(".message")
        hidden.rename(store)
        page.get_by_role("button", name="Try now").click()
        wait_until_healed(page)


def test_an_unknown_service_is_said_and_others_are_offered(chromium: Path, store: Path) -> None:
    with serving(store) as served, open_page(chromium) as (page, _):
        page.goto(served.url + VIEW.replace("checkout", "nobody"))
        wait_for_banner(page, "no service nobody")
        page.wait_for_selector("#service option[value=checkout]", state="attached")
        page.get_by_role("combobox", name="Service").select_option("checkout")
        wait_until_healed(page)


def test_an_empty_store_fills_before_the_eyes(chromium: Path, tmp_path: Path) -> None:
    folder = tmp_path / "store"
    folder.mkdir()
    with serving(folder) as served, open_page(chromium) as (page, problems):
        page.goto(served.url)
        wait_for_banner(page, "No profiles in this time range yet")
        write_store(folder, ("late-comer",), time.time_ns())
        wait_until_healed(page)
        assert "service=late-comer" in page.url
        assert not problems


def test_a_person_gives_the_token_in_a_form(chromium: Path, store: Path) -> None:
    with serving(store, token="open sesame") as served, open_page(chromium) as (page, problems):
        page.goto(served.url + VIEW)
        page.get_by_label("Token").fill("close sesame")
        page.keyboard.press("Enter")
        page.get_by_text("This is not the token").wait_for()
        page.get_by_label("Token").fill("open sesame")
        page.get_by_role("button", name="Open the page").click()
        page.wait_for_selector("g.frame")
        assert re.search("service=checkout.*since=1h", page.url)
        assert "sesame" not in page.url
        page.context.clear_cookies()
        page.keyboard.press("w")
        wait_for_banner(page, "token")
        page.get_by_role("button", name="Give the token").click()
        page.get_by_label("Token").wait_for()
        assert not [problem for problem in problems if "401" not in problem]
