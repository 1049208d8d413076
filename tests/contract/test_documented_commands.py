"""Every command that the documentation names exists: targets of make, verbs, their options, modules, linked files."""

from __future__ import annotations

import re
from functools import cache
from importlib.util import find_spec
from pathlib import Path

import pytest
import typer

from flamebus.cli import VERBS, build_app

ROOT = Path(__file__).resolve().parents[2]
DOCUMENTS = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]
_FENCE = re.compile(r"^```[a-z]*\n(.*?)^```", re.MULTILINE | re.DOTALL)
_SPAN = re.compile(r"`([^`\n]+)`")
_VERB = re.compile(r"(?:^|[\s;&|(])flamebus ((?:[a-z][a-z_-]+)(?: / [a-z]+)*)((?: [^`#;&|\n]*)?)")
_TARGET = re.compile(r"(?:^|[\s;&|(])make ([a-z][a-z-]*)")
_MODULE = re.compile(r"python3? -m ((?:flamebus|infra|benchmarks|producers|streams)[\w.]*)")
_LINK = re.compile(r"\]\((?!https?://|#|mailto:)([^)#\s]+)")
_OPTION = re.compile(r"(?<!\S)--[a-z][a-z-]*")


def names_of(documents: list[Path]) -> list[str]:
    return [str(path.relative_to(ROOT)) for path in documents]


def code(path: Path) -> list[str]:
    """Lines of code blocks, continued lines joined, and code spans."""
    text = path.read_text()
    blocks = "\n".join(_FENCE.findall(text)).replace("\\\n", " ")
    lines = [line.split(" # ")[0] for line in blocks.splitlines()]
    return [*lines, *_SPAN.findall(_FENCE.sub("", text))]


@cache
def options(verb: str) -> frozenset[str]:
    """All long options of a verb and of the verbs below it."""
    group = typer.main.get_command(build_app([verb]))
    pending = [group.commands[verb]]  # type: ignore[attr-defined]  # a group of click
    found = {"--help"}
    while pending:
        command = pending.pop()
        found |= {option for parameter in command.params for option in (*parameter.opts, *parameter.secondary_opts)}
        pending += getattr(command, "commands", {}).values()
    return frozenset(found)


@pytest.mark.parametrize("name", names_of(DOCUMENTS))
def test_targets_of_make_exist(name: str) -> None:
    targets = set(re.findall(r"^([a-z][a-z-]*):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    named = {target for line in code(ROOT / name) for target in _TARGET.findall(line)}
    assert not named - targets


@pytest.mark.parametrize("name", names_of(DOCUMENTS))
def test_verbs_and_their_options_exist(name: str) -> None:
    for line in code(ROOT / name):
        for verbs, rest in _VERB.findall(line):
            for verb in verbs.split(" / "):
                assert verb in VERBS, line
                assert set(_OPTION.findall(rest)) <= options(verb), line


@pytest.mark.parametrize("name", names_of(DOCUMENTS))
def test_modules_exist(name: str) -> None:
    for line in code(ROOT / name):
        for module in _MODULE.findall(line):
            assert find_spec(module.rstrip(".")) is not None, line


@pytest.mark.parametrize("name", names_of(DOCUMENTS))
def test_links_lead_somewhere(name: str) -> None:
    path = ROOT / name
    missing = {link for link in _LINK.findall(path.read_text()) if not (path.parent / link).exists()}
    assert not missing


def test_the_help_of_make_lists_every_target_that_a_person_calls() -> None:
    makefile = (ROOT / "Makefile").read_text()
    listed = set(re.findall(r"^([a-z-]+):.*## ", makefile, re.MULTILINE))
    public = set(" ".join(re.findall(r"^\.PHONY: (.*)$", makefile, re.MULTILINE)).split())
    assert {name for name in public if not name.startswith("bootstrap-")} - listed == {"web-check"}
