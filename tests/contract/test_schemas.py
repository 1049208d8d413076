"""docs/schemas and docs/asyncapi.json say what the code does."""

from __future__ import annotations

import base64
import copy
import json
from pathlib import Path
from typing import Any

import msgpack
import numpy as np
import pytest
from jsonschema import Draft7Validator, Draft202012Validator
from referencing import Registry, Resource

from flamebus.wire.batch import COLUMN_TYPES, TABLES, decode_batch
from flamebus.wire.json_schema import file_name, schemas
from flamebus.wire.schemas import documents, write
from flamebus.wire.topics import all_topics
from tests.support.golden import GOLDEN

DOCS = Path(__file__).resolve().parents[2] / "docs"
DATA = Path(__file__).resolve().parent.parent / "data"
RECORDS = ("sample_batch", "window_batch", "hotspot_report", "tick")
HEADERS = ("dead_letter_headers", "cloud_event_headers")


def as_json(value: Any) -> Any:
    """Decoded MessagePack with bin as base64, which is how the schemas describe it."""
    if isinstance(value, dict):
        return {key: as_json(each) for key, each in value.items()}
    if isinstance(value, list):
        return [as_json(each) for each in value]
    return base64.b64encode(value).decode() if isinstance(value, bytes) else value


def golden(name: str) -> Any:
    return msgpack.unpackb((GOLDEN / f"{name}.v1.msgpack").read_bytes())


def validator(name: str) -> Draft202012Validator:
    written = [json.loads(path.read_text()) for path in (DOCS / "schemas").glob("*.json")]
    registry: Registry[Any] = Registry().with_resources((s["$id"], Resource.from_contents(s)) for s in written)
    schema = json.loads((DOCS / "schemas" / file_name(name)).read_text())
    return Draft202012Validator(schema, registry=registry)


def test_the_files_are_current() -> None:
    """`make schemas` writes them anew."""
    written = {f"schemas/{path.name}": path.read_text() for path in (DOCS / "schemas").iterdir()}
    assert {**written, "asyncapi.json": (DOCS / "asyncapi.json").read_text()} == documents()


def test_what_is_no_more_is_removed(tmp_path: Path) -> None:
    (tmp_path / "schemas").mkdir()
    (tmp_path / "schemas" / "gone.v1.json").write_text("{}")
    write(tmp_path)
    assert not (tmp_path / "schemas" / "gone.v1.json").exists()
    assert (tmp_path / "asyncapi.json").read_text() == documents()["asyncapi.json"]


@pytest.mark.parametrize("name", [*RECORDS, *HEADERS])
def test_schemas_are_schemas(name: str) -> None:
    Draft202012Validator.check_schema(schemas()[name])


@pytest.mark.parametrize("name", RECORDS)
def test_golden_records_are_valid(name: str) -> None:
    validator(name).validate(as_json(golden(name)))


@pytest.mark.parametrize("name", HEADERS)
def test_golden_headers_are_valid(name: str) -> None:
    headers = {key: value.decode() for key, value in golden(name)}
    validator(name).validate(headers)
    for key in headers:
        assert not validator(name).is_valid({each: headers[each] for each in headers if each != key})


@pytest.mark.parametrize("name", RECORDS)
def test_a_record_without_one_of_its_fields_is_not_valid(name: str) -> None:
    record, check = as_json(golden(name)), validator(name)
    for key in record.keys() - {"losses"}:
        assert not check.is_valid({each: record[each] for each in record if each != key}), key


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (("schema",), "flamebus.tick"), (("schema_version",), 2), (("sequence",), -1), (("sequence",), 2**63),
        (("batch_id",), "QQ=="), (("kind",), "../x"), (("sample_type",), ["cpu"]), (("tables", "strings"), ["x"]),
        (("tables", "strings"), []), (("tables", "stacks", "id"), [1]), (("samples", "weight"), None),
        (("losses",), [{"reason": "x"}]), (("tables", "resources"), [{"service.name": 1}]),
    ],
)  # fmt: skip
def test_a_batch_that_the_decoder_refuses_is_not_valid(path: tuple[str, ...], value: object) -> None:
    record = as_json(golden("sample_batch"))
    parent = record
    for key in path[:-1]:
        parent = parent[key]
    parent[path[-1]] = value
    assert not validator("sample_batch").is_valid(record)


def test_a_window_has_no_times() -> None:
    assert not validator("window_batch").is_valid(as_json(golden("sample_batch")))
    assert validator("sample_batch").is_valid(as_json(golden("window_batch")))


def test_columns_are_what_their_schema_says() -> None:
    schema, record = schemas()["sample_batch"], golden("sample_batch")
    batch = decode_batch((GOLDEN / "sample_batch.v1.msgpack").read_bytes())
    parts: Any = schema["properties"]
    tables = {name: (parts["tables"]["properties"][name], record["tables"][name]) for name in TABLES}
    for name, (described, columns) in {**tables, "samples": (parts["samples"], record["samples"])}.items():
        table = batch.samples if name == "samples" else getattr(batch.tables, name)
        assert set(described["properties"]) == set(columns) == set(COLUMN_TYPES[type(table)])
        for column, data in columns.items():
            found = np.frombuffer(data, described["properties"][column]["x-dtype"])
            assert np.array_equal(found, getattr(table, column))


@pytest.fixture(scope="module")
def asyncapi() -> Any:
    return json.loads((DOCS / "asyncapi.json").read_text())


@pytest.fixture(scope="module")
def specification() -> Draft7Validator:
    return Draft7Validator(json.loads((DATA / "asyncapi-3.0.0.json").read_text()))


def test_the_asyncapi_document_is_valid(asyncapi: Any, specification: Draft7Validator) -> None:
    specification.validate(asyncapi)


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (("asyncapi",), "2.6.0"), (("info",), {}), (("channels", "windows_v1", "address"), 5),
        (("operations", "stream_sends_windows_v1", "action"), "publish"), (("servers",), {"a": {"host": "x"}}),
        (("channels", "windows_v1", "bindings", "kafka", "topicConfiguration", "cleanup.policy"), "delete"),
    ],
)  # fmt: skip
def test_the_specification_would_say_so_if_it_were_not(
    asyncapi: Any, specification: Draft7Validator, path: tuple[str, ...], value: object
) -> None:
    broken = copy.deepcopy(asyncapi)
    parent = broken
    for key in path[:-1]:
        parent = parent[key]
    parent[path[-1]] = value
    assert not specification.is_valid(broken)


def test_the_asyncapi_document_has_every_topic_as_it_is_created(asyncapi: Any) -> None:
    channels = {channel["address"]: channel for channel in asyncapi["channels"].values()}
    assert set(channels) == {topic.name() for topic in all_topics()}
    for topic in all_topics():
        config = channels[topic.name()]["bindings"]["kafka"]["topicConfiguration"]
        written = {key: ",".join(value) if isinstance(value, list) else str(value) for key, value in config.items()}
        assert written == topic.broker_config()
        assert topic.key in channels[topic.name()]["description"]


def test_references_of_the_asyncapi_document_lead_somewhere(asyncapi: Any) -> None:
    def references(value: Any) -> list[str]:
        if isinstance(value, list):
            return [found for each in value for found in references(each)]
        if not isinstance(value, dict):
            return []
        own = [value["$ref"]] if "$ref" in value else []
        return own + [found for each in value.values() for found in references(each)]

    found = references(asyncapi)
    assert len(found) > 10
    for reference in found:
        path, _, pointer = reference.partition("#/")
        target = json.loads((DOCS / path).read_text()) if path else asyncapi
        for key in filter(None, pointer.split("/")):
            target = target[key]
        assert target
