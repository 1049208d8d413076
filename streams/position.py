"""What one offset commit says: where to read on, and what had been decided by then."""

import json
from dataclasses import dataclass, replace

from flamebus.errors import BadDataError


@dataclass(frozen=True, slots=True)
class Position:
    """State of a partition that survives a restart; the rest is a pure function of the log from here on.

    Attributes:
        offset: next record to read.
        watermark_unix_nano: the watermark before that record.
        emitted_up_to_unix_nano: windows that end here or earlier are in every sink; rebuilt, they are not
            sent again.
        is_partial: records before this one are missing (the log's beginning is gone, or a commit could not be read), so
            the windows up to that of the next batch are incomplete: they are rebuilt and counted, but not sent, lest
            they overwrite complete ones.
        window_size_ns: of the windows that this was computed with; 0 when unknown.
    """

    offset: int
    watermark_unix_nano: int = 0
    emitted_up_to_unix_nano: int = 0
    is_partial: bool = False
    window_size_ns: int = 0

    def metadata(self) -> str:
        """The part that travels as the commit's metadata, so that it moves with the offset or not at all."""
        values: dict[str, int] = {"watermark": self.watermark_unix_nano, "emitted_up_to": self.emitted_up_to_unix_nano}
        values |= {"window": self.window_size_ns} if self.window_size_ns else {}
        return json.dumps(values | ({"partial": 1} if self.is_partial else {}))

    def for_window_size(self, size_ns: int) -> "Position":
        """The same for windows of this size: one that was sent in part, by windows of another size, counts as sent."""
        emitted_up_to = -(-self.emitted_up_to_unix_nano // size_ns) * size_ns
        return replace(self, emitted_up_to_unix_nano=emitted_up_to, window_size_ns=size_ns)

    @classmethod
    def parse(cls, offset: int, metadata: str) -> "Position":
        """Read a commit back.

        Raises:
            BadDataError: ``malformed``: somebody else's commit.
        """
        try:
            values = json.loads(metadata)
            return cls(
                offset,
                _time(values["watermark"]),
                _time(values["emitted_up_to"]),
                bool(values.get("partial")),
                _time(values.get("window", 0)),
            )
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
            raise BadDataError("malformed", f"not the metadata of a flamebus commit: {metadata[:80]!r}") from error


def _time(value: object) -> int:
    if not isinstance(value, int) or not 0 <= value < 2**63:
        raise ValueError("not a time")
    return value
