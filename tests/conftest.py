"""What every test run has: fixtures of real servers, the header that says what they are, and the count of what ran."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import settings

from tests.support.parts import FIXTURES, RunCounter, describe_chromium, describe_kernel, describe_servers, required

if TYPE_CHECKING:
    from collections.abc import Generator

pytest_plugins = ["tests.support.servers"]

# How long an example takes says how busy the machine is, not what the code does.
settings.register_profile("flamebus", deadline=None)
settings.load_profile("flamebus")

_COUNTER = pytest.StashKey[RunCounter]()
_TESTS = Path(__file__).parent


def pytest_configure(config: pytest.Config) -> None:
    config.stash[_COUNTER] = RunCounter()


def pytest_report_header() -> list[str]:
    lines = {"kernel": describe_kernel(), **describe_servers(), "browser": describe_chromium()}
    needed = ", ".join(sorted(required())) or "nothing (what is missing is skipped)"
    return [*(f"stands on: {part:<9}{how}" for part, how in lines.items()), f"required: {needed}"]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        for name in getattr(item, "fixturenames", ()):
            if name in FIXTURES:
                item.add_marker(FIXTURES[name].value)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    if report.when == "call" and not report.skipped:
        item.config.stash[_COUNTER].note(item)
    return report


def _is_full_run(config: pytest.Config) -> bool:
    options = config.option
    selected = (
        options.keyword or options.markexpr or options.collectonly or getattr(options, "lf", False) or options.deselect
    )
    return not selected and [Path(name).absolute() for name in config.args] == [_TESTS]


def _required_but_not_run(config: pytest.Config) -> str:
    missing = config.stash[_COUNTER].missing() if _is_full_run(config) else []
    return f"no test of {', '.join(missing)} ran, though FLAMEBUS_REQUIRE names it" if missing else ""


def pytest_sessionfinish(session: pytest.Session) -> None:
    if session.exitstatus == pytest.ExitCode.OK and _required_but_not_run(session.config):
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    terminalreporter.write_line(f"tests that ran on real parts: {config.stash[_COUNTER].summary()}")
    problem = _required_but_not_run(config)
    if problem:
        terminalreporter.write_line(f"FAILED: {problem}", red=True)
