"""docs/store.md says what is there: its queries run, and its tables are the schemas."""

from __future__ import annotations

import re
from pathlib import Path

import duckdb

from flamebus.store.columns import SCHEMAS
from flamebus.store.compaction import Compactor
from flamebus.store.layout import HOUR_NS, Dataset
from flamebus.store.writer import StoreWriter
from tests.support.small_day import START, At, origin, profile

DOCUMENT = Path(__file__).resolve().parents[2] / "docs" / "store.md"


def test_the_queries_answer(tmp_path: Path) -> None:
    writer = StoreWriter(str(tmp_path / "var" / "store"))
    for number in range(3):
        stacks = [(("work", "main"), 2 * 10**9), (("read", "work", "main"), 10**9)]
        for service in ("checkout", "cart"):
            writer.write(origin(number, service == "cart"), [profile(number, service, stacks)])
    Compactor(str(tmp_path / "var" / "store"), At(START + 3 * HOUR_NS)).run()
    blocks = re.findall(r"^```sql\n(.*?)\n```", DOCUMENT.read_text(), re.MULTILINE | re.DOTALL)
    queries = [block.replace("var/store", str(tmp_path / "var" / "store")) for block in blocks]
    by_service, by_function = [duckdb.connect().sql(query).fetchall() for query in queries]
    assert sorted(by_service) == [("cart", 9.0), ("checkout", 9.0)]
    assert by_function == [("work", 6.0), ("read", 3.0)]


def test_every_dataset_and_column_is_described() -> None:
    sections = re.split(r"^### ", DOCUMENT.read_text(), flags=re.MULTILINE)[1:]
    described = {
        section.split("\n", 1)[0]: {
            name
            for line in section.split("\n## ")[0].splitlines()
            if line.startswith("| `")
            for name in re.findall(r"`(\w+)`", line.split("|")[1])
        }
        for section in sections
    }
    assert described == {str(dataset): set(SCHEMAS[dataset].names) for dataset in Dataset}
