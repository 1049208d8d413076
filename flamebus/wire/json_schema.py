"""JSON Schemas (2020-12) of every record, made from the tables that the codecs themselves read by.

MessagePack has a type that JSON lacks: bytes. In these schemas ``bin`` is a string in base64 (``contentEncoding``) that
also says ``x-msgpack: bin``; a column says its numpy type in ``x-dtype``.
"""

from dataclasses import fields
from inspect import cleandoc

from flamebus import frames, hotspot, profile
from flamebus.wire import batch, headers, results, tick
from flamebus.wire.reader import MAX_KEYS
from flamebus.wire.scalars import ID_BYTES, MAX_COUNT, MAX_HASH, WORD, Scalar

Schema = dict[str, object]

DIALECT = "https://json-schema.org/draft/2020-12/schema"

_ID_CHARACTERS = 4 * -(-ID_BYTES // 3)  # of base64
_BIN: Schema = {"type": "string", "contentEncoding": "base64", "x-msgpack": "bin"}
_SCALARS: dict[Scalar, Schema] = {
    Scalar.TEXT: {"type": "string"},
    Scalar.WORD: {"type": "string", "pattern": WORD},
    Scalar.COUNT: {"type": "integer", "minimum": 0, "maximum": MAX_COUNT},
    Scalar.HASH: {"type": "integer", "minimum": 0, "maximum": MAX_HASH},
    Scalar.NUMBER: {"type": "number", "minimum": 0},
    Scalar.FRACTION: {"type": "number", "minimum": 0, "maximum": 1},
    Scalar.ID: {**_BIN, "minLength": _ID_CHARACTERS, "maxLength": _ID_CHARACTERS, "description": "16 bytes"},
}
_PAIR: Schema = {
    "type": "array",
    "prefixItems": [{"type": "string", "title": "type"}, {"type": "string", "title": "unit"}],
    "items": False,
    "minItems": 2,
}


def sample_batch() -> Schema:
    """SampleBatch v1."""
    tables: Schema = {name: _columns(table) for name, table in batch.TABLES.items()}
    strings: Schema = {"type": "array", "prefixItems": [{"const": ""}], "items": {"type": "string"}, "minItems": 1}
    attributes: Schema = {"type": "object", "maxProperties": MAX_KEYS, "additionalProperties": {"type": "string"}}
    resources: Schema = {"type": "array", "items": attributes, "description": "Attributes of who was sampled."}
    parts: Schema = {
        **_scalars(batch.HEADER),
        **dict.fromkeys(batch.SAMPLE_TYPES, _PAIR),
        "tables": _object({"strings": strings, **tables, "resources": resources}, _text(profile.Tables)),
        "samples": _columns(profile.Samples),
        "losses": {"type": "array", "items": _object(_scalars(batch.LOSS), _text(profile.Loss))},
    }
    required = [name for name in parts if name != "losses"]
    return _record("sample_batch", batch.SCHEMA, parts, _text(profile.SampleBatch), required)


def window_batch() -> Schema:
    """A SampleBatch of ``windows.v1``: the same record, without times."""
    return {
        "$schema": DIALECT,
        "$id": file_name("window_batch"),
        "title": "window_batch v1",
        "description": "A SampleBatch v1 whose rows are sums of a window.",
        "allOf": [{"$ref": file_name("sample_batch")}],
        "properties": {"samples": {"not": {"required": sorted(batch.OPTIONAL_COLUMNS)}}},
    }


def hotspot_report() -> Schema:
    """HotspotReport v1."""
    names: Schema = {"type": "array", "items": {"type": "string"}, "description": "Function names, leaf first."}
    stack = {**_scalars(results.STACK), "functions": names}
    parts: Schema = {
        **_scalars(results.REPORT),
        "sample_type": _PAIR,
        "functions": {"type": "array", "items": _object(_scalars(results.FUNCTION), _text(hotspot.FunctionHotspot))},
        "stacks": {"type": "array", "items": _object(stack, _text(hotspot.StackHotspot))},
    }
    return _record("hotspot_report", results.SCHEMA, parts, _text(hotspot.HotspotReport), list(parts))


def tick_record() -> Schema:
    """Tick v1."""
    return _record("tick", tick.SCHEMA, _scalars(tick.TICK), _text(tick.Tick), list(tick.TICK))


def dead_letter_headers() -> Schema:
    """Kafka headers of a dead letter, as strings."""
    letter = headers.DeadLetter("reason", "detail", "topic", 0, 0, 0)
    return _headers("dead_letter_headers", letter.headers(), _text(headers.DeadLetter))


def cloud_event_headers() -> Schema:
    """Kafka headers of everything else, as strings."""
    names = headers.cloud_event("1", "/", "type", 0)
    return _headers("cloud_event_headers", names, "CloudEvents 1.0 in binary mode.")


def schemas() -> dict[str, Schema]:
    """Every schema by the name of its record."""
    return {
        "sample_batch": sample_batch(),
        "window_batch": window_batch(),
        "hotspot_report": hotspot_report(),
        "tick": tick_record(),
        "dead_letter_headers": dead_letter_headers(),
        "cloud_event_headers": cloud_event_headers(),
    }


def file_name(record: str) -> str:
    """Name of the file of a record's schema; also its ``$id``, relative to the folder that all of them lie in."""
    return f"{record}.v1.json"


def _record(name: str, schema: str, parts: Schema, description: str, required: list[str]) -> Schema:
    known: Schema = {"schema": {"const": schema}, "schema_version": {"const": 1}, **parts}
    return {
        "$schema": DIALECT,
        "$id": file_name(name),
        "title": f"{name} v1",
        "description": description,
        "type": "object",
        "properties": known,
        "required": ["schema", "schema_version", *required],
    }


def _headers(name: str, pairs: headers.Headers, description: str) -> Schema:
    numbers = {key for key, value in pairs if value.isdigit() and key.startswith("flamebus_")}
    known: Schema = {
        key: {"type": "string", **({"pattern": "^-?[0-9]+$"} if key in numbers else {})} for key, _ in pairs
    }
    return {"$schema": DIALECT, "$id": file_name(name), "title": f"{name} v1", **_object(known, description)}


def _object(parts: Schema, description: str) -> Schema:
    return {"type": "object", "description": description, "properties": parts, "required": list(parts)}


def _scalars(kinds: dict[str, Scalar]) -> Schema:
    return {name: _SCALARS[kind] for name, kind in kinds.items()}


def _columns(table: type) -> Schema:
    types = batch.COLUMN_TYPES[table]
    columns: Schema = {name: {**_BIN, "x-dtype": dtype} for name, dtype in types.items()}
    if table is profile.Locations:
        known = ", ".join(f"{kind.value} {kind.label}" for kind in frames.FrameKind)
        columns["frame_kind"] = {**_BIN, "x-dtype": types["frame_kind"], "description": known}
    required = [name for name in types if name not in batch.OPTIONAL_COLUMNS]
    assert {field.name for field in fields(table)} == set(types)  # noqa: S101 - a column without a type cannot be sent
    return {**_object(columns, _text(table)), "required": required}


def _text(described: type) -> str:
    return cleandoc(described.__doc__ or "")
