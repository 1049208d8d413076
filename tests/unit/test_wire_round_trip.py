"""Whatever is written is read again as it was."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from flamebus.hotspot import FunctionHotspot, HotspotReport, Share, StackHotspot
from flamebus.tables import StackReader, TablesBuilder
from flamebus.wire.batch import COLUMN_TYPES, TABLES, decode_batch, encode_batch
from flamebus.wire.headers import DeadLetter, cloud_event
from flamebus.wire.results import decode_hotspot_report, encode_hotspot_report
from flamebus.wire.splitting import select_rows
from flamebus.wire.tick import Tick, decode_tick, encode_tick, is_tick
from tests.support.batches import LOCATIONS, batches, same_columns

if TYPE_CHECKING:
    from flamebus.profile import SampleBatch

TEXT = st.text(max_size=12)
WORDS = st.from_regex(r"[a-z][a-z0-9_]{0,11}", fullmatch=True)
COUNTS = st.integers(0, 2**63 - 1)
SHARES = st.builds(Share, *(st.floats(0, 1),) * 3)
FUNCTIONS = st.builds(FunctionHotspot, TEXT, TEXT, TEXT, COUNTS, COUNTS, SHARES, SHARES)
STACKS = st.builds(StackHotspot, st.integers(0, 2**64 - 1), st.lists(TEXT, max_size=5).map(tuple), COUNTS, SHARES)
REPORTS = st.builds(
    HotspotReport,
    report_id=st.binary(min_size=16, max_size=16),
    service=TEXT,
    kind=WORDS,
    sample_type=st.tuples(TEXT, TEXT),
    window_start_unix_nano=COUNTS,
    window_size_nano=COUNTS,
    partition=COUNTS,
    total=COUNTS,
    samples=st.floats(0, 2**53),
    hosts=COUNTS,
    lost=COUNTS,
    dropped=COUNTS,
    late=COUNTS,
    functions=st.lists(FUNCTIONS, max_size=4).map(tuple),
    stacks=st.lists(STACKS, max_size=4).map(tuple),
)


@given(batches())
def test_any_batch(batch: SampleBatch) -> None:
    data = encode_batch(batch)
    again = decode_batch(data)
    for name in batch.__dataclass_fields__:
        if name not in {"tables", "samples"}:
            assert getattr(again, name) == getattr(batch, name)
    assert same_columns(again.samples, batch.samples)
    assert all(same_columns(getattr(again.tables, name), getattr(batch.tables, name)) for name in TABLES)
    assert again.tables.strings == batch.tables.strings
    assert again.tables.resources == batch.tables.resources
    assert encode_batch(again) == data


@settings(max_examples=20)
@given(batches(min_samples=1))
def test_columns_are_read_in_place_and_cannot_be_written(batch: SampleBatch) -> None:
    again = decode_batch(encode_batch(batch))
    for table in (again.samples, *(getattr(again.tables, name) for name in TABLES)):
        for name in COLUMN_TYPES[type(table)]:
            column = getattr(table, name)
            assert column is None or not len(column) or (not column.flags.writeable and not column.flags.owndata)


@given(st.lists(st.lists(LOCATIONS, max_size=6), max_size=6))
def test_stacks_come_out_of_the_tables_as_they_went_in(stacks: list[list[object]]) -> None:
    builder = TablesBuilder()
    rows = [builder.stack(stack) for stack in stacks]  # type: ignore[arg-type]  # hypothesis forgets the element's type
    tables = builder.build()
    reader = StackReader(tables)
    assert [list(reader.locations(row)) for row in rows] == stacks
    assert [reader.stack_id(row) for row in rows] == [int(tables.stacks.id[row]) for row in rows]


@given(batches(min_samples=1), st.data())
def test_chosen_rows_keep_their_sums_ids_and_times(batch: SampleBatch, data: st.DataObject) -> None:
    chosen = np.array(data.draw(st.lists(st.integers(0, len(batch.samples) - 1), unique=True)), dtype=np.intp)
    part = decode_batch(encode_batch(select_rows(batch, chosen)))
    assert part.samples.totals().tolist() == batch.samples.totals()[chosen].tolist()
    ids = part.tables.stacks.id[part.samples.stack] if len(chosen) else np.zeros(0)
    assert ids.tolist() == batch.tables.stacks.id[batch.samples.stack[chosen]].tolist()
    assert part.times_unix_nano().tolist() == batch.times_unix_nano()[chosen].tolist()
    reader = StackReader(part.tables)
    assert [reader.stack_id(row) for row in range(len(part.tables.stacks.id))] == part.tables.stacks.id.tolist()


@given(REPORTS)
def test_any_report(report: HotspotReport) -> None:
    data = encode_hotspot_report(report)
    assert decode_hotspot_report(data) == report
    assert encode_hotspot_report(decode_hotspot_report(data)) == data


@given(COUNTS)
def test_any_tick(unix_nano: int) -> None:
    data = encode_tick(Tick(unix_nano))
    assert is_tick(data)
    assert decode_tick(data) == Tick(unix_nano)


@settings(max_examples=20)
@given(batches(), REPORTS)
def test_nothing_else_is_a_tick(batch: SampleBatch, report: HotspotReport) -> None:
    assert not is_tick(encode_batch(batch))
    assert not is_tick(encode_hotspot_report(report))


@given(st.builds(DeadLetter, WORDS, TEXT, TEXT, *(st.integers(0, 2**63),) * 3))
def test_any_dead_letter(letter: DeadLetter) -> None:
    assert DeadLetter.from_headers(letter.headers()) == letter


@given(st.integers(0, 2**62))
def test_the_time_of_an_event_is_exact_to_the_nanosecond(unix_nano: int) -> None:
    time = dict(cloud_event("1", "/a", "b", unix_nano))["ce_time"].decode()
    assert time.endswith(f"{unix_nano % 10**9:09d}Z")
