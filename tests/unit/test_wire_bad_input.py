"""Records that break the contract: each is refused with its reason, and costs no more than its bytes."""

from __future__ import annotations

import math
import tracemalloc
from typing import TYPE_CHECKING, Any

import msgpack
import numpy as np
import pytest

from flamebus.errors import BadDataError
from flamebus.wire.batch import decode_batch, encode_batch
from flamebus.wire.headers import DeadLetter
from flamebus.wire.reader import MAX_RECORD_BYTES
from flamebus.wire.results import decode_hotspot_report, encode_hotspot_report
from flamebus.wire.tick import Tick, decode_tick, encode_tick
from tests.support.batches import START_UNIX_NANO, known_batch
from tests.support.golden import known_report

if TYPE_CHECKING:
    from collections.abc import Callable

Record = dict[str, Any]


def reason(decode: Callable[[bytes], object], data: bytes) -> str:
    with pytest.raises(BadDataError) as caught:
        decode(data)
    assert len(str(caught.value)) < 500
    return caught.value.reason


def changed(change: Callable[[Record], object]) -> bytes:
    record = msgpack.unpackb(encode_batch(known_batch()))
    change(record)
    data: bytes = msgpack.packb(record)
    return data


def setting(*path: str, to: object) -> Callable[[Record], object]:
    def change(record: Record) -> None:
        for key in path[:-1]:
            record = record[key]
        record[path[-1]] = to

    return change


def column(*path: str, to: list[float], dtype: str) -> Callable[[Record], object]:
    return setting(*path, to=np.array(to, dtype=dtype).tobytes())


U4, U8, I8, F4 = "<u4", "<u8", "<i8", "<f4"
PERIOD = 10_101_010

BROKEN: dict[str, tuple[str, Callable[[Record], object]]] = {
    "unknown version": ("unknown_version", setting("schema_version", to=2)),
    "version is true": ("unknown_version", setting("schema_version", to=True)),
    "version is 1.0": ("unknown_version", setting("schema_version", to=1.0)),
    "version is a long text": ("unknown_version", setting("schema_version", to="1" * 10_000)),
    "another schema": ("unknown_schema", setting("schema", to="flamebus.tick")),
    "no schema": ("unknown_schema", lambda record: record.pop("schema")),
    "no version": ("unknown_version", lambda record: record.pop("schema_version")),
    "no tables": ("missing_field", lambda record: record.pop("tables")),
    "no stacks": ("missing_field", lambda record: record["tables"].pop("stacks")),
    "no weights": ("missing_field", lambda record: record["samples"].pop("weight")),
    "no period": ("missing_field", lambda record: record.pop("period")),
    "loss without value": ("missing_field", setting("losses", to=[{"reason": "ring_full", "samples": 1}])),
    "host is a number": ("wrong_type", setting("host", to=7)),
    "host is nil": ("wrong_type", setting("host", to=None)),
    "host is a list": ("wrong_type", setting("host", to=["a", "b", "c"])),
    "sequence is true": ("wrong_type", setting("sequence", to=True)),
    "sequence is a fraction": ("wrong_type", setting("sequence", to=1.5)),
    "batch id is short": ("wrong_type", setting("batch_id", to=b"short")),
    "batch id is text": ("wrong_type", setting("batch_id", to="0123456789abcdef")),
    "samples is a list": ("wrong_type", setting("samples", to=[])),
    "strings is text": ("wrong_type", setting("tables", "strings", to="")),
    "a string is a number": ("wrong_type", setting("tables", "strings", to=["", 1])),
    "a string is nil": ("wrong_type", setting("tables", "strings", to=["", None])),
    "a string is a map": ("wrong_type", setting("tables", "strings", to=["", {}])),
    "a column is a list": ("wrong_type", setting("samples", "value", to=[1, 2, 3])),
    "a column is nil": ("wrong_type", setting("samples", "time_delta", to=None)),
    "a resource is a list": ("wrong_type", setting("tables", "resources", to=[["service.name", "a"]])),
    "an attribute is a number": ("wrong_type", setting("tables", "resources", to=[{"service.name": 1}, {}])),
    "kind goes up a folder": ("wrong_type", setting("kind", to="../cpu")),
    "kind is empty": ("wrong_type", setting("kind", to="")),
    "a reason in prose": ("wrong_type", setting("losses", to=[{"reason": "Ring full!", "samples": 1, "value": 0}])),
    "sample type of three": ("wrong_type", setting("sample_type", to=["cpu", "nanoseconds", "x"])),
    "a time of datetime": ("wrong_type", setting("start_unix_nano", to=msgpack.Timestamp(1, 2))),
    "column not whole": ("bad_length", setting("samples", "value", to=bytes(39))),
    "columns of two lengths": ("bad_length", column("samples", "value", to=[1] * 4, dtype=I8)),
    "table of two lengths": ("bad_length", column("tables", "stacks", "node", to=[1], dtype=U4)),
    "too many attributes": ("bad_length", setting("tables", "resources", to=[{str(n): "" for n in range(65)}])),
    "too many names": (
        "bad_length",
        setting("tables", "resources", to=[{f"{m}.{n}": "" for n in range(60)} for m in range(5)]),
    ),
    "negative sequence": ("negative", setting("sequence", to=-1)),
    "negative start": ("negative", setting("start_unix_nano", to=-1)),
    "negative period": ("negative", setting("period", to=-(2**63))),
    "negative loss": ("negative", setting("losses", to=[{"reason": "ring_full", "samples": -1, "value": 0}])),
    "negative value": ("negative", column("samples", "value", to=[PERIOD, PERIOD, -1, PERIOD, PERIOD], dtype=I8)),
    "negative weight": ("negative", column("samples", "weight", to=[1, 1, -1, 1, 1], dtype=F4)),
    "no weight": ("negative", column("samples", "weight", to=[1, 1, 0, 1, 1], dtype=F4)),
    "weight is not a number": ("not_finite", column("samples", "weight", to=[1, 1, math.nan, 1, 1], dtype=F4)),
    "infinite weight": ("not_finite", column("samples", "weight", to=[1, 1, 1, 1, math.inf], dtype=F4)),
    "huge total": ("overflow", column("samples", "value", to=[2**63 - 1] * 5, dtype=I8)),
    "huge weight": ("overflow", column("samples", "weight", to=[3e38] * 5, dtype=F4)),
    "huge loss": ("overflow", setting("losses", to=[{"reason": "ring_full", "samples": 2**53 + 1, "value": 0}])),
    "huge sequence": ("overflow", setting("sequence", to=2**63)),
    "end before start": ("bad_time", setting("end_unix_nano", to=START_UNIX_NANO - 1)),
    "no duration": ("bad_time", setting("end_unix_nano", to=START_UNIX_NANO)),
    "two days": ("bad_time", setting("end_unix_nano", to=START_UNIX_NANO + 2 * 86_400 * 10**9)),
    "sample past the end": ("bad_time", column("samples", "time_delta", to=[0, 1, 2, 3, 100_000], dtype=U4)),
    "time runs over": ("bad_time", column("samples", "time_delta", to=[0, 1, 2, 3, 2**32 - 1], dtype=U4)),
    "row 0 is not empty": ("bad_reference", setting("tables", "strings", to=["x"] * 40)),
    "no strings": ("bad_reference", setting("tables", "strings", to=[])),
    "stack does not exist": ("bad_reference", column("samples", "stack", to=[0, 0, 0, 0, 99], dtype=U4)),
    "thread does not exist": ("bad_reference", column("samples", "thread", to=[2**32 - 1] * 5, dtype=U4)),
    "resource does not exist": ("bad_reference", setting("tables", "resources", to=[])),
    "unknown frame kind": ("bad_reference", column("tables", "locations", "frame_kind", to=[1, 1, 2, 77], dtype="u1")),
    "lines run backwards": ("bad_reference", column("tables", "locations", "first_line", to=[3, 2, 1, 0], dtype=U4)),
    "lines run over": ("bad_reference", column("tables", "locations", "first_line", to=[0, 1, 2, 99], dtype=U4)),
    "function without name": ("bad_reference", column("tables", "functions", "name", to=[0, 1, 2, 3], dtype=U4)),
    "a cycle": ("bad_tree", column("tables", "nodes", "parent", to=[0, 2, 1, 0, 3], dtype=U4)),
    "its own parent": ("bad_tree", column("tables", "nodes", "parent", to=[0, 1, 1, 1, 1], dtype=U4)),
    "root has a parent": ("bad_tree", column("tables", "nodes", "parent", to=[1, 0, 1, 1, 1], dtype=U4)),
}


@pytest.mark.parametrize("name", BROKEN)
def test_a_batch_that_breaks_a_rule(name: str) -> None:
    expected, change = BROKEN[name]
    assert reason(decode_batch, changed(change)) == expected


def test_the_batch_that_they_are_made_from_is_good() -> None:
    assert decode_batch(changed(lambda record: record)).host == "host-1"


@pytest.mark.parametrize("data", [b"", b"\xc0", b"\x90", b"plain text", b"\xc1", b"\xa2\xff\xfe"])
def test_what_is_no_map(data: bytes) -> None:
    assert reason(decode_batch, data) in {"empty", "wrong_type", "unknown_schema", "malformed", "truncated"}


def test_every_truncation_of_every_record() -> None:
    for decode, data in (
        (decode_batch, encode_batch(known_batch())),
        (decode_hotspot_report, encode_hotspot_report(known_report())),
        (decode_tick, encode_tick(Tick(1))),
    ):
        reasons = {reason(decode, data[:length]) for length in range(1, len(data))}
        assert reasons <= {"truncated", "bad_length"}


def test_bytes_behind_the_record() -> None:
    assert reason(decode_batch, encode_batch(known_batch()) + b"\xc0") == "trailing_bytes"


def test_a_record_larger_than_any_that_we_send() -> None:
    assert reason(decode_batch, bytes(MAX_RECORD_BYTES + 1)) == "oversized"


def test_a_key_twice() -> None:
    data = encode_batch(known_batch())
    assert data[0] == 0xDE, "a map of sixteen"
    twice = b"\xde" + (17).to_bytes(2, "big") + data[3:] + msgpack.packb("host") + msgpack.packb("other")
    assert reason(decode_batch, twice) == "duplicate_key"


def test_a_key_that_is_no_string() -> None:
    assert reason(decode_batch, b"\x81\x01\x02") == "wrong_type"


def test_invalid_utf8_in_a_symbol() -> None:
    data = encode_batch(known_batch())
    assert reason(decode_batch, data.replace("cärt".encode(), b"c\xff\xfert")) == "invalid_utf8"
    # A surrogate that stands alone is not UTF-8 either; whoever let it in could not write it out again.
    assert reason(decode_batch, data.replace("cärt".encode(), b"\xed\xa0\x80rt")) == "invalid_utf8"


def test_an_unknown_key_is_passed_over() -> None:
    def change(record: Record) -> None:
        record["new"] = {"a": [1, [2, {"b": msgpack.ExtType(5, b"x")}]]}
        record["samples"]["new"] = [1] * 100
        record["tables"]["new"] = None
        record["losses"][0]["new"] = 1

    assert decode_batch(changed(change)).losses == known_batch().losses


def test_deep_nesting_in_an_unknown_key_is_refused_not_followed() -> None:
    data = encode_batch(known_batch())
    deep = b"\xde" + (17).to_bytes(2, "big") + data[3:] + msgpack.packb("new") + b"\x91" * 1_000_000 + b"\xc0"
    assert reason(decode_batch, deep) == "malformed"


HEADER = b"\x84" + msgpack.packb("schema") + msgpack.packb("flamebus.sample_batch") + b"\xaeschema_version\x01"
GIGABYTE = (2**30).to_bytes(4, "big")
BOMBS = {
    "a gigabyte of strings": HEADER + b"\xa6tables\x81\xa7strings\xdd" + GIGABYTE + bytes(1000),
    "a gigabyte of text": HEADER + b"\xa4host\xdb" + GIGABYTE + bytes(1000),
    "a gigabyte of column": HEADER + b"\xa7samples\x81\xa5stack\xc6" + GIGABYTE + bytes(1000),
    "a gigabyte of keys": b"\xdf" + GIGABYTE + bytes(1000),
    "a gigabyte of losses": HEADER + b"\xa6losses\xdd" + GIGABYTE + bytes(1000),
    "a gigabyte of extension": HEADER + b"\xa4host\xc9" + GIGABYTE + bytes(1000),
    "a million empty strings": HEADER + b"\xa6tables\x81\xa7strings\xdd" + (10**6).to_bytes(4, "big") + b"\xa0" * 10**6,
    "a million resources": HEADER + b"\xa6tables\x81\xa9resources\xdd" + (10**6).to_bytes(4, "big") + b"\x80" * 10**6,
    "half a million lists": HEADER + b"\xa7samples" + b"\x92\xc0" * 500_000,
    "two-letter strings": HEADER
    + b"\xa6tables\x81\xa7strings\xdd"
    + (400_000).to_bytes(4, "big")
    + b"".join(b"\xa2%c%c" % (97 + n % 26, 97 + n // 26 % 26) for n in range(400_000)),
}


@pytest.mark.parametrize("name", BOMBS)
def test_bombs_are_refused_and_cost_no_more_than_ten_times_their_bytes(name: str) -> None:
    data = BOMBS[name]
    tracemalloc.start()
    try:
        assert reason(decode_batch, data) in {"bad_length", "truncated", "wrong_type"}
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak <= 10 * len(data) + 64 * 1024


def _chain(n_nodes: int, n_stacks: int) -> Callable[[Record], object]:
    def change(record: Record) -> None:
        nodes, stacks = record["tables"]["nodes"], record["tables"]["stacks"]
        nodes["parent"] = np.maximum(np.arange(n_nodes + 1) - 1, 0).astype(U4).tobytes()
        nodes["location"] = bytes(4 * (n_nodes + 1))
        stacks["id"] = bytes(8 * n_stacks)
        stacks["node"] = np.full(n_stacks, n_nodes, dtype=U4).tobytes()

    return change


def test_a_small_tree_that_unfolds_into_billions_of_frames() -> None:
    assert reason(decode_batch, changed(_chain(100_000, 100_000))) == "bad_tree"
    assert len(decode_batch(changed(_chain(1_000, 3_900))).tables.stacks.id) == 3_900


@pytest.mark.parametrize("start", [0, 1, 2**62, 2**63 - 1 - 10**10])
def test_the_decoder_takes_any_time(start: int) -> None:
    def change(record: Record) -> None:
        record |= {"start_unix_nano": start, "end_unix_nano": start + 10**10}

    assert decode_batch(changed(change)).times_unix_nano().min() == start


def test_a_batch_without_samples_is_good_and_so_are_its_losses() -> None:
    def change(record: Record) -> None:
        for name in record["samples"]:
            record["samples"][name] = b""

    batch = decode_batch(changed(change))
    assert len(batch.samples) == 0
    assert batch.losses == known_batch().losses
    assert len(batch.times_unix_nano()) == 0


REPORTS: dict[str, tuple[str, Callable[[Record], object]]] = {
    "unknown version": ("unknown_version", setting("schema_version", to=2)),
    "another schema": ("unknown_schema", setting("schema", to="x")),
    "no functions": ("missing_field", lambda record: record.pop("functions")),
    "total is text": ("wrong_type", setting("total", to="1")),
    "negative total": ("negative", setting("total", to=-1)),
    "samples are not a number": ("not_finite", setting("samples", to=math.nan)),
    "samples are true": ("wrong_type", setting("samples", to=True)),
    "a share beyond 1": ("overflow", lambda record: record["functions"][0].update(share=1.5)),
    "a share is missing": ("missing_field", lambda record: record["stacks"][0].pop("share_low")),
    "a function is a list": ("wrong_type", setting("functions", to=[[]])),
    "a stack's functions are numbers": ("wrong_type", lambda record: record["stacks"][0].update(functions=[1])),
    "a stack id too large": ("wrong_type", lambda record: record["stacks"][0].update(stack_id=1e30)),
}


@pytest.mark.parametrize("name", REPORTS)
def test_a_report_that_breaks_a_rule(name: str) -> None:
    expected, change = REPORTS[name]
    record = msgpack.unpackb(encode_hotspot_report(known_report()))
    change(record)
    assert reason(decode_hotspot_report, msgpack.packb(record)) == expected


def test_a_report_takes_whole_numbers_as_other_languages_write_them() -> None:
    record = msgpack.unpackb(encode_hotspot_report(known_report()))
    record["samples"] = 4
    assert decode_hotspot_report(msgpack.packb(record)) == known_report()


@pytest.mark.parametrize(
    ("value", "expected"),
    [(-1, "negative"), (True, "wrong_type"), (1.0, "wrong_type"), (2**63, "overflow"), (None, "wrong_type")],
)
def test_a_tick_with_a_bad_time(value: object, expected: str) -> None:
    record = {"schema": "flamebus.tick", "schema_version": 1, "unix_nano": value}
    assert reason(decode_tick, msgpack.packb(record)) == expected


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("flamebus_offset", None, "missing_field"),
        ("flamebus_offset", b"x", "wrong_type"),
        ("flamebus_partition", b"\xff", "wrong_type"),
    ],
)
def test_dead_letter_headers_that_are_not_ours(name: str, value: bytes | None, expected: str) -> None:
    headers = dict(DeadLetter("truncated", "", "t", 0, 0, 0).headers())
    del headers[name]
    if value is not None:
        headers[name] = value
    with pytest.raises(BadDataError) as caught:
        DeadLetter.from_headers(list(headers.items()))
    assert caught.value.reason == expected
