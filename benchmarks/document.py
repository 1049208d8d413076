"""Writes docs/benchmarks.md from the committed baselines and what each benchmark says of itself.

``python -m benchmarks.document`` after ``make bench UPDATE=1``; a test shows that the page is current.
"""

import ast
import json
from pathlib import Path
from typing import Any

from benchmarks.report import BASELINES, Figure

PAGE = Path(__file__).parent.parent / "docs" / "benchmarks.md"
_INTRODUCTION = """\
# Benchmarks

Every table comes from one command, which prints it anew beside these figures and ends with 1 when a bar is missed.
`make bench` runs all of them (as root, about half an hour, on a machine with nothing else to do);
`make bench UPDATE=1` also takes the figures as the new baseline and writes this page.

Compare ratios, and only on one machine: figures of two machines differ by more than most changes do. Where a figure is
drawn by lot, as every sampler's is, its expected error (σ) stands beside it.
"""


def benchmarks() -> list[str]:
    """Names of all baselines, in order."""
    return sorted(path.stem for path in BASELINES.glob("*.json"))


def described(name: str) -> str:
    """The docstring of a benchmark's module."""
    path = Path(__file__).with_name(f"{name}.py")
    return ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or ""


def section(name: str) -> str:
    """One benchmark: what it measures, its command, where and when it ran, its figures."""
    held: dict[str, Any] = json.loads((BASELINES / f"{name}.json").read_text(encoding="utf-8"))
    lines = [f"## {name}", "", described(name).replace("``", "`"), ""]
    lines += [f"`python -m benchmarks.{name}` · {held['date']} · {held['machine']}", ""]
    lines += ["| figure | value | bar |", "|---|---:|---:|"]
    for each in held["figures"]:
        figure = Figure(**each)
        lines.append(f"| {figure.name} | {figure.value_text()} | {figure.bar_text()} |")
    return "\n".join(lines)


def page() -> str:
    """The whole page."""
    return "\n\n".join([_INTRODUCTION.rstrip(), *map(section, benchmarks())]) + "\n"


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
    print(PAGE)
