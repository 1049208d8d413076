"""HotspotReport v1 as MessagePack: a plain map, fields named as in flamebus.hotspot."""

from typing import Any

import msgpack

from flamebus.errors import BadDataError
from flamebus.hotspot import FunctionHotspot, HotspotReport, Share, StackHotspot
from flamebus.wire.reader import RecordReader

SCHEMA = "flamebus.hotspot_report"
SCHEMA_VERSION = 1

_SCALARS: dict[str, type | tuple[type, ...]] = {
    "report_id": bytes,
    "service": str,
    "kind": str,
    "window_start_unix_nano": int,
    "window_size_nano": int,
    "partition": int,
    "total": int,
    "samples": float,
    "hosts": int,
    "lost": int,
    "dropped": int,
    "late": int,
}


def encode_hotspot_report(report: HotspotReport) -> bytes:
    """The report as one MessagePack map."""
    record: dict[str, object] = {"schema": SCHEMA, "schema_version": SCHEMA_VERSION}
    record |= {name: getattr(report, name) for name in _SCALARS}
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
        record[key] = reader.array(lambda: _read_map(reader)) if key in {"functions", "stacks"} else reader.value()
    reader.end()
    if record.get("schema") != SCHEMA or record.get("schema_version") != SCHEMA_VERSION:
        raise BadDataError("unknown_version", f"not {SCHEMA} {SCHEMA_VERSION}: {record.get('schema')!r}")
    try:
        for name, wanted in _SCALARS.items():
            if not isinstance(record[name], wanted):
                raise BadDataError("wrong_type", f"{name} is {type(record[name]).__name__}")
        sample_type, sample_unit = record["sample_type"]
        return HotspotReport(
            **{name: record[name] for name in _SCALARS},
            sample_type=(sample_type, sample_unit),
            functions=tuple(_read_function(entry) for entry in record["functions"]),
            stacks=tuple(_read_stack(entry) for entry in record["stacks"]),
        )
    except (KeyError, TypeError, ValueError) as error:
        raise BadDataError("missing_field", f"the report is not complete: {error!r}") from error


def _read_map(reader: RecordReader) -> dict[str, object]:
    """A hotspot: a flat map, but for a stack's list of functions."""
    return {key: reader.array(reader.value) if key == "functions" else reader.value() for key in reader.fields()}


def _read_share(entry: dict[str, Any], name: str) -> Share:
    return Share(entry[name], entry[f"{name}_low"], entry[f"{name}_high"])


def _read_function(entry: dict[str, Any]) -> FunctionHotspot:
    return FunctionHotspot(
        function=entry["function"],
        mapping=entry["mapping"],
        frame_kind=entry["frame_kind"],
        self_value=entry["self"],
        total_value=entry["total"],
        self_share=_read_share(entry, "share"),
        total_share=_read_share(entry, "total_share"),
    )


def _read_stack(entry: dict[str, Any]) -> StackHotspot:
    return StackHotspot(entry["stack_id"], tuple(entry["functions"]), entry["value"], _read_share(entry, "share"))
