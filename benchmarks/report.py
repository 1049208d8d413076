"""How a benchmark says what it found: a table for people, JSON for machines, a comparison with the committed baseline.

A benchmark module has ``measure() -> list[Figure]`` and ends in ``main(NAME, measure)``. Baselines are committed in
benchmarks/baseline/NAME.json and compared by ratio: machines differ, so only a large change of the same machine's
figures, or a missed bar, is news.
"""

import argparse
import json
import platform
import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path

BASELINES = Path(__file__).parent / "baseline"
_NOISE_RATIO = 1.5
"""Machines in shared use drift by tens of percent between runs; half as much again is a change."""


@dataclass(frozen=True, slots=True)
class Figure:
    """One measured number.

    Attributes:
        name: what was measured; unit: its unit, ``""`` for counts and ratios.
        bar: the value it has to keep; ``bar_is_upper``: whether it must stay at or below (else at or above) it.
    """

    name: str
    value: float
    unit: str = ""
    bar: float | None = None
    bar_is_upper: bool = True

    @property
    def keeps_its_bar(self) -> bool:
        """Whether the value is on the right side of its bar; true without one."""
        if self.bar is None:
            return True
        return self.value <= self.bar if self.bar_is_upper else self.value >= self.bar

    def value_text(self) -> str:
        """The value as people write it, four digits and unit: ``0.9973``, ``38,400 ns``."""
        digits = f"{self.value:,.0f}" if abs(self.value) >= 1000 else f"{self.value:.4g}"
        return f"{digits} {self.unit}".strip()

    def bar_text(self) -> str:
        """The bar as people write it: ``≤ 15``."""
        return "" if self.bar is None else f"{'≤' if self.bar_is_upper else '≥'} {self.bar:g}"


def machine() -> str:
    """What the figures were measured on, in a line."""
    model = next(
        (line.split(":")[1].strip() for line in Path("/proc/cpuinfo").read_text().splitlines() if "model name" in line),
        platform.machine(),
    )
    cpus = len([line for line in Path("/proc/cpuinfo").read_text().splitlines() if line.startswith("processor")])
    return f"{cpus} × {model}, Linux {platform.release()}, Python {platform.python_version()}"


def table(name: str, figures: Sequence[Figure]) -> str:
    """Markdown table of the figures beside the baseline's."""
    old = _baseline(name)
    lines = ["| figure | value | bar | ÷ baseline |", "|---|---:|---:|---:|"]
    for figure in figures:
        before = old.get(figure.name)
        ratio = f"{figure.value / before:.2f}" if before else ""
        flag = "" if figure.keeps_its_bar else " ✗"
        lines.append(f"| {figure.name} | {figure.value_text()}{flag} | {figure.bar_text()} | {ratio} |")
    return "\n".join(lines)


def _baseline(name: str) -> dict[str, float]:
    path = BASELINES / f"{name}.json"
    if not path.exists():
        return {}
    return {figure["name"]: figure["value"] for figure in json.loads(path.read_text())["figures"]}


def changes(name: str, figures: Sequence[Figure]) -> list[str]:
    """Figures that moved by more than the noise, in words."""
    old = _baseline(name)
    found = []
    for figure in figures:
        before = old.get(figure.name)
        if before and figure.value and not 1 / _NOISE_RATIO < figure.value / before < _NOISE_RATIO:
            found.append(f"{figure.name}: {before:.4g} → {figure.value:.4g} {figure.unit}")
    return found


def write_json(path: Path, name: str, figures: Sequence[Figure]) -> None:
    """The figures with date and machine, in the form of a baseline."""
    record = {
        "benchmark": name,
        "date": datetime.now(UTC).date().isoformat(),
        "machine": machine(),
        "figures": [asdict(figure) for figure in figures],
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(record, indent=1, ensure_ascii=False) + "\n")


def main(name: str, measure: Callable[[], Sequence[Figure]], parser: argparse.ArgumentParser | None = None) -> None:
    """Run one benchmark as a command: exit code 1 when a bar is missed."""
    parser = parser or argparse.ArgumentParser(prog=f"python -m benchmarks.{name}")
    parser.add_argument("--json", type=Path, help="write the figures here")
    parser.add_argument("--update-baseline", action="store_true", help=f"write benchmarks/baseline/{name}.json")
    options = parser.parse_args()
    figures = measure()
    print(f"\n## {name}\n\n{machine()}\n\n{table(name, figures)}\n")
    for change in changes(name, figures):
        print(f"changed: {change}")
    if options.json:
        write_json(options.json, name, figures)
    if options.update_baseline:
        write_json(BASELINES / f"{name}.json", name, figures)
    sys.exit(0 if all(figure.keeps_its_bar for figure in figures) else 1)
