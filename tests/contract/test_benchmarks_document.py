"""docs/benchmarks.md is what the committed baselines say, and the baselines keep their bars."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from benchmarks.document import PAGE, benchmarks, described, page
from benchmarks.report import BASELINES, Figure

_FOLDER = Path(__file__).resolve().parents[2] / "benchmarks"


def named() -> dict[str, str]:
    """Of each module that is a benchmark, the name that it reports under."""
    texts = {path.stem: path.read_text() for path in _FOLDER.glob("*.py")}
    calls = {stem: re.search(r'^    main\("(\w+)"', text, re.MULTILINE) for stem, text in texts.items()}
    return {stem: call[1] for stem, call in calls.items() if call}


def test_the_page_is_current() -> None:
    assert PAGE.read_text() == page(), "run `python -m benchmarks.document`"


def test_every_benchmark_reports_under_its_own_name_and_says_what_it_measures() -> None:
    found = named()
    assert len(found) >= 5
    assert all(stem == name for stem, name in found.items())
    assert all(len(described(stem)) > 40 for stem in found)


@pytest.mark.parametrize("name", benchmarks())
def test_a_baseline_belongs_to_a_benchmark_and_keeps_its_bars(name: str) -> None:
    assert name in named()
    held = json.loads((BASELINES / f"{name}.json").read_text())
    figures = [Figure(**each) for each in held["figures"]]
    assert figures
    assert not [figure.name for figure in figures if not figure.keeps_its_bar]
    assert re.fullmatch(r"\d{4}-\d\d-\d\d", held["date"])
