"""Seconds from the end of a window until its numbers can be read from InfluxDB: agents, Kafka, a worker, the database.

Every service publishes a batch per interval, a moment after its end as agents do; the end of a window and the first
answer of the database that has its point are compared, polling many times a second.
"""

import argparse
import statistics
import tempfile
import threading
import time
from pathlib import Path

from benchmarks.report import Figure, main
from benchmarks.worker_load import Encoded, Fleet
from benchmarks.worker_stage import WorkerStage
from flamebus.window import DEFAULT_LATENESS_NS, DEFAULT_WINDOW_SIZE_NS, window_start

SEED = 1
HOSTS = 4
SERVICES = 4
WINDOWS = 12
PUBLISHED_AFTER_S = 0.3
"""Agents publish within a second after the interval's end; the worker waits for the allowed lateness in any case."""

BAR_P95_S = 5.0
POLL_S = 0.02
DEADLINE_S = 30


class Publisher:
    """Publishes a window's batches soon after its end, from a thread."""

    def __init__(self, stage: WorkerStage, fleet: Fleet, first_start: int, windows: int) -> None:
        self._stage, self._fleet = stage, fleet
        self._starts = [first_start + number * DEFAULT_WINDOW_SIZE_NS for number in range(windows)]
        self._thread = threading.Thread(target=self._run, name="publisher", daemon=True)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def _run(self) -> None:
        producer = self._stage.publisher()
        for start in self._starts:
            records: list[Encoded] = list(self._fleet.window(start, HOSTS))
            time.sleep(max(start + DEFAULT_WINDOW_SIZE_NS + PUBLISHED_AFTER_S * 1e9 - time.time_ns(), 0) / 1e9)
            self._stage.publish(producer, records)


def seen_after_s(stage: WorkerStage, start: int, services: int) -> list[float]:
    """Seconds from the window's end until each service's point is there."""
    end = start + DEFAULT_WINDOW_SIZE_NS
    found: dict[str, float] = {}
    while len(found) < services:
        query = f'SELECT last("total") FROM "profile" WHERE time = {start} GROUP BY "service"'  # noqa: S608 - ours alone
        rows = stage.query_tagged(query, "service")
        now = time.time_ns()
        found = {service: found.get(service, (now - end) / 1e9) for service in rows}
        assert now < end + DEADLINE_S * 10**9, f"after {DEADLINE_S} s InfluxDB has {sorted(found)} of window {start}"
        time.sleep(POLL_S)
    return list(found.values())


def measure(windows: int) -> list[Figure]:
    """Latency of every (service, window)."""
    fleet = Fleet(SEED, SERVICES)
    with tempfile.TemporaryDirectory(prefix="flamebus-worker-") as folder, WorkerStage.open(Path(folder)) as stage:
        worker = stage.start_worker()
        worker.wait_for("flamebus_stream_records_total", 1, DEADLINE_S)
        first = window_start(time.time_ns(), DEFAULT_WINDOW_SIZE_NS) + DEFAULT_WINDOW_SIZE_NS
        Publisher(stage, fleet, first, windows).start()
        seconds: list[float] = []
        for number in range(windows):
            start = first + number * DEFAULT_WINDOW_SIZE_NS
            time.sleep(max(start + DEFAULT_WINDOW_SIZE_NS - time.time_ns(), 0) / 1e9)
            seconds += seen_after_s(stage, start, len(fleet.services))
    percentiles = statistics.quantiles(seconds, n=100, method="inclusive")
    return [
        Figure("window end → visible in InfluxDB, p50", percentiles[49], "s"),
        Figure("window end → visible in InfluxDB, p95", percentiles[94], "s", BAR_P95_S),
        Figure("window end → visible in InfluxDB, p99", percentiles[98], "s"),
        Figure("of which the allowed lateness", DEFAULT_LATENESS_NS / 1e9, "s"),
        Figure("points seen", len(seconds)),
    ]


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m benchmarks.worker_latency")
    parser.add_argument("--windows", type=int, default=WINDOWS, help="how many windows of 10 s")
    main("worker_latency", lambda: measure(parser.parse_known_args()[0].windows), parser)
