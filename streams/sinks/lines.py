"""InfluxDB line protocol of a window's hotspots. Times are nanoseconds; nothing unbounded is a tag."""

from collections.abc import Iterator

import numpy as np
import xxhash

from streams.hotspots import Parts, Ranked

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


def report_lines(ranked: Ranked) -> Iterator[str]:
    """One ``profile`` point and a ``function`` point per listed function.

    Functions whose tags are the same (one name in several files, or names that only differ in what a tag cannot hold)
    are one point with their sum, whose interval is that of the sum.
    """
    report = ranked.report
    time = report.window_start_unix_nano
    tags = f"kind={tag_value(report.kind)},partition={report.partition},service={tag_value(report.service)}"
    yield (
        f"profile,{tags} total={report.total}i,samples={report.samples!r},lost={report.lost}i,"
        f"dropped={report.dropped}i,late={report.late}i,hosts={report.hosts}i {time}"
    )
    rows: dict[str, list[int]] = {}
    for row, entry in enumerate(report.functions):
        rows.setdefault(tag_value(entry.function), []).append(row)
    own = Parts(
        np.array([sum(report.functions[row].self_value for row in same) for same in rows.values()], dtype=np.int64),
        np.array([ranked.own.variance[same].sum() for same in rows.values()], dtype=np.float64),
    )
    for (tag, same), value, share in zip(rows.items(), own.value.tolist(), ranked.whole.shares(own), strict=True):
        through = sum(report.functions[row].total_value for row in same)
        yield (
            f"function,function={tag},{tags} self={value}i,total={through}i,"
            f"share={share.value!r},share_low={share.low!r},share_high={share.high!r} {time}"
        )
