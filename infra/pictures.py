"""Takes the pictures of the documentation: the demonstration's page, wide and narrow, light and dark.

``python -m infra.pictures`` as root, with Chromium installed; takes about three minutes.
"""

import shutil
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from flamebus.errors import FlamebusError, SetupError
from infra.demo import Demo

if TYPE_CHECKING:
    from playwright.sync_api import Browser

FOLDER = Path(__file__).resolve().parent.parent / "docs" / "pictures"
_RECORD_S = 140
"""Fills the two minutes of the picture's series, and the first window that is not whole lies before them."""
_VIEW = "?service=checkout&since=2m"
_DEADLINE_MS = 20_000
_LOOK_MS = 500
_STANDS_STILL = """() => {
  const edges = [...document.querySelectorAll("g.frame")].map((frame) => frame.getBoundingClientRect().right).join();
  const isSame = window.lastEdges === edges;
  window.lastEdges = edges;
  return isSame;
}"""
"""Whether all frames are where they were at the last look."""


@dataclass(frozen=True, slots=True)
class Picture:
    """One picture: its name and the size of the browser's window in CSS pixels."""

    name: str
    width: int
    height: int


PICTURES = (Picture("page-wide", 1440, 860), Picture("page-narrow", 390, 844))
SCHEMES = ("light", "dark")


def take(url: str, folder: Path, chromium: str) -> Sequence[Path]:
    """Take all pictures of the page at ``url``, which ends with a slash; the files, in the order taken."""
    from playwright.sync_api import sync_playwright

    folder.mkdir(parents=True, exist_ok=True)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox", "--disable-gpu"])
        files = [
            _take_one(browser, url, folder, picture, is_dark=scheme == "dark")
            for picture in PICTURES
            for scheme in SCHEMES
        ]
        browser.close()
    return files


def _take_one(browser: "Browser", url: str, folder: Path, picture: Picture, *, is_dark: bool) -> Path:
    scheme = SCHEMES[is_dark]
    context = browser.new_context(
        viewport={"width": picture.width, "height": picture.height},
        color_scheme="dark" if is_dark else "light",
        reduced_motion="reduce",
    )
    page = context.new_page()
    page.goto(url + _VIEW)
    page.wait_for_selector("g.frame", timeout=_DEADLINE_MS)
    page.wait_for_selector(".u-over", timeout=_DEADLINE_MS)
    page.wait_for_function(_STANDS_STILL, polling=_LOOK_MS, timeout=_DEADLINE_MS)
    file = folder / f"{picture.name}-{scheme}.png"
    page.screenshot(path=file, animations="disabled")
    context.close()
    return file


def main() -> None:
    """Run the demonstration long enough for a picture, and take them all."""
    chromium = shutil.which("chromium") or shutil.which("google-chrome")
    if chromium is None:
        raise SetupError("pictures are taken with Chromium: install it (infra/bootstrap.sh test)")
    with tempfile.TemporaryDirectory(prefix="flamebus-pictures-") as folder:
        demo = Demo(Path(folder), hz=99)
        try:
            demo.start()
            sys.stdout.write(f"recording for {_RECORD_S} s: {demo.url}\n")
            demo.watch(_RECORD_S, lambda: None)
            for file in take(demo.url.partition("?")[0], FOLDER, chromium):
                sys.stdout.write(f"{file.name}: {file.stat().st_size:,} bytes\n")
        finally:
            demo.stop()


if __name__ == "__main__":
    try:
        main()
    except FlamebusError as error:
        sys.stderr.write(f"{error}\n")
        sys.exit(error.exit_code)
