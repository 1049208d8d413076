"""What a worker counts; docs/metrics.md has a heading for each."""

from flamebus.metrics import counter, gauge

RECORDS = counter("stream_records", "Records read, ticks included", ["topic"])
LATE = counter("stream_late_samples", "Samples that came after their window had closed", ["topic"])
DUPLICATES = counter("stream_duplicate_batches", "Batches seen again and dropped", ["topic"])
DEAD_LETTERS = counter("stream_dead_letters", "Records sent to the dead letters", ["reason"])
WINDOWS = counter("stream_windows", "Windows that every sink has", ["topic"])
POINTS = counter("stream_points_written", "Points that InfluxDB took")
REFUSED_LINES = counter("stream_refused_lines", "Lines that InfluxDB refused and that went to the dead letters")
SINK_RETRIES = counter("stream_sink_retries", "Writes tried again", ["sink", "reason"])
SINK_BLOCKED = gauge("stream_sink_blocked", "1 while a sink refuses us for a reason that a person must mend", ["sink"])
LAG = gauge("stream_lag_records", "Records between the last one read and the log's end", ["topic", "partition"])
WATERMARK_DELAY = gauge("stream_watermark_delay_seconds", "Wall clock minus watermark", ["topic", "partition"])
EXITS = counter("stream_unexpected_errors", "Errors that end the process so that its supervisor starts it again")
