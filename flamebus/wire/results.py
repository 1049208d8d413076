"""HotspotReport v1 as MessagePack: a plain map, fields named as in flamebus.hotspot."""

from typing import Any

import msgpack

from flamebus.hotspot import FunctionHotspot, HotspotReport, Share, StackHotspot
from flamebus.wire.reader import RecordReader
from flamebus.wire.scalars import Scalar, check_complete, check_schema, read_scalar, read_text

SCHEMA = "flamebus.hotspot_report"
SCHEMA_VERSION = 1

REPORT: dict[str, Scalar] = {
    "report_id": Scalar.ID,
    "service": Scalar.TEXT,
    "kind": Scalar.WORD,
    "window_start_unix_nano": Scalar.COUNT,
    "window_size_nano": Scalar.COUNT,
    "partition": Scalar.COUNT,
    "total": Scalar.COUNT,
    "samples": Scalar.NUMBER,
    "hosts": Scalar.COUNT,
    "lost": Scalar.COUNT,
    "dropped": Scalar.COUNT,
    "late": Scalar.COUNT,
}
"""The single values besides ``schema`` and ``schema_version``; ``sample_type`` is a pair of strings."""

_SHARE = {"share": Scalar.FRACTION, "share_low": Scalar.FRACTION, "share_high": Scalar.FRACTION}
FUNCTION: dict[str, Scalar] = {
    "function": Scalar.TEXT,
    "mapping": Scalar.TEXT,
    "frame_kind": Scalar.TEXT,
    "self": Scalar.COUNT,
    "total": Scalar.COUNT,
    **_SHARE,
    **{f"total_{name}": kind for name, kind in _SHARE.items()},
}
"""Fields of one entry of ``functions``; ``share`` is that of ``self``."""

STACK: dict[str, Scalar] = {"stack_id": Scalar.HASH, "value": Scalar.COUNT, **_SHARE}
"""Fields of one entry of ``stacks``, which also has ``functions``, names leaf first."""

_ENTRY_BYTES = 1024  # the objects of a function or a stack, its shares, numbers and places


def encode_hotspot_report(report: HotspotReport) -> bytes:
    """The report as one MessagePack map."""
    record: dict[str, object] = {"schema": SCHEMA, "schema_version": SCHEMA_VERSION}
    record |= {name: getattr(report, name) for name in REPORT}
    record["sample_type"] = list(report.sample_type)
    record["functions"] = [_function_map(function) for function in report.functions]
    record["stacks"] = [_stack_map(stack) for stack in report.stacks]
    data: bytes = msgpack.packb(record, use_bin_type=True)
    return data


def _share_maps(name: str, share: Share) -> dict[str, float]:
    return {name: share.value, f"{name}_low": share.low, f"{name}_high": share.high}


def _function_map(hotspot: FunctionHotspot) -> dict[str, object]:
    return {
        "function": hotspot.function,
        "mapping": hotspot.mapping,
        "frame_kind": hotspot.frame_kind,
        "self": hotspot.self_value,
        "total": hotspot.total_value,
        **_share_maps("share", hotspot.self_share),
        **_share_maps("total_share", hotspot.total_share),
    }


def _stack_map(hotspot: StackHotspot) -> dict[str, object]:
    return {
        "stack_id": hotspot.stack_id,
        "functions": list(hotspot.functions),
        "value": hotspot.value,
        **_share_maps("share", hotspot.share),
    }


def decode_hotspot_report(data: bytes) -> HotspotReport:
    """Read one report.

    Raises:
        BadDataError: not a HotspotReport v1.
    """
    reader = RecordReader(data)
    record: dict[str, Any] = {}
    for key in reader.fields():
        _read_field(reader, key, record)
        if key == "schema_version":
            check_schema(record, SCHEMA, SCHEMA_VERSION)
    reader.end()
    check_schema(record, SCHEMA, SCHEMA_VERSION)
    check_complete(record, *REPORT, "sample_type", "functions", "stacks")
    del record["schema"], record["schema_version"]
    return HotspotReport(**record)


def _read_field(reader: RecordReader, key: str, record: dict[str, Any]) -> None:
    if key in REPORT:
        record[key] = read_scalar(key, reader.value(), REPORT[key])
    elif key in {"schema", "schema_version"}:
        record[key] = reader.value()
    elif key == "sample_type":
        reader.enter_array(2)
        record[key] = (read_text(key, reader.value()), read_text(key, reader.value()))
    elif key == "functions":
        record[key] = tuple(reader.array(lambda: _read_function(reader), _ENTRY_BYTES))
    elif key == "stacks":
        record[key] = tuple(reader.array(lambda: _read_stack(reader), _ENTRY_BYTES))
    else:
        reader.skip()


def _read_entry(reader: RecordReader, kinds: dict[str, Scalar], also: str = "") -> dict[str, Any]:
    entry: dict[str, Any] = {}
    for key in reader.fields():
        if key in kinds:
            entry[key] = read_scalar(key, reader.value(), kinds[key])
        elif key == also:
            entry[key] = tuple(reader.texts())
        else:
            reader.skip()
    check_complete(entry, *kinds, *([also] if also else []))
    return entry


def _read_share(entry: dict[str, Any], name: str) -> Share:
    return Share(entry[name], entry[f"{name}_low"], entry[f"{name}_high"])


def _read_function(reader: RecordReader) -> FunctionHotspot:
    entry = _read_entry(reader, FUNCTION)
    return FunctionHotspot(
        function=entry["function"],
        mapping=entry["mapping"],
        frame_kind=entry["frame_kind"],
        self_value=entry["self"],
        total_value=entry["total"],
        self_share=_read_share(entry, "share"),
        total_share=_read_share(entry, "total_share"),
    )


def _read_stack(reader: RecordReader) -> StackHotspot:
    entry = _read_entry(reader, STACK, "functions")
    return StackHotspot(entry["stack_id"], entry["functions"], entry["value"], _read_share(entry, "share"))
