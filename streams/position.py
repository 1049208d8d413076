"""What one offset commit says: where to read on, and what had been decided by then."""

import json
from dataclasses import dataclass

from flamebus.errors import BadDataError


@dataclass(frozen=True, slots=True)
class Position:
    """State of a partition that survives a restart; the rest is a pure function of the log from here on.

    Attributes:
        offset: next record to read.
        watermark_unix_nano: the watermark before that record.
        emitted_up_to_unix_nano: windows that end here or earlier are in every sink; rebuilt, they are not
            sent again.
    """

    offset: int
    watermark_unix_nano: int
    emitted_up_to_unix_nano: int

    def metadata(self) -> str:
        """The part that travels as the commit's metadata, so that it moves with the offset or not at all."""
        return json.dumps({"watermark": self.watermark_unix_nano, "emitted_up_to": self.emitted_up_to_unix_nano})

    @classmethod
    def parse(cls, offset: int, metadata: str) -> "Position":
        """Read a commit back.

        Raises:
            BadDataError: ``malformed``: somebody else's commit.
        """
        try:
            values = json.loads(metadata)
            return cls(offset, int(values["watermark"]), int(values["emitted_up_to"]))
        except (ValueError, KeyError, TypeError) as error:
            raise BadDataError("malformed", f"not the metadata of a flamebus commit: {metadata!r}") from error
