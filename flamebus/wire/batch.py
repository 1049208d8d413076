"""SampleBatch v1 as MessagePack: maps with string keys, columns as little-endian ``bin`` that numpy reads in place."""

from dataclasses import fields
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
from flamebus.wire.reader import OBJECT_BYTES, RecordReader
from flamebus.wire.scalars import Scalar, check_complete, check_schema, read_scalar, read_text
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

HEADER: dict[str, Scalar] = {
    "batch_id": Scalar.ID,
    "sequence": Scalar.COUNT,
    "host": Scalar.TEXT,
    "boot_id": Scalar.TEXT,
    "agent_version": Scalar.TEXT,
    "kind": Scalar.WORD,
    "period": Scalar.COUNT,
    "start_unix_nano": Scalar.COUNT,
    "end_unix_nano": Scalar.COUNT,
}
"""The single values besides ``schema`` and ``schema_version``."""

SAMPLE_TYPES = ("sample_type", "period_type")
"""Fields that are a pair of strings: type and unit."""

LOSS: dict[str, Scalar] = {"reason": Scalar.WORD, "samples": Scalar.COUNT, "value": Scalar.COUNT}
"""Fields of one loss."""

OPTIONAL_COLUMNS = frozenset({"time_delta"})

_DTYPES = {table: {name: np.dtype(text) for name, text in types.items()} for table, types in COLUMN_TYPES.items()}

_RESOURCE_BYTES, _ATTRIBUTE_BYTES = 96, 2 * OBJECT_BYTES
_LOSS_BYTES = 256  # the object, its reason, two large numbers and two places
_MAX_ATTRIBUTE_NAMES = 256
"""Distinct names in one batch: OpenTelemetry defines some dozens for resources."""

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

    Columns are read in place, from the bytes that msgpack cut out of the record; they are read-only. The ids of stacks
    are believed here; whoever meets an id for the first time compares it (``StackReader.stack_id``).

    Raises:
        BadDataError: the record is not a SampleBatch v1 or breaks one of its rules; ``reason`` says which.
    """
    reader = RecordReader(data)
    parts: dict[str, Any] = {}
    for key in reader.fields():
        _read_field(reader, key, parts)
        if key == "schema_version":
            # Refuse others before reading on: their layout is not ours to judge.
            check_schema(parts, SCHEMA, SCHEMA_VERSION)
    reader.end()
    check_schema(parts, SCHEMA, SCHEMA_VERSION)
    check_complete(parts, *HEADER, *SAMPLE_TYPES, "tables", "samples")
    del parts["schema"], parts["schema_version"]
    batch = SampleBatch(**parts)
    check_batch(batch)
    return batch


def _read_field(reader: RecordReader, key: str, parts: dict[str, Any]) -> None:
    if key in HEADER:
        parts[key] = read_scalar(key, reader.value(), HEADER[key])
    elif key in {"schema", "schema_version"}:
        parts[key] = reader.value()
    elif key in SAMPLE_TYPES:
        parts[key] = _read_type(reader, key)
    elif key == "tables":
        parts[key] = _read_tables(reader)
    elif key == "samples":
        parts[key] = _read_columns(reader, Samples)
    elif key == "losses":
        parts[key] = tuple(reader.array(lambda: _read_loss(reader), _LOSS_BYTES))
    else:
        reader.skip()


def _read_tables(reader: RecordReader) -> Tables:
    parts: dict[str, Any] = {}
    for name in reader.fields():
        if name == "strings":
            parts[name] = tuple(reader.texts())
        elif name == "resources":
            parts[name] = _read_resources(reader)
        elif name in TABLES:
            parts[name] = _read_columns(reader, TABLES[name])
        else:
            reader.skip()
    check_complete(parts, *(field.name for field in fields(Tables)))
    return Tables(**parts)


def _read_columns(reader: RecordReader, table: type[C]) -> C:
    types = _DTYPES[table]
    found = reader.values(types)
    columns: dict[str, np.ndarray[Any, Any] | None] = {}
    for name, dtype in types.items():
        data = found.get(name)
        if type(data) is bytes and not len(data) % dtype.itemsize:
            columns[name] = np.frombuffer(data, dtype)
        elif name in OPTIONAL_COLUMNS and name not in found:
            columns[name] = None
        else:
            raise _bad_column(table, name, found)
    return table(**columns)


def _bad_column(table: type, name: str, found: dict[str, object]) -> BadDataError:
    """Why a column cannot be used."""
    title, data = f"{table.__name__.lower()}.{name}", found.get(name)
    if name not in found:
        missing = [each for each in COLUMN_TYPES[table] if each not in found and each not in OPTIONAL_COLUMNS]
        return BadDataError("missing_field", f"the record lacks {', '.join(missing)}")
    if not isinstance(data, bytes):
        return BadDataError("wrong_type", f"column {title} is {type(data).__name__}, not bin")
    return BadDataError(
        "bad_length", f"column {title} has {len(data)} bytes, no whole number of {COLUMN_TYPES[table][name]}"
    )


def _read_resources(reader: RecordReader) -> tuple[Resource, ...]:
    names: dict[str, str] = {}
    return tuple(reader.array(lambda: _read_resource(reader, names), _RESOURCE_BYTES))


def _read_resource(reader: RecordReader, names: dict[str, str]) -> Resource:
    """Attributes sorted by name; ``names`` keeps each name once for all resources of a batch."""
    attributes = []
    for name in reader.fields():
        reader.spend(_ATTRIBUTE_BYTES)
        attributes.append((names.setdefault(name, name), read_text("an attribute of a resource", reader.value())))
    if len(names) > _MAX_ATTRIBUTE_NAMES:
        raise BadDataError("bad_length", f"resources have more than {_MAX_ATTRIBUTE_NAMES} different attributes")
    return tuple(sorted(attributes))


def _read_loss(reader: RecordReader) -> Loss:
    parts: dict[str, Any] = {}
    for name in reader.fields():
        if name in LOSS:
            parts[name] = read_scalar(f"losses.{name}", reader.value(), LOSS[name])
        else:
            reader.skip()
    check_complete(parts, *LOSS)
    return Loss(**parts)


def _read_type(reader: RecordReader, key: str) -> SampleType:
    reader.enter_array(2)
    return SampleType(read_text(key, reader.value()), read_text(key, reader.value()))
