"""Writes lines to InfluxDB 2 and gives up on none that the database could take.

5xx, 429 and broken connections: again, for ever, with backoff (Retry-After is honoured). 413: in halves. 400 and 422:
in halves until the offending line is alone, which is handed to ``refuse``. 401, 403, 404: a person has to mend
something; we keep trying slowly, and say so in a metric.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from http import HTTPStatus

import aiohttp
from influxdb_client.client.influxdb_client_async import InfluxDBClientAsync
from influxdb_client.rest import ApiException

from flamebus.errors import InfluxUnavailableError
from streams import metrics
from streams.sinks.health import SinkHealth

Refuse = Callable[[str, str], Awaitable[None]]
"""Takes a line that InfluxDB will never take, and why."""

_MAX_LINES = 5_000
_FIRST_BACKOFF_S, _MAX_BACKOFF_S, _MENDING_S, _MAX_ASKED_S = 0.2, 10.0, 5.0, 60.0
_TIMEOUT_MS = 20_000
_SPLIT = {HTTPStatus.BAD_REQUEST, HTTPStatus.UNPROCESSABLE_ENTITY, HTTPStatus.REQUEST_ENTITY_TOO_LARGE}
_MEND = {
    HTTPStatus.UNAUTHORIZED: "it refuses our token; give one with --influx-token",
    HTTPStatus.FORBIDDEN: "our token may not write to the bucket; give one that may with --influx-token",
    HTTPStatus.NOT_FOUND: "organisation or bucket are not there; create them, or name others with --influx-org and "
    "--influx-bucket",
}
_BROKEN = (aiohttp.ClientError, OSError, TimeoutError)


class InfluxSink:
    """One bucket of one InfluxDB."""

    def __init__(self, url: str, token: str, org: str, bucket: str, refuse: Refuse) -> None:
        self._url, self._org, self._bucket = url, org, bucket
        self._refuse = refuse
        self._client = InfluxDBClientAsync(url=url, token=token, org=org, timeout=_TIMEOUT_MS, enable_gzip=True)
        self._where = f"InfluxDB at {url}, organisation {org!r}, bucket {bucket!r}"
        self.health = SinkHealth("influxdb")

    async def check(self) -> None:
        """Prove at start that address, token, organisation and bucket are right, by writing a comment.

        Raises:
            InfluxUnavailableError: one of them is not; the message says which.
        """
        try:
            await self._send(["# flamebus can write here"])
        except ApiException as error:
            what = _MEND.get(error.status, f"it answers {error.status}: {_words(error)}")
            raise InfluxUnavailableError(f"{self._where}: {what}") from error
        except _BROKEN as error:
            raise InfluxUnavailableError(f"{self._where}: cannot be reached ({error}); check --influx-url") from error

    async def write(self, lines: Sequence[str]) -> None:
        """Write all lines; returns when InfluxDB has them or has refused them for good."""
        for first in range(0, len(lines), _MAX_LINES):
            await self._write_part(lines[first : first + _MAX_LINES])

    async def _send(self, lines: Sequence[str]) -> None:
        await self._client.write_api().write(self._bucket, self._org, "\n".join(lines), write_precision="ns")

    async def _write_part(self, lines: Sequence[str]) -> None:
        backoff_s = _FIRST_BACKOFF_S
        while True:
            try:
                await self._send(lines)
            except ApiException as error:
                if error.status in _SPLIT:
                    await self._write_halves(lines, _words(error))
                    return
                pause_s = self._pause_s(error, backoff_s)
            except _BROKEN as error:
                self.health.failed(type(error).__name__, f"{self._where} cannot be reached: {error!r}")
                pause_s = backoff_s
            else:
                metrics.POINTS.inc(len(lines))
                self.health.worked()
                return
            await asyncio.sleep(pause_s)
            backoff_s = min(backoff_s * 2, _MAX_BACKOFF_S)

    def _pause_s(self, error: ApiException, backoff_s: float) -> float:
        mend = _MEND.get(error.status)
        self.health.failed(str(error.status), f"{self._where}: {mend or _words(error)}")
        if mend:
            return _MENDING_S
        return asked_pause_s((error.headers or {}).get("Retry-After", ""), datetime.now(UTC)) or backoff_s

    async def _write_halves(self, lines: Sequence[str], why: str) -> None:
        if len(lines) == 1:
            await self._refuse(lines[0], why)
            metrics.REFUSED_LINES.inc()
            return
        middle = len(lines) // 2
        await self._write_part(lines[:middle])
        await self._write_part(lines[middle:])

    async def close(self) -> None:
        """Close connections."""
        await self._client.close()


def _words(error: ApiException) -> str:
    return str(error.message or error.reason)


def asked_pause_s(retry_after: str, now: datetime) -> float:
    """Seconds that a Retry-After header asks for, as a number or date (RFC 9110, 10.2.3), at most a minute; else 0."""
    if retry_after.isdecimal():
        return min(float(retry_after), _MAX_ASKED_S)
    try:
        asked = (parsedate_to_datetime(retry_after) - now).total_seconds()
    except (ValueError, TypeError):
        return 0.0
    return min(max(asked, 0.0), _MAX_ASKED_S)
