"""The AsyncAPI 3 document: topics, keys, headers, cleanup and retention, made from the one table of topics."""

from flamebus.profile import Kind
from flamebus.wire.headers import CONTENT_TYPE
from flamebus.wire.json_schema import DIALECT, file_name
from flamebus.wire.topics import (
    DEADLETTER,
    DEFAULT_PARTITIONS,
    DEFAULT_PREFIX,
    HOTSPOTS,
    WINDOWS,
    Topic,
    event_type,
    samples_topic,
)

Document = dict[str, object]

_BINDING = "0.5.0"
_FORMAT = "application/schema+json;version=draft-2020-12"
_MESSAGES = {
    "sampleBatch": ("SampleBatch v1", "sample_batch", "cloud_event_headers"),
    "tick": ("Tick v1: what time it is, so that idle partitions move on", "tick", None),
    "windowBatch": ("SampleBatch v1 of a window", "window_batch", "cloud_event_headers"),
    "hotspotReport": ("HotspotReport v1", "hotspot_report", "cloud_event_headers"),
    "deadLetter": ("The original record, bytes untouched", None, "dead_letter_headers"),
}
"""Title, schema of the value and schema of the headers, by message."""


def document(version: str) -> Document:
    """The whole document.

    Args:
        version: of the contract, shown as the document's own.
    """
    channels: Document = {}
    operations: Document = {}
    for topic, messages, senders, receivers in _uses():
        channel = topic.stem.replace(".", "_")
        channels[channel] = _channel(topic, messages)
        for who in senders:
            operations[f"{who}_sends_{channel}"] = _operation("send", channel)
        for who in receivers:
            operations[f"{who}_receives_{channel}"] = _operation("receive", channel)
    return {
        "asyncapi": "3.0.0",
        "info": {
            "title": "flamebus",
            "version": version,
            "description": f"What flamebus says on Kafka. The prefix {DEFAULT_PREFIX!r} of topics is a setting.",
            "license": {"name": "Apache-2.0"},
        },
        "defaultContentType": CONTENT_TYPE,
        "channels": channels,
        "operations": operations,
        "components": {"messages": {name: _message(*parts) for name, parts in _MESSAGES.items()}},
    }


def _uses() -> list[tuple[Topic, list[str], list[str], list[str]]]:
    """Every topic, the messages in it, who sends them, and which of our own processes receives them."""
    samples = [(samples_topic(kind), ["sampleBatch", "tick"], ["agent", "stream"], ["stream"]) for kind in Kind]
    return [
        *samples,
        (WINDOWS, ["windowBatch"], ["stream"], []),
        (HOTSPOTS, ["hotspotReport"], ["stream"], []),
        (DEADLETTER, ["deadLetter"], ["stream"], []),
    ]


def _channel(topic: Topic, messages: list[str]) -> Document:
    config: Document = {**topic.broker_config()}
    config["cleanup.policy"] = [topic.cleanup_policy]
    config |= {name: int(str(config[name])) for name in ("retention.ms", "max.message.bytes") if name in config}
    return {
        "address": topic.name(),
        "title": topic.stem,
        "description": f"{topic.title} Key: {topic.key}.",
        "messages": {name: {"$ref": f"#/components/messages/{name}"} for name in messages},
        "bindings": {
            "kafka": {
                "topic": topic.name(),
                "partitions": DEFAULT_PARTITIONS,
                "topicConfiguration": config,
                "bindingVersion": _BINDING,
            }
        },
        "x-event-type": event_type(topic.stem),
    }


def _operation(action: str, channel: str) -> Document:
    return {"action": action, "channel": {"$ref": f"#/channels/{channel}"}}


def _message(title: str, payload: str | None, headers: str | None) -> Document:
    result: Document = {"title": title, "contentType": CONTENT_TYPE}
    if headers:
        result["headers"] = _schema(headers)
    if payload:
        result["payload"] = _schema(payload)
    if headers:
        result["bindings"] = {"kafka": {"key": {"type": "string"}, "bindingVersion": _BINDING}}
    if not payload:
        result["contentType"] = "application/octet-stream"
    return result


def _schema(record: str) -> Document:
    return {"schemaFormat": _FORMAT, "schema": {"$schema": DIALECT, "$ref": f"schemas/{file_name(record)}"}}
