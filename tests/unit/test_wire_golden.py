"""Bytes that were once published are read for ever, and written again as they were."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgpack
import pytest

from flamebus.wire.batch import decode_batch, encode_batch
from flamebus.wire.headers import DeadLetter, cloud_event
from flamebus.wire.results import decode_hotspot_report, encode_hotspot_report
from flamebus.wire.tick import decode_tick, encode_tick, is_tick
from tests.support import golden
from tests.support.batches import known_batch, same_columns

if TYPE_CHECKING:
    from pathlib import Path

    from flamebus.profile import SampleBatch


def read(name: str) -> bytes:
    return (golden.GOLDEN / name).read_bytes()


def same_batch(first: SampleBatch, second: SampleBatch) -> bool:
    scalars = [name for name in first.__dataclass_fields__ if name not in {"tables", "samples"}]
    return (
        all(getattr(first, name) == getattr(second, name) for name in scalars)
        and same_columns(first.samples, second.samples)
        and all(
            same_columns(getattr(first.tables, name), getattr(second.tables, name))
            for name in ("functions", "mappings", "locations", "lines", "nodes", "stacks", "threads")
        )
        and (first.tables.strings, first.tables.resources) == (second.tables.strings, second.tables.resources)
    )


@pytest.mark.parametrize(("name", "is_window"), [("sample_batch", False), ("window_batch", True)])
def test_batch_v1(name: str, is_window: bool) -> None:
    data = read(f"{name}.v1.msgpack")
    batch = decode_batch(data)
    assert same_batch(batch, known_batch(is_window=is_window))
    assert (batch.samples.time_delta is None) == is_window
    assert encode_batch(batch) == data


def test_hotspot_report_v1() -> None:
    data = read("hotspot_report.v1.msgpack")
    assert decode_hotspot_report(data) == golden.known_report()
    assert encode_hotspot_report(golden.known_report()) == data


def test_tick_v1() -> None:
    data = read("tick.v1.msgpack")
    assert is_tick(data)
    assert decode_tick(data) == golden.TICK
    assert encode_tick(golden.TICK) == data


def test_headers_v1() -> None:
    pairs = [(name, value) for name, value in msgpack.unpackb(read("dead_letter_headers.v1.msgpack"))]
    assert DeadLetter.from_headers(pairs) == golden.LETTER
    assert golden.LETTER.headers() == pairs
    events = [(name, value) for name, value in msgpack.unpackb(read("cloud_event_headers.v1.msgpack"))]
    assert cloud_event(*golden.EVENT) == events


def test_every_published_record_has_its_bytes_and_no_test_forgets_one() -> None:
    assert {path.name for path in golden.GOLDEN.glob("*.msgpack")} == set(golden.records())


def test_the_writer_never_touches_what_is_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(golden, "GOLDEN", tmp_path)
    (tmp_path / "tick.v1.msgpack").write_bytes(b"published")
    assert "tick.v1.msgpack" not in golden.write_missing()
    assert (tmp_path / "tick.v1.msgpack").read_bytes() == b"published"
    assert golden.write_missing() == []
