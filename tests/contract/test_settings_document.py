"""docs/settings.md says of every setting what flamebus/config.py and the command line do."""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path

import pytest
import typer

from flamebus.cli import VERBS, build_app
from flamebus.config import ENVIRONMENT_PREFIX, Settings, shown

DOCUMENT = Path(__file__).resolve().parents[2] / "docs" / "settings.md"
_SECTION = re.compile(r"^### (\S+)\n(.*?)(?=^##|\Z)", re.MULTILINE | re.DOTALL)


@cache
def sections() -> dict[str, str]:
    return {name: " ".join(text.split()) for name, text in _SECTION.findall(DOCUMENT.read_text())}


@cache
def verbs_with_flag() -> dict[str, list[str]]:
    """Setting → verbs, those of groups with their action, that have its flag."""
    result: dict[str, list[str]] = {}
    for verb in VERBS:
        pending = [(verb, typer.main.get_command(build_app([verb])).commands[verb])]  # type: ignore[attr-defined]  # a group of click
        while pending:
            path, command = pending.pop()
            own = getattr(command, "commands", {})
            pending += [(f"{path} {name}", each) for name, each in own.items()]
            for option in {option for parameter in command.params for option in parameter.opts}:
                name = option.removeprefix("--").replace("-", "_")
                # up's --local ports and import's --service name other things than the settings of these names.
                if option.startswith("--") and name in Settings.model_fields and (verb, name) not in _OTHER_MEANING:
                    result.setdefault(name, []).append(verb)
    return {name: sorted(set(verbs)) for name, verbs in result.items()}


_OTHER_MEANING = {
    ("import", "service"),  # of the imported samples
    ("top", "service"),  # to look at
    ("flamegraph", "service"),
    ("demo", "hz"),  # of the demonstration's own agent
}


def test_every_setting_has_a_heading_and_no_other_has_one() -> None:
    assert list(sections()) == sorted(sections(), key=list(Settings.model_fields).index)
    assert set(sections()) == set(Settings.model_fields)


@pytest.mark.parametrize("name", list(Settings.model_fields))
def test_a_section_says_default_variable_and_flag(name: str) -> None:
    text = sections()[name]
    default = shown(name, Settings.model_fields[name].default)
    assert f"Default: {f'`{default}`' if default else 'empty'}" in text
    assert f"`{ENVIRONMENT_PREFIX}{name.upper()}`" in text
    verbs = verbs_with_flag().get(name)
    flag = f"`--{name.replace('_', '-')}`"
    wanted = f"Flag: {flag} of {', '.join(verbs)}" if verbs else "No flag"
    assert f"{wanted}." in text, wanted


def test_every_duration_is_written_with_its_unit() -> None:
    for name in ("interval", "window", "lateness", "retention"):
        assert re.search(r"Default: `\d+(d|h|m|s|ms)`", sections()[name])
