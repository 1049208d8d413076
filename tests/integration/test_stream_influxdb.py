"""The InfluxDB sink on a real InfluxDB, through a proxy that answers by a script: every line arrives, once, exactly."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from flamebus.errors import InfluxUnavailableError
from flamebus.frames import Line, Location, Mapping
from flamebus.wire.batch import encode_batch
from infra.servers.process import free_port, wait_until
from streams.hotspots import rank
from streams.sinks.influx import InfluxSink
from streams.sinks.lines import report_lines, tag_value
from streams.windows import PartitionWindows, Record
from tests.chaos.influx_proxy import Answer, InfluxProxy
from tests.chaos.read_back import flux, influxql
from tests.support.batches import START_UNIX_NANO, WINDOW_NS, make_batch
from tests.support.stream_logs import LATENESS, tick

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.support.servers import RealInfluxDB

DEADLINE_S = 60


@pytest.fixture
def proxy(influxdb: RealInfluxDB) -> Iterator[InfluxProxy]:
    proxy = InfluxProxy(influxdb.address)
    yield proxy
    proxy.close()


class Refused:
    """Takes lines that InfluxDB refused."""

    def __init__(self) -> None:
        self.lines: list[tuple[str, str]] = []

    async def __call__(self, line: str, why: str) -> None:
        self.lines.append((line, why))


def point(number: int, value: str = "1i") -> str:
    return f"function,function=f{number} self={value} {START_UNIX_NANO}"


async def written(
    influxdb: RealInfluxDB, url: str, bucket: str, lines: list[str], token: str = ""
) -> list[tuple[str, str]]:
    """Write these lines; those that were refused."""
    refused = Refused()
    sink = InfluxSink(url, token or influxdb.token, influxdb.org, bucket, refused)
    try:
        await asyncio.wait_for(sink.write(lines), DEADLINE_S)
        assert not sink.health.is_down
    finally:
        await sink.close()
    return refused.lines


def stored(influxdb: RealInfluxDB, bucket: str) -> dict[str, int]:
    rows = influxql(influxdb, bucket, 'SELECT self FROM "function" GROUP BY "function"')
    return {tags["function"]: int(str(values[1])) for tags, values in rows}


@pytest.mark.parametrize(
    "script",
    [
        pytest.param([Answer(503), Answer(500), Answer(502)], id="5xx"),
        pytest.param([Answer(0), Answer(0)], id="connection cut"),
        pytest.param([Answer(401), Answer(503)], id="token refused for a while"),
        pytest.param([Answer(404)], id="bucket away for a while"),
        pytest.param([Answer(413), Answer(413)], id="too large, then halves"),
    ],
)
async def test_what_passes_is_waited_for(
    influxdb: RealInfluxDB, influxdb_bucket: str, proxy: InfluxProxy, script: list[Answer]
) -> None:
    proxy.script.extend(script)
    lines = [point(number) for number in range(100)]
    assert await written(influxdb, proxy.url, influxdb_bucket, lines) == []
    assert len(stored(influxdb, influxdb_bucket)) == 100
    if script[0].status == 413:
        assert proxy.written_lines == [25, 25, 50]


async def test_a_pause_that_is_asked_for_is_kept(
    influxdb: RealInfluxDB, influxdb_bucket: str, proxy: InfluxProxy
) -> None:
    proxy.script.append(Answer(429, {"Retry-After": "2"}))
    await written(influxdb, proxy.url, influxdb_bucket, [point(1)])
    first, second = proxy.write_times
    assert second - first >= 2


async def test_only_the_line_that_is_at_fault_is_refused(
    influxdb: RealInfluxDB, influxdb_bucket: str, proxy: InfluxProxy
) -> None:
    """400 for one that cannot be read, 422 for a field of another type; all others are stored exactly."""
    good = [point(number, f"{number}i") for number in range(200)]
    lines = [*good[:77], "function,function=f x=", *good[77:150], point(999, '"text"'), *good[150:]]
    refused = await written(influxdb, proxy.url, influxdb_bucket, lines)
    assert {line for line, _ in refused} == {"function,function=f x=", point(999, '"text"')}
    assert all(why for _, why in refused)
    assert stored(influxdb, influxdb_bucket) == {f"f{number}": number for number in range(200)}


async def test_what_is_refused_is_said_while_it_lasts(
    influxdb: RealInfluxDB, influxdb_bucket: str, proxy: InfluxProxy
) -> None:
    proxy.script.extend([Answer(403)])
    sink = InfluxSink(proxy.url, influxdb.token, influxdb.org, influxdb_bucket, Refused())
    try:
        task = asyncio.create_task(sink.write([point(1)]))
        assert await asyncio.to_thread(wait_until, lambda: sink.health.is_down, DEADLINE_S)
        await asyncio.wait_for(task, DEADLINE_S)
        assert not sink.health.is_down
    finally:
        await sink.close()


NAMES = (
    "plain",
    "std::vector<int, std::allocator<int> >::operator=",
    'say "hi"',
    "back\\slash\\",
    "two\nlines",
    "two lines",
    "ünïcode 日本",
    "__other__",
    "x" * 65_536,
    "trailing,",
    "a=b",
    " ",
)


async def test_every_name_that_a_function_may_have_is_stored_and_the_sums_agree(
    influxdb: RealInfluxDB, influxdb_bucket: str
) -> None:
    """Read back by both query languages: the sum over functions is the profile's total."""
    rows = [
        (
            (Location(Mapping("/srv/app"), number, lines=(Line(name),)),),
            (("service.name", "a service, of=sorts"),),
            (1, "main"),
            10**6 + number,
            1.0,
            number,
        )
        for number, name in enumerate(NAMES)
    ]
    windows = PartitionWindows("t", 0, WINDOW_NS, LATENESS)
    windows.add(Record(0, START_UNIX_NANO + WINDOW_NS, encode_batch(make_batch(rows))))
    windows.add(tick(1, START_UNIX_NANO + WINDOW_NS + LATENESS))
    ((part,),) = (closed.parts for closed in windows.take_closed())
    lines = list(report_lines(rank(part, 100)))
    assert await written(influxdb, f"http://{influxdb.address}", influxdb_bucket, lines) == []
    total = part.profile.total
    by_name = stored(influxdb, influxdb_bucket)
    assert sum(by_name.values()) == total
    assert {name.replace("\\ ", " ").replace("\\,", ",").replace("\\=", "=") for name in map(tag_value, NAMES)} == {
        *by_name
    }
    ((_, (_, stored_total)),) = influxql(influxdb, influxdb_bucket, "SELECT total FROM profile")
    assert stored_total == total
    (row,) = flux(
        influxdb,
        f'from(bucket: "{influxdb_bucket}") |> range(start: 0) '
        '|> filter(fn: (r) => r._measurement == "function" and r._field == "self") |> group() |> sum()',
    )
    assert int(row["_value"]) == total


@pytest.mark.parametrize("wrong", ["token", "bucket", "org", "address"])
async def test_at_start_it_is_said_what_is_wrong(influxdb: RealInfluxDB, influxdb_bucket: str, wrong: str) -> None:
    url = f"http://127.0.0.1:{free_port()}" if wrong == "address" else f"http://{influxdb.address}"
    sink = InfluxSink(
        url,
        "nonsense" if wrong == "token" else influxdb.token,
        "nobody" if wrong == "org" else influxdb.org,
        "nowhere" if wrong == "bucket" else influxdb_bucket,
        Refused(),
    )
    option = {"token": "--influx-token", "bucket": "--influx-bucket", "org": "--influx-org", "address": "--influx-url"}
    try:
        with pytest.raises(InfluxUnavailableError, match=option[wrong]) as caught:
            await sink.check()
        assert url in str(caught.value)
        assert caught.value.exit_code == 4
    finally:
        await sink.close()


async def test_a_check_writes_nothing(influxdb: RealInfluxDB, influxdb_bucket: str) -> None:
    sink = InfluxSink(f"http://{influxdb.address}", influxdb.token, influxdb.org, influxdb_bucket, Refused())
    try:
        await sink.check()
    finally:
        await sink.close()
    assert list(influxql(influxdb, influxdb_bucket, "SHOW MEASUREMENTS")) == []
