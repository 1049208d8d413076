"""Record headers: CloudEvents in binary mode on everything we publish, origin and reason on dead letters."""

from dataclasses import dataclass
from datetime import UTC, datetime

from flamebus.errors import BadDataError

CONTENT_TYPE = "application/vnd.msgpack"
SPEC_VERSION = "1.0"
NANOSECONDS_PER_SECOND = 1_000_000_000

Headers = list[tuple[str, bytes]]


def cloud_event(event_id: str, source: str, event_type: str, time_unix_nano: int) -> Headers:
    """CloudEvents 1.0 headers.

    Args:
        event_id: unique per source; the same record sent twice has the same id.
        source: URI reference of the sender, such as ``/agent/host-1`` or ``/stream/samples.cpu.v1/3``.
        event_type: see :func:`flamebus.wire.topics.event_type`.
        time_unix_nano: event time; RFC 3339 in UTC on the wire.
    """
    seconds, nanoseconds = divmod(time_unix_nano, NANOSECONDS_PER_SECOND)
    time = f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%dT%H:%M:%S}.{nanoseconds:09d}Z"
    fields = {
        "ce_specversion": SPEC_VERSION,
        "ce_id": event_id,
        "ce_source": source,
        "ce_type": event_type,
        "ce_time": time,
        "content-type": CONTENT_TYPE,
    }
    return [(name, value.encode()) for name, value in fields.items()]


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """Why a record could not be used, and where it was.

    Attributes:
        reason: stable word (``truncated``, ``unknown_version``, ``hash_mismatch``, ``clock_skew``, …).
        detail: one sentence for people.
        topic, partition, offset: where the record lies in the log; together they name it for ever.
        append_unix_nano: when the broker took it.
    """

    reason: str
    detail: str
    topic: str
    partition: int
    offset: int
    append_unix_nano: int

    def headers(self) -> Headers:
        """As Kafka headers; numbers in decimal."""
        return [
            ("flamebus_reason", self.reason.encode()),
            ("flamebus_detail", self.detail.encode()),
            ("flamebus_topic", self.topic.encode()),
            ("flamebus_partition", str(self.partition).encode()),
            ("flamebus_offset", str(self.offset).encode()),
            ("flamebus_append_unix_nano", str(self.append_unix_nano).encode()),
        ]

    @classmethod
    def from_headers(cls, headers: Headers) -> "DeadLetter":
        """Read them back.

        Raises:
            BadDataError: ``missing_field`` or ``wrong_type``: the record is not a dead letter of ours.
        """
        values = {name: value.decode(errors="replace") for name, value in headers}
        try:
            return cls(
                reason=values["flamebus_reason"],
                detail=values["flamebus_detail"],
                topic=values["flamebus_topic"],
                partition=int(values["flamebus_partition"]),
                offset=int(values["flamebus_offset"]),
                append_unix_nano=int(values["flamebus_append_unix_nano"]),
            )
        except KeyError as error:
            raise BadDataError("missing_field", f"not a dead letter: header {error} is missing") from error
        except ValueError as error:
            raise BadDataError("wrong_type", f"not a dead letter: {error}") from error
