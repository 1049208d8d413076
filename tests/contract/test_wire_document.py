"""docs/wire.md against the code, and its consumer against the golden records."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

from flamebus.frames import Frame, FrameKind, stack_id
from flamebus.profile import service_of
from flamebus.tables import StackReader
from flamebus.wire.batch import COLUMN_TYPES, HEADER, TABLES, decode_batch
from flamebus.wire.headers import DeadLetter, cloud_event
from flamebus.wire.reader import MAX_RECORD_BYTES
from flamebus.wire.topics import all_topics
from flamebus.wire.validation import MAX_STACK_FRAMES
from tests.support.golden import GOLDEN

ROOT = Path(__file__).resolve().parents[2]
TEXT = (ROOT / "docs" / "wire.md").read_text()
_SHORT = {"<u4": "u32", "<u8": "u64", "u1": "u8", "<i8": "i64", "<f4": "f32"}
# A recording is a file, and the metadata of a commit is our own: neither makes a dead letter.
_NO_DEAD_LETTERS = {"recording.py", "results.py", "headers.py", "replaying.py", "position.py"}


def table(heading: str) -> dict[str, list[str]]:
    """Rows of the first table below a heading, by what their first cell holds between backticks."""
    section = TEXT.split(f"{heading}\n", 1)[1]
    lines = section[section.index("|---") :].splitlines()[1:]
    rows = [line.strip("|").split("|") for line in lines[: [*map(bool, lines), False].index(False)]]
    return {row[0].strip(): [cell.strip() for cell in row[1:]] for row in rows}


def test_topics() -> None:
    assert table("## Topics") == {
        f"`{topic.stem}`": [topic.key, topic.value, duration(topic.retention.total_seconds())] for topic in all_topics()
    }


def duration(seconds: float) -> str:
    return f"{seconds / 3600:.0f} h" if seconds < 86_400 else f"{seconds / 86_400:.0f} d"


def test_fields_of_a_batch() -> None:
    named = {name for cell in table("## SampleBatch v1") for name in re.findall(r"`(\w+)`", cell)}
    others = {"schema", "schema_version", "sample_type", "period_type", "tables", "samples", "losses"}
    assert named == set(HEADER) | others


def test_columns() -> None:
    described = {name.strip("`"): cells[0].strip("`") for name, cells in table("### Columns").items()}
    types = {name: COLUMN_TYPES[kind] for name, kind in TABLES.items()}
    types["samples"] = next(columns for kind, columns in COLUMN_TYPES.items() if kind.__name__ == "Samples")
    assert described == {
        name: ", ".join(f"{column} {_SHORT[dtype]}" for column, dtype in columns.items())
        for name, columns in types.items()
    }


def test_frame_kinds() -> None:
    assert "`frame_kind`: " + ", ".join(f"{kind.value} {kind.label}" for kind in FrameKind) + "." in TEXT


def test_the_worked_example_of_a_stack_id() -> None:
    main, read = Frame("main", "checkout"), Frame("vfs_read", "[kernel]", FrameKind.KERNEL)
    assert table("### Stack ids") == {
        "`main`": [f"`{main.identity.hex()}`", f"`{stack_id([main]):#018x}`"],
        "`vfs_read`": [f"`{read.identity.hex()}`", f"`{stack_id([read, main]):#018x}`"],
    }


def test_headers() -> None:
    names = [name for name, _ in (*DeadLetter("r", "d", "t", 0, 0, 0).headers(), *cloud_event("1", "/", "t", 0))]
    assert [name for name in names if f"`{name}" not in TEXT] == []


def reasons() -> set[str]:
    """Every reason that the code can give a dead letter."""
    found = set()
    for path in (*(ROOT / "flamebus" / "wire").glob("*.py"), *(ROOT / "streams").rglob("*.py")):
        if path.name in _NO_DEAD_LETTERS:
            continue
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.args:
                first = node.args[0]
                is_reason = node.func.id in {"BadDataError", "DeadLetter"} and isinstance(first, ast.Constant)
                if is_reason and isinstance(first, ast.Constant):
                    found.add(str(first.value))
    return found


def test_every_reason_of_a_dead_letter() -> None:
    assert {name.strip("`") for name in table("## Dead letters")} == reasons()


def test_limits() -> None:
    assert f"{MAX_RECORD_BYTES // 2**20} MiB" in TEXT
    assert f"{MAX_STACK_FRAMES:,} frames" in TEXT


@pytest.mark.parametrize("name", ["sample_batch", "window_batch"])
def test_the_consumer_prints_what_we_read(name: str) -> None:
    (code,) = re.findall(r"```python\n(.*?)```", TEXT, re.DOTALL)
    data = (GOLDEN / f"{name}.v1.msgpack").read_bytes()
    done = subprocess.run([sys.executable, "-I", "-c", code], input=data, capture_output=True, check=True)
    batch = decode_batch(data)
    reader, samples = StackReader(batch.tables), batch.samples
    assert done.stdout.decode().splitlines() == [
        ";".join([service_of(batch.tables.resources[resource]), *(f.function for f in reversed(reader.frames(stack)))])
        + f" {round(total)}"
        for stack, resource, total in zip(
            samples.stack.tolist(), samples.resource.tolist(), samples.totals().tolist(), strict=True
        )
    ]
