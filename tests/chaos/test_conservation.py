"""Sum in = sum in windows + late + dead letters, whatever is killed; read back from InfluxDB, the store and the topics.

The seed is printed; ``FLAMEBUS_CHAOS_SEED`` (``make chaos SEED=…``) runs every scenario with it, otherwise a short form
runs with a fixed one.
"""

from __future__ import annotations

import json
import os
import sys
from collections import Counter
from typing import TYPE_CHECKING

import pyarrow.dataset
import pytest

from flamebus.wire.batch import decode_batch
from flamebus.wire.results import decode_hotspot_report
from flamebus.wire.topics import HOTSPOTS, WINDOWS
from tests.chaos import read_back
from tests.chaos.ledger import Cell
from tests.chaos.scenarios import SCENARIOS, Scenario
from tests.chaos.stage import WINDOW_S, CommitWatch, Stage, open_stage
from tests.support.stream_worker import StreamWorker

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.support.servers import RealInfluxDB, RealServer

SEED = os.environ.get("FLAMEBUS_CHAOS_SEED")
_COMMITTED_S = 30  # two windows after the last one, and the next commit
CHOSEN = [scenario for scenario in SCENARIOS if SEED or scenario.is_short]


@pytest.fixture
def stage(request: pytest.FixtureRequest, tmp_path: Path, influxdb: RealInfluxDB) -> Iterator[Stage]:
    scenario: Scenario = request.param
    kafka: RealServer = request.getfixturevalue("own_kafka" if scenario.breaks_broker else "kafka")
    seed = int(SEED or 1)
    print(f"seed {seed}")
    with open_stage(kafka, influxdb, tmp_path, scenario.mix, seed) as opened:
        yield opened


@pytest.mark.kafka
@pytest.mark.timeout(400)
@pytest.mark.parametrize(
    ("stage", "scenario"), [(s, s) for s in CHOSEN], ids=[s.name for s in CHOSEN], indirect=["stage"]
)
def test_every_sample_is_counted_once(stage: Stage, scenario: Scenario) -> None:
    with CommitWatch(stage) as commits:
        scenario.act(stage)
        stage.publisher.stop()
        assert sum(stage.ledger.samples.values()) > 1000
        settled_s = stage.settle(scenario.settles_in_s)  # I1, and I4 by its deadline
        print(f"settled after {settled_s:.1f} s; restarts {[w.restarts for w in stage.workers]}")
        stage.wait_for_commits(stage.log_ends(), _COMMITTED_S)  # I3: commits end at the log's end
    assert scenario.may_restart or not any(worker.restarts for worker in stage.workers), stage.workers[0].tail()
    assert not stage.proxy.changed_points()  # I2
    assert not commits.went_back  # I3: and never go back
    samples, totals, late = stage.accounted()
    assert all(stage.ledger.samples[cell] >= found for cell, found in samples.items())
    if scenario.is_punctual:
        assert not +late
        assert +samples == stage.ledger.samples
        assert +totals == stage.ledger.totals
    assert windows_topic(stage) == +totals
    assert hotspots_topic(stage) == +totals
    assert store(stage) == +totals
    assert read_back.profiles(stage.influxdb, stage.bucket) == +totals
    functions = read_back.functions(stage.influxdb, stage.bucket)
    assert functions == read_back.by_partition(stage.influxdb, stage.bucket)
    assert functions == read_back.functions_by_flux(stage.influxdb, stage.bucket)


def windows_topic(stage: Stage) -> Counter[Cell]:
    """Totals by cell of ``windows.v1``; records that were sent again must be the same to the byte."""
    values: dict[bytes, bytes] = {}
    for _, value, _ in stage.read_all(WINDOWS.name(stage.prefix)):
        assert values.setdefault(decode_batch(value).batch_id, value) == value, "a window was published with two values"
    totals: Counter[Cell] = Counter()
    for batch in map(decode_batch, values.values()):
        if len(batch.samples):
            service = dict(batch.tables.resources[0])["service.name"]
            totals[Cell(service, batch.start_unix_nano)] += int(batch.samples.totals().sum())
    return +totals


def hotspots_topic(stage: Stage) -> Counter[Cell]:
    """Totals by cell of ``hotspots.v1``; in every report the functions' own values add up to the total."""
    values: dict[bytes, bytes] = {}
    for _, value, _ in stage.read_all(HOTSPOTS.name(stage.prefix)):
        report = decode_hotspot_report(value)
        assert values.setdefault(report.report_id, value) == value, "a report was published with two values"
    totals: Counter[Cell] = Counter()
    for report in map(decode_hotspot_report, values.values()):
        assert sum(function.self_value for function in report.functions) == report.total
        totals[Cell(report.service, report.window_start_unix_nano)] += report.total
    return +totals


def store(stage: Stage) -> Counter[Cell]:
    """Totals by cell of the Parquet files."""
    found = pyarrow.dataset.dataset(stage.store / "samples", partitioning="hive").to_table(
        columns=["service", "window_start", "value"]
    )
    totals: Counter[Cell] = Counter()
    for row in found.to_pylist():
        totals[Cell(row["service"], row["window_start"])] += row["value"]
    return +totals


@pytest.mark.kafka
@pytest.mark.timeout(200)
def test_the_textbook_application_fails(kafka: RealServer, influxdb: RealInfluxDB, tmp_path: Path) -> None:
    """The negative control: with no fault at all, the suite's own ledger shows that it loses samples."""
    with open_stage(kafka, influxdb, tmp_path, SCENARIOS[0].mix, seed=1) as stage:
        output = HOTSPOTS.name(stage.prefix)  # a topic that exists and that nobody else writes here
        worker = textbook_worker(stage, output)
        worker.start()
        stage.workers.append(worker)
        stage.pass_time(8)
        stage.publisher.start()
        stage.pass_time(12)
        stage.publisher.stop()
        stage.pass_time(12)
        counted = Counter[str]()
        for _, value, _ in stage.read_all(output):
            result = json.loads(value)
            counted[result["service"]] += round(result["samples"])
        published = stage.ledger.samples_by_service()
        print(f"textbook: {counted.total()} of {published.total()} samples")
        assert counted.total() > 0, "it never reported: the control shows nothing"
        assert counted.total() < 0.9 * published.total()


def textbook_worker(stage: Stage, output: str) -> StreamWorker:
    command = [sys.executable, "-m", "tests.chaos.textbook", "--bus", stage.kafka.url, "--topic", stage.topic]
    command += ["--output", output, "--group", f"{stage.prefix}textbook-group", "--window", str(WINDOW_S)]
    return StreamWorker(command, stage.folder / "textbook.log", metrics_port=0)
