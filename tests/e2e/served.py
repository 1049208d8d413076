"""A real ``flamebus serve`` on a store, and a real browser before it."""

from __future__ import annotations

import os
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from playwright.sync_api import Page, sync_playwright

from infra.servers.process import accepts_connections, free_port, wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).resolve().parents[2]
CHROMIUM_FLAGS = [
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
]  # fmt: skip


class Served:
    """The server as a process, on one port over restarts.

    Args:
        store: what it serves.
        token: when given it listens on all addresses, and this is what clients must present.
    """

    def __init__(self, store: Path, token: str = "") -> None:
        self._store = store
        self._token = token
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"

    def start(self) -> None:
        """Start it and wait until it answers."""
        listen = f"{'0.0.0.0' if self._token else '127.0.0.1'}:{self.port}"
        command = [sys.executable, "-m", "flamebus", "serve", "--store", str(self._store), "--listen", listen]
        environment = {**os.environ, "PYTHONPATH": str(ROOT), "FLAMEBUS_TOKEN": self._token}
        self._process = subprocess.Popen(command, cwd=ROOT, env=environment)
        assert wait_until(lambda: self._process.poll() is not None or accepts_connections(self.port), 30)
        assert self._process.poll() is None

    def stop(self) -> None:
        """End it as an operator would."""
        self._process.terminate()
        self._process.wait(15)


@contextmanager
def serving(store: Path, token: str = "") -> Iterator[Served]:
    """A server that runs inside the block."""
    served = Served(store, token)
    served.start()
    try:
        yield served
    finally:
        served.stop()


@contextmanager
def open_page(chromium: Path, width: int = 1440, scheme: str = "light") -> Iterator[tuple[Page, list[str]]]:
    """A page, and the errors and warnings of its console."""
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
