"""The documentation has a heading for every metric, a line for every loss, and the limits that the code has."""

from __future__ import annotations

import re
from importlib import import_module
from pathlib import Path

import pytest
from prometheus_client import Counter, Gauge, Histogram

from flamebus.loss import DROPPED_REASONS
from producers import batcher, dictionary, processes, resolve
from producers.address_space import MAX_MAPPINGS
from producers.cpu import LossReason
from producers.own_cost import NICENESS
from producers.symbols.failures import SymbolFailure

ROOT = Path(__file__).resolve().parents[2]
AGENT = ROOT / "docs" / "agent.md"
DOCUMENTS = {"producers.agent_metrics": AGENT, "streams.metrics": ROOT / "docs" / "metrics.md"}
MODULES = sorted(
    ".".join(path.relative_to(ROOT).with_suffix("").parts)
    for folder in ("producers", "streams", "dashboard")
    for path in (ROOT / folder).rglob("*metrics.py")
)


def metrics_of(module: str) -> set[str]:
    """Names as Prometheus shows them."""
    made = [each for each in vars(import_module(module)).values() if isinstance(each, Counter | Gauge | Histogram)]
    return {f"{metric._name}_total" if isinstance(metric, Counter) else metric._name for metric in made}


def headings(document: Path) -> set[str]:
    return set(re.findall(r"^#+ `(flamebus_\w+)`$", document.read_text(), re.MULTILINE))


def first_column(section: str) -> list[str]:
    """Names in the first column of a section's table."""
    text = AGENT.read_text().split(f"\n## {section}\n")[1].split("\n## ")[0]
    return re.findall(r"^\| `(\w+)` \|", text, re.MULTILINE)


def test_every_module_of_metrics_has_its_document() -> None:
    assert set(MODULES) == set(DOCUMENTS)


@pytest.mark.parametrize("module", MODULES)
def test_every_metric_has_a_heading(module: str) -> None:
    assert metrics_of(module) == headings(DOCUMENTS[module])
    assert metrics_of(module)


def test_every_loss_has_a_line() -> None:
    expected = {reason.name.lower() for reason in LossReason} | DROPPED_REASONS
    found = first_column("Losses")
    assert sorted(found) == sorted(expected)


def test_every_reason_for_a_missing_name_has_a_line() -> None:
    assert sorted(first_column("Symbols")) == sorted(failure.value for failure in SymbolFailure)


@pytest.mark.parametrize(
    ("line", "value"),
    [
        ("processes kept track of", processes.MAX_PROCESSES),
        ("executable mappings of a process", MAX_MAPPINGS),
        ("executable mappings of all processes", processes.MAX_MAPPINGS_OF_ALL),
        ("resolved addresses and stacks", resolve.MAX_KNOWN),
        ("call-tree nodes", dictionary.MAX_NODES),
        ("samples held until they are published", batcher.MAX_HELD_SAMPLES),
    ],
)
def test_limits_are_those_of_the_code(line: str, value: int) -> None:
    assert f"| {line} | {value} |" in AGENT.read_text()


def test_the_priority_is_that_of_the_code() -> None:
    assert f"nice −{-NICENESS}" in AGENT.read_text()
