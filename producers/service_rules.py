"""Rules that name services: an ordered list, the first that matches wins."""

from __future__ import annotations

import re
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from flamebus.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Mapping

FIELDS = ("command", "executable", "cgroup", "unit")
"""What a rule may ask of: the command (comm), the path of the program, the control group's path, the systemd unit."""
_REGEX_MARK = "~"


@dataclass(frozen=True, slots=True)
class Rule:
    """A service, and what has to be true of a process for it.

    Attributes:
        service: name, in which ``{1}`` or ``{name}`` stand for what groups of the patterns matched.
        patterns: field and compiled pattern; all must match.
    """

    service: str
    patterns: tuple[tuple[str, re.Pattern[str]], ...]

    def apply(self, fields: Mapping[str, str]) -> str | None:
        """The service when the rule matches. Numbered groups count through all patterns in the order of ``FIELDS``."""
        numbered: list[str] = [""]
        named: dict[str, str] = {}
        for name, pattern in self.patterns:
            match = pattern.search(fields.get(name, ""))
            if match is None:
                return None
            numbered += [group or "" for group in match.groups()]
            named.update({key: value or "" for key, value in match.groupdict().items()})
        return self.service.format(*numbered, **named)


@dataclass(frozen=True, slots=True)
class ServiceRules:
    """All rules in their order."""

    rules: tuple[Rule, ...] = ()

    def service(self, fields: Mapping[str, str]) -> str:
        """The service of the first rule that matches, empty when none does or it comes out empty."""
        found = (rule.apply(fields) for rule in self.rules)
        return next((service for service in found if service is not None), "")


def read_rules(setting: str) -> ServiceRules:
    """The rules that the setting ``service_rules`` names.

    Args:
        setting: path of a TOML file of ``[[rule]]`` tables, or such TOML itself (anything with ``=`` in it); empty for
            none.

    Raises:
        UsageError: the file cannot be read, it is not TOML, or a rule makes no sense; the message says which.
    """
    if not setting.strip():
        return ServiceRules()
    is_text = "=" in setting
    where = "in the setting service_rules" if is_text else f"in {setting}"
    try:
        text = setting if is_text else Path(setting).read_text(encoding="utf-8")
        content = tomllib.loads(text)
    except OSError as error:
        raise UsageError(f"cannot read service rules {setting}: {error.strerror}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise UsageError(f"service rules {where} are not TOML: {error}") from error
    tables = content.pop("rule", [])
    if content or not isinstance(tables, list):
        raise UsageError(f"service rules {where}: write each as a [[rule]] table, nothing beside them")
    return ServiceRules(tuple(_rule(table, f"rule {number} {where}") for number, table in enumerate(tables, start=1)))


def _rule(table: Any, which: str) -> Rule:
    if not isinstance(table, dict) or not all(isinstance(value, str) for value in table.values()):
        raise UsageError(f"{which}: every value must be a string")
    unknown = sorted(set(table) - {*FIELDS, "service"})
    if unknown:
        raise UsageError(f"{which}: unknown {', '.join(unknown)}; a rule has service and {', '.join(FIELDS)}")
    patterns = tuple((name, _pattern(table[name], name, which)) for name in FIELDS if name in table)
    if not table.get("service") or not patterns:
        raise UsageError(f"{which}: it needs a service and at least one of {', '.join(FIELDS)}")
    rule = Rule(table["service"], patterns)
    _check_groups(rule, which)
    return rule


def _pattern(text: str, name: str, which: str) -> re.Pattern[str]:
    """A regular expression after ``~``, else a glob for the whole value in which each ``*`` is a group."""
    try:
        if text.startswith(_REGEX_MARK):
            return re.compile(text.removeprefix(_REGEX_MARK))
        glob = "".join({"*": "(.*)", "?": "."}.get(character, re.escape(character)) for character in text)
        return re.compile(rf"\A{glob}\Z", re.DOTALL)
    except re.error as error:
        raise UsageError(f"{which}: {name} = {text!r} is no regular expression: {error}") from error


def _check_groups(rule: Rule, which: str) -> None:
    """Try the service's name out, so that a group that does not exist is said at the start."""
    count = sum(pattern.groups for _, pattern in rule.patterns)
    names = {name for _, pattern in rule.patterns for name in pattern.groupindex}
    try:
        rule.service.format(*[""] * (count + 1), **dict.fromkeys(names, ""))
    except (IndexError, KeyError, ValueError, AttributeError) as error:
        raise UsageError(
            f"{which}: service = {rule.service!r} does not fit its patterns, which have {count} groups"
            f"{' named ' + ', '.join(sorted(names)) if names else ''}: write {{1}} for the first"
        ) from error
