"""What InfluxDB itself holds, read by both of its query languages."""

from __future__ import annotations

import csv
import http.client
import json
from collections import Counter
from typing import TYPE_CHECKING
from urllib.parse import quote

from tests.chaos.ledger import Cell

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.support.servers import RealInfluxDB

SeriesTime = tuple[str, str, int]
"""Service, partition, window start in ns."""


def request(influxdb: RealInfluxDB, method: str, path: str, body: str | None = None, **headers: str) -> str:
    connection = http.client.HTTPConnection(influxdb.address, timeout=30)
    try:
        connection.request(method, path, body, {"Authorization": f"Token {influxdb.token}", **headers})
        response = connection.getresponse()
        text = response.read().decode()
        assert response.status == 200, text
        return text
    finally:
        connection.close()


def influxql(influxdb: RealInfluxDB, bucket: str, query: str) -> Iterator[tuple[dict[str, str], list[object]]]:
    """Tags and values of every row."""
    answer = json.loads(request(influxdb, "GET", f"/query?db={bucket}&epoch=ns&q={quote(query)}"))
    for series in answer["results"][0].get("series", []):
        for values in series["values"]:
            yield series.get("tags", {}), values


def flux(influxdb: RealInfluxDB, query: str) -> list[dict[str, str]]:
    """Rows of a Flux query."""
    text = request(
        influxdb, "POST", f"/api/v2/query?org={influxdb.org}", query, **{"Content-Type": "application/vnd.flux"}
    )
    return [row for table in text.split("\r\n\r\n") for row in csv.DictReader(table.splitlines())]


def profiles(influxdb: RealInfluxDB, bucket: str) -> Counter[Cell]:
    """``profile.total`` by cell, all partitions together."""
    totals: Counter[Cell] = Counter()
    for (service, _, start), total in by_partition(influxdb, bucket).items():
        totals[Cell(service, start)] += total
    return +totals


def by_partition(influxdb: RealInfluxDB, bucket: str) -> Counter[SeriesTime]:
    """``profile.total`` by service, partition and window."""
    found: Counter[SeriesTime] = Counter()
    for tags, (time, total) in influxql(influxdb, bucket, 'SELECT total FROM profile GROUP BY service, "partition"'):
        found[tags["service"], tags["partition"], int(str(time))] += int(str(total))
    return +found


def functions(influxdb: RealInfluxDB, bucket: str) -> Counter[SeriesTime]:
    """Sum of ``function.self`` by service, partition and window."""
    found: Counter[SeriesTime] = Counter()
    query = 'SELECT self FROM "function" GROUP BY service, "partition", "function"'
    for tags, (time, own) in influxql(influxdb, bucket, query):
        found[tags["service"], tags["partition"], int(str(time))] += int(str(own))
    return +found


def functions_by_flux(influxdb: RealInfluxDB, bucket: str) -> Counter[SeriesTime]:
    """The same by Flux, which sums by itself."""
    rows = flux(
        influxdb,
        f'from(bucket: "{bucket}") |> range(start: 0) '
        '|> filter(fn: (r) => r._measurement == "function" and r._field == "self") '
        "|> map(fn: (r) => ({r with start_ns: string(v: int(v: r._time))})) "
        '|> group(columns: ["service", "partition", "start_ns"]) |> sum()',
    )
    return +Counter({(row["service"], row["partition"], int(row["start_ns"])): int(row["_value"]) for row in rows})
