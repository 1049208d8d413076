"""The page in a real browser, on a real server and store."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import time
import urllib.error
import urllib.request
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from playwright.sync_api import Page, sync_playwright

from infra.servers.process import accepts_connections, free_port, wait_until
from tests.support.written_store import write_store

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).resolve().parents[2]
CHROMIUM_FLAGS = [
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
]  # fmt: skip


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    store = tmp_path_factory.mktemp("store")
    write_store(store, ("checkout", "search"), time.time_ns())
    port = free_port()
    command = [sys.executable, "-m", "flamebus", "serve", "--store", str(store), "--listen", f"127.0.0.1:{port}"]
    process = subprocess.Popen(command, cwd=ROOT, env={**os.environ, "PYTHONPATH": str(ROOT)})
    try:
        assert wait_until(lambda: process.poll() is not None or accepts_connections(port), 30)
        assert process.poll() is None
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait(15)


@contextmanager
def open_page(chromium: Path, width: int = 1440, scheme: str = "light") -> Iterator[tuple[Page, list[str]]]:
    problems: list[str] = []
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=str(chromium), args=CHROMIUM_FLAGS)
        context = browser.new_context(
            viewport={"width": width, "height": 900}, color_scheme="dark" if scheme == "dark" else "light"
        )
        page = context.new_page()
        page.on("console", lambda m: problems.append(m.text) if m.type in {"error", "warning"} else None)
        page.on("pageerror", lambda error: problems.append(str(error)))
        yield page, problems
        browser.close()


def test_the_page_shows_zooms_searches_and_remembers(chromium: Path, server: str) -> None:
    with open_page(chromium) as (page, problems):
        page.goto(f"{server}/?service=checkout&kind=cpu&since=1h")
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


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_page_fits_a_phone(chromium: Path, server: str, scheme: str) -> None:
    with open_page(chromium, width=390, scheme=scheme) as (page, problems):
        page.goto(f"{server}/?service=checkout&kind=cpu&since=1h")
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
