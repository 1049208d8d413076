"""What a worker counts; docs/metrics.md has a heading for each.

Counters begin at nought when a worker starts, and what is read again after a restart is counted again: sums that have
to agree are taken from InfluxDB, not from here.
"""

from flamebus.metrics import counter, gauge

RECORDS = counter("stream_records", "Records taken in, ticks included", ["topic"])
SAMPLES = counter("stream_samples", "Samples taken in (sums of weights)", ["topic"])
LATE = counter("stream_late_samples", "Samples that came after their window had closed", ["topic"])
DUPLICATES = counter("stream_duplicate_batches", "Batches seen again and dropped", ["topic"])
DEAD_LETTERS = counter("stream_dead_letters", "Records sent to the dead letters", ["reason"])
GHOSTS = counter("stream_ghost_windows", "Windows computed again after a restart and not sent again", ["topic"])
PARTIAL_WINDOWS = counter("stream_partial_windows", "Windows not sent because the log misses a part of them", ["topic"])
PARTIAL_SAMPLES = counter("stream_partial_samples", "Samples in such windows", ["topic"])
RETENTION_LOST = counter(
    "stream_retention_lost_records", "Records that the broker deleted before they were read", ["topic"]
)
LOG_GAPS = counter("stream_log_gap_records", "Offsets that the log itself does not have", ["topic"])
COMMITS_REFUSED = counter("stream_unusable_commits", "Commits that a partition could not start from", ["reason"])
WINDOWS = counter("stream_windows", "Windows that every sink has", ["topic"])
POINTS = counter("stream_points_written", "Points that InfluxDB took")
REFUSED_LINES = counter("stream_refused_lines", "Lines that InfluxDB refused and that went to the dead letters")
SINK_RETRIES = counter("stream_sink_retries", "Writes tried again", ["sink", "reason"])
SINK_BLOCKED = gauge("stream_sink_blocked", "1 while a sink takes nothing and we wait for it", ["sink"])
LAG = gauge("stream_lag_records", "Records between the last one taken in and the log's end", ["topic", "partition"])
WATERMARK_DELAY = gauge("stream_watermark_delay_seconds", "Wall clock minus watermark", ["topic", "partition"])
COMMITTED = gauge("stream_committed_offset", "Offset of the last acknowledged commit", ["topic", "partition"])
EXITS = counter("stream_unexpected_errors", "Errors that end the process so that its supervisor starts it again")
