"""Records that cannot be used, end to end: each goes to the dead letters with its reason, and nothing else is lost."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from flamebus.wire.batch import encode_batch
from tests.support.stream_logs import lying, weight_of
from tests.support.stream_topic import StreamTopic

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.servers import RealServer

pytestmark = pytest.mark.timeout(240)


def test_bad_records_are_buried_and_good_counted(kafka: RealServer, kafka_topic_prefix: str, tmp_path: Path) -> None:
    topic = StreamTopic(kafka, kafka_topic_prefix, tmp_path)
    topic.create()
    try:
        worker = topic.worker()
        worker.start()
        worker.wait_until_reading()
        good, other = topic.batch(), topic.batch()
        ahead = topic.batch(ago_s=-60)
        ancient = replace(topic.batch(), start_unix_nano=10**9, end_unix_nano=2 * 10**9)
        padding = tuple(f"{number:0>4096}" for number in range(2_200))
        bomb = replace(other, tables=replace(other.tables, strings=other.tables.strings + padding))
        data = encode_batch(other)
        topic.publish(
            encode_batch(good),
            *(b"", data[: len(data) // 2], data.replace(b"\xaeschema_version\x01", b"\xaeschema_version\x7f", 1)),
            *(encode_batch(lying(other)), encode_batch(ahead), encode_batch(bomb), data + b"\x00"),
            encode_batch(ancient),
            data,
        )
        worker.wait_for("flamebus_stream_dead_letters_total", 7)
        worker.wait_for("flamebus_stream_samples_total", sum(map(weight_of, (good, ancient, other))))
        assert worker.metric("flamebus_stream_late_samples_total") == weight_of(ancient)
        worker.wait_for("flamebus_stream_windows_total", 1)
        letters = topic.dead_letters()
        assert Counter(letter["flamebus_reason"] for letter in letters) == Counter(
            ["empty", "truncated", "unknown_version", "hash_mismatch", "clock_skew", "oversized", "trailing_bytes"]
        )
        (skewed,) = [letter for letter in letters if letter["flamebus_reason"] == "clock_skew"]
        assert "ahead of the broker's clock" in skewed["flamebus_detail"]
        (oversized,) = [letter for letter in letters if letter["flamebus_reason"] == "oversized"]
        assert int(oversized["size"]) == len(encode_batch(bomb)), "its bytes are untouched"
        topic.wait_for_commit_past(int(skewed["flamebus_offset"]))
    finally:
        topic.stop()
