"""The one table of topics: names, what they hold, how the broker keeps them."""

from dataclasses import dataclass, field
from datetime import timedelta

from flamebus.profile import Kind

DEFAULT_PREFIX = "flamebus."
DEFAULT_PARTITIONS = 4
MAX_MESSAGE_BYTES = 1_048_576
"""The broker's usual limit, stated so that it does not depend on the broker's settings."""


@dataclass(frozen=True, slots=True)
class Topic:
    """One topic of the contract.

    Attributes:
        stem: name without the prefix, such as ``samples.cpu.v1``.
        title: what it holds, in one sentence.
        key, value: what records carry.
        cleanup_policy: ``delete`` or ``compact``; retention: how long records stay (ignored when compacted).
        has_append_time: whether the broker stamps records itself; streams measure lateness against that stamp.
    """

    stem: str
    title: str
    key: str
    value: str
    cleanup_policy: str = "delete"
    retention: timedelta = field(default=timedelta(days=7))
    has_append_time: bool = False

    def name(self, prefix: str = DEFAULT_PREFIX) -> str:
        """Full name under a prefix."""
        return prefix + self.stem

    def broker_config(self) -> dict[str, str]:
        """Topic settings for Kafka's admin API."""
        config = {"cleanup.policy": self.cleanup_policy, "max.message.bytes": str(MAX_MESSAGE_BYTES)}
        if self.cleanup_policy == "delete":
            config["retention.ms"] = str(int(self.retention.total_seconds() * 1000))
        if self.has_append_time:
            config["message.timestamp.type"] = "LogAppendTime"
        return config


def samples_topic(kind: str) -> Topic:
    """The topic that producers of one kind write."""
    return Topic(
        stem=f"samples.{kind}.v1",
        title=f"Samples of kind {kind}, as agents and importers publish them, and ticks.",
        key="service, optionally service#shard (UTF-8)",
        value="SampleBatch v1 or Tick v1",
        retention=timedelta(hours=12),
        has_append_time=True,
    )


WINDOWS = Topic(
    stem="windows.v1",
    title="Merged profile of every (service, kind, window): a batch whose samples are aggregated.",
    key="service (UTF-8)",
    value="SampleBatch v1 without time_delta",
    retention=timedelta(days=3),
)
HOTSPOTS = Topic(
    stem="hotspots.v1",
    title="Functions and stacks ranked by their share of each window, with intervals.",
    key="service (UTF-8)",
    value="HotspotReport v1",
)
DEADLETTER = Topic(
    stem="deadletter.v1",
    title="Records that could not be used, bytes untouched; reason and origin are in the headers.",
    key="the original record's key",
    value="the original record's bytes",
    retention=timedelta(days=28),
)


def all_topics() -> tuple[Topic, ...]:
    """Every topic that a running flamebus needs."""
    return (*(samples_topic(kind) for kind in Kind), WINDOWS, HOTSPOTS, DEADLETTER)


def event_type(stem: str) -> str:
    """CloudEvents type of the records of a topic: ``flamebus.`` and the stem, whatever the prefix setting says."""
    return f"flamebus.{stem}"
