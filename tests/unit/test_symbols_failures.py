"""Every reason is counted somewhere, and shows in the metric."""

from pathlib import Path

import pytest

import producers
from flamebus.metrics import REGISTRY
from producers.symbols.failures import FailureCounts, SymbolFailure


@pytest.mark.parametrize("failure", SymbolFailure)
def test_every_reason_occurs_in_the_code(failure: SymbolFailure) -> None:
    folder = Path(producers.__file__).parent
    texts = [path.read_text() for path in folder.rglob("*.py") if path.name != "failures.py"]
    assert any(f"SymbolFailure.{failure.name}" in text for text in texts)


def test_counts_show_in_the_metric() -> None:
    def metric() -> float:
        return REGISTRY.get_sample_value("flamebus_agent_symbol_failures_total", {"reason": "no_symbol"}) or 0.0

    before, counts = metric(), FailureCounts()
    counts.note(SymbolFailure.NO_SYMBOL, 3)
    assert (counts[SymbolFailure.NO_SYMBOL], counts.by_reason()) == (3, {SymbolFailure.NO_SYMBOL: 3})
    assert metric() - before == 3
