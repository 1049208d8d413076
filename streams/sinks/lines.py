"""InfluxDB line protocol of a window's hotspots. Times are nanoseconds; nothing unbounded is a tag."""

from collections.abc import Iterator

import numpy as np
import xxhash

from flamebus.hotspot import HotspotReport
from flamebus.interval import effective_count
from streams.closed import ClosedProfile
from streams.hotspots import shares

MAX_TAG_BYTES = 1_024
"""InfluxDB refuses a series key of 64 KB; C++ has names of that size, and nobody reads more than this."""

_ESCAPES = {",": r"\,", "=": r"\=", " ": r"\ "}
# A backslash escapes whatever follows it, also the comma after the value, and cannot be escaped itself.
_REPLACED = {"\\": "⧵", "\x7f": r"\ ", **{chr(code): r"\ " for code in range(32)}}
_TRANSLATION = str.maketrans(_ESCAPES | _REPLACED)


def tag_value(text: str) -> str:
    r"""A tag's value, escaped: control characters become spaces, backslashes ``⧵``, what is too long ends in a hash."""
    encoded = text.encode()
    if len(encoded) > MAX_TAG_BYTES:
        kept = encoded[: MAX_TAG_BYTES - 20].decode(errors="ignore")
        text = f"{kept}…{xxhash.xxh3_64_intdigest(encoded):016x}"
    return text.translate(_TRANSLATION) or "-"


def report_lines(closed: ClosedProfile, report: HotspotReport) -> Iterator[str]:
    """One ``profile`` point and a ``function`` point per listed function.

    Functions whose tags are the same (one name in several files, or names that only differ in what a tag cannot hold)
    are one point with their sum, whose interval is that of the sum.
    """
    time = report.window_start_unix_nano
    tags = f"kind={tag_value(report.kind)},partition={report.partition},service={tag_value(report.service)}"
    yield (
        f"profile,{tags} total={report.total}i,samples={report.samples!r},lost={report.lost}i,"
        f"dropped={report.dropped}i,late={report.late}i,hosts={report.hosts}i {time}"
    )
    own, whole = dict[str, int](), dict[str, int]()
    for entry in report.functions:
        tag = tag_value(entry.function)
        own[tag] = own.get(tag, 0) + entry.self_value
        whole[tag] = whole.get(tag, 0) + entry.total_value
    count = effective_count(float(report.total), float(closed.profile.rows.variance.sum()))
    of_self = shares(np.array(list(own.values()), dtype=np.int64), report.total, count)
    for tag, share in zip(own, of_self, strict=True):
        yield (
            f"function,function={tag},{tags} self={own[tag]}i,total={whole[tag]}i,"
            f"share={share.value!r},share_low={share.low!r},share_high={share.high!r} {time}"
        )
