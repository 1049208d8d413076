"""SampleBatch v1 as MessagePack: maps with string keys, columns as little-endian ``bin`` that numpy reads in place."""

from dataclasses import dataclass, fields
from typing import Any, TypeVar

import msgpack
import numpy as np

from flamebus.errors import BadDataError
from flamebus.profile import (
    Functions,
    Lines,
    Locations,
    Loss,
    Mappings,
    Nodes,
    Resource,
    SampleBatch,
    Samples,
    SampleType,
    Stacks,
    Tables,
    Threads,
)
from flamebus.wire.reader import RecordReader
from flamebus.wire.validation import check_batch

SCHEMA = "flamebus.sample_batch"
SCHEMA_VERSION = 1

COLUMN_TYPES: dict[type, dict[str, str]] = {
    Functions: {"name": "<u4", "file": "<u4"},
    Mappings: {"file": "<u4", "build_id": "<u4", "start": "<u8", "limit": "<u8", "offset": "<u8"},
    Locations: {"mapping": "<u4", "address": "<u8", "frame_kind": "u1", "first_line": "<u4"},
    Lines: {"function": "<u4", "line": "<u4"},
    Nodes: {"parent": "<u4", "location": "<u4"},
    Stacks: {"id": "<u8", "node": "<u4"},
    Threads: {"tid": "<u4", "name": "<u4"},
    Samples: {
        "stack": "<u4",
        "resource": "<u4",
        "thread": "<u4",
        "value": "<i8",
        "weight": "<f4",
        "time_delta": "<u4",
    },
}
"""Name and numpy type of every column, by table."""

TABLES: dict[str, type] = {
    "functions": Functions,
    "mappings": Mappings,
    "locations": Locations,
    "lines": Lines,
    "nodes": Nodes,
    "stacks": Stacks,
    "threads": Threads,
}

HEADER_TYPES: dict[str, type] = {
    "schema": str,
    "schema_version": int,
    "batch_id": bytes,
    "sequence": int,
    "host": str,
    "boot_id": str,
    "agent_version": str,
    "kind": str,
    "period": int,
    "start_unix_nano": int,
    "end_unix_nano": int,
}
"""The scalar fields and their types; ``sample_type`` and ``period_type`` are pairs of strings."""

_OPTIONAL_COLUMNS = {"time_delta"}

C = TypeVar("C")


def encode_batch(batch: SampleBatch) -> bytes:
    """The batch as one MessagePack map. The same batch always gives the same bytes."""
    tables = batch.tables
    record: dict[str, object] = {
        "schema": SCHEMA,
        "schema_version": SCHEMA_VERSION,
        "batch_id": batch.batch_id,
        "sequence": batch.sequence,
        "host": batch.host,
        "boot_id": batch.boot_id,
        "agent_version": batch.agent_version,
        "kind": batch.kind,
        "sample_type": [batch.sample_type.type, batch.sample_type.unit],
        "period_type": [batch.period_type.type, batch.period_type.unit],
        "period": batch.period,
        "start_unix_nano": batch.start_unix_nano,
        "end_unix_nano": batch.end_unix_nano,
        "tables": {
            "strings": list(tables.strings),
            **{name: _encode_columns(getattr(tables, name)) for name in TABLES},
            "resources": [dict(resource) for resource in tables.resources],
        },
        "samples": _encode_columns(batch.samples),
        "losses": [{"reason": loss.reason, "samples": loss.samples, "value": loss.value} for loss in batch.losses],
    }
    data: bytes = msgpack.packb(record, use_bin_type=True)
    return data


def _encode_columns(table: Any) -> dict[str, bytes]:
    types = COLUMN_TYPES[type(table)]
    columns = {name: getattr(table, name) for name in types}
    return {
        name: np.ascontiguousarray(column, dtype=types[name]).tobytes()
        for name, column in columns.items()
        if column is not None
    }


def decode_batch(data: bytes) -> SampleBatch:
    """Read and check one record.

    The columns of the result are read-only views on the record's bytes. The ids of stacks are believed here; whoever
    meets an id for the first time compares it (``StackReader.stack_id``).

    Raises:
        BadDataError: the record is not a SampleBatch v1 or breaks one of its rules; ``reason`` says which.
    """
    reader = RecordReader(data)
    parts = _Parts({}, None, None, ())
    for key in reader.fields():
        _read_field(reader, key, parts)
        if key == "schema_version":
            _check_version(parts.header)
    reader.end()
    batch = _assemble(parts)
    check_batch(batch)
    return batch


@dataclass(slots=True)
class _Parts:
    header: dict[str, object]
    tables: Tables | None
    samples: Samples | None
    losses: tuple[Loss, ...]


def _read_field(reader: RecordReader, key: str, parts: _Parts) -> None:
    if key in HEADER_TYPES:
        parts.header[key] = _typed(key, reader.value(), HEADER_TYPES[key])
    elif key in {"sample_type", "period_type"}:
        parts.header[key] = _read_type(key, reader.value())
    elif key == "tables":
        parts.tables = _read_tables(reader)
    elif key == "samples":
        parts.samples = _decode_columns(Samples, reader.value())
    elif key == "losses":
        parts.losses = tuple(reader.array(lambda: _read_loss(reader.value())))
    else:
        reader.skip()


def _check_version(header: dict[str, object]) -> None:
    """Refuse other schemas before reading on: their layout is not ours to judge."""
    if header.get("schema") != SCHEMA:
        raise BadDataError("unknown_schema", f"schema is {header.get('schema')!r}, not {SCHEMA!r} (it must come first)")
    if header["schema_version"] != SCHEMA_VERSION:
        raise BadDataError("unknown_version", f"schema_version is {header['schema_version']}; we read {SCHEMA_VERSION}")


def _assemble(parts: _Parts) -> SampleBatch:
    header = parts.header
    missing = [name for name in (*HEADER_TYPES, "sample_type", "period_type") if name not in header]
    missing += [name for name, part in (("tables", parts.tables), ("samples", parts.samples)) if part is None]
    if missing or parts.tables is None or parts.samples is None:
        raise BadDataError("missing_field", f"the record lacks {', '.join(missing)}")
    known: dict[str, Any] = {k: v for k, v in header.items() if k not in {"schema", "schema_version"}}
    return SampleBatch(tables=parts.tables, samples=parts.samples, losses=parts.losses, **known)


def _read_tables(reader: RecordReader) -> Tables:
    parts: dict[str, Any] = {}
    for name in reader.fields():
        if name == "strings":
            parts[name] = tuple(_typed(name, text, str) for text in reader.array(reader.value))
        elif name == "resources":
            parts[name] = tuple(reader.array(lambda: _read_resource(reader.value())))
        elif name in TABLES:
            parts[name] = _decode_columns(TABLES[name], reader.value())
        else:
            reader.skip()
    missing = [field.name for field in fields(Tables) if field.name not in parts]
    if missing:
        raise BadDataError("missing_field", f"tables lack {', '.join(missing)}")
    return Tables(**parts)


def _decode_columns(table: type[C], value: object) -> C:
    if not isinstance(value, dict):
        raise BadDataError("wrong_type", f"{table.__name__.lower()} is {type(value).__name__}, not a map of columns")
    columns: dict[str, np.ndarray[Any, Any] | None] = {}
    for name, dtype in COLUMN_TYPES[table].items():
        data = value.get(name)
        if data is None and name in _OPTIONAL_COLUMNS:
            columns[name] = None
            continue
        if not isinstance(data, bytes):
            what = "missing" if data is None else type(data).__name__
            raise BadDataError("wrong_type", f"column {table.__name__.lower()}.{name} is {what}, not bin")
        if len(data) % np.dtype(dtype).itemsize:
            raise BadDataError("bad_length", f"column {name} has {len(data)} bytes, not a multiple of {dtype[-1]}")
        columns[name] = np.frombuffer(data, dtype=dtype)
    return table(**columns)


def _read_resource(value: object) -> Resource:
    if not isinstance(value, dict) or not all(isinstance(v, str) for v in value.values()):
        raise BadDataError("wrong_type", "a resource is not a map of strings")
    return tuple(sorted(value.items()))


def _read_loss(value: object) -> Loss:
    if not isinstance(value, dict):
        raise BadDataError("wrong_type", "a loss is not a map")
    return Loss(
        _typed("losses.reason", value.get("reason"), str),
        _typed("losses.samples", value.get("samples"), int),
        _typed("losses.value", value.get("value", 0), int),
    )


def _read_type(key: str, value: object) -> SampleType:
    if not isinstance(value, list) or len(value) != 2 or not all(isinstance(part, str) for part in value):
        raise BadDataError("wrong_type", f"{key} is not a pair of strings")
    return SampleType(value[0], value[1])


def _typed(key: str, value: object, wanted: type[C]) -> C:
    if not isinstance(value, wanted) or (wanted is int and isinstance(value, bool)):
        raise BadDataError("wrong_type", f"{key} is {type(value).__name__}, not {wanted.__name__}")
    return value
