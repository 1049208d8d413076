"""InfluxDB line protocol of a window's report. Times are nanoseconds; nothing unbounded is a tag."""

from collections.abc import Iterator

from flamebus.hotspot import HotspotReport

_TAG_ESCAPES = str.maketrans({",": r"\,", "=": r"\=", " ": r"\ ", "\n": r"\ ", "\r": r"\ ", "\t": r"\ "})


def tag_value(text: str) -> str:
    r"""A tag's value, escaped. A trailing backslash would escape the separator, so a space follows it."""
    escaped = text.translate(_TAG_ESCAPES)
    return (escaped + r"\ " if escaped.endswith("\\") else escaped) or "-"


def report_lines(report: HotspotReport) -> Iterator[str]:
    """One ``profile`` point and a ``function`` point per listed function.

    A function's name may come from several files of a process; their values are added, since the file is no tag.
    """
    time = report.window_start_unix_nano
    tags = f"kind={tag_value(report.kind)},partition={report.partition},service={tag_value(report.service)}"
    yield (
        f"profile,{tags} total={report.total}i,samples={report.samples!r},lost={report.lost}i,"
        f"dropped={report.dropped}i,late={report.late}i,hosts={report.hosts}i {time}"
    )
    merged: dict[str, list[float]] = {}
    for entry in report.functions:
        share = entry.self_share
        sums = merged.setdefault(entry.function, [0, 0, 0.0, 0.0, 0.0])
        values = (entry.self_value, entry.total_value, share.value, share.low, share.high)
        merged[entry.function] = [total + value for total, value in zip(sums, values, strict=True)]
    for function, (own, total, value, low, high) in merged.items():
        yield (
            f"function,function={tag_value(function)},{tags} self={int(own)}i,total={int(total)}i,"
            f"share={min(value, 1.0)!r},share_low={min(low, 1.0)!r},share_high={min(high, 1.0)!r} {time}"
        )
