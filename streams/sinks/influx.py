"""Writes lines to InfluxDB 2 and gives up on none that the database could take.

5xx, 429 and broken connections: again, for ever, with backoff (Retry-After is honoured). 413: in halves. 400 and 422:
in halves until the offending line is alone, which is handed to ``refuse``. 401, 403, 404: a person has to mend
something; we keep trying slowly, and say so in a metric.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from http import HTTPStatus

import aiohttp
from influxdb_client.client.influxdb_client_async import InfluxDBClientAsync
from influxdb_client.rest import ApiException

from flamebus.errors import InfluxUnavailableError
from streams import metrics

_log = logging.getLogger(__name__)

Refuse = Callable[[str, str], Awaitable[None]]
"""Takes a line that InfluxDB will never take, and why."""

_MAX_LINES = 5_000
_FIRST_BACKOFF_S, _MAX_BACKOFF_S, _MENDING_S = 0.2, 10.0, 5.0
_TIMEOUT_MS = 20_000
_SPLIT = {HTTPStatus.BAD_REQUEST, HTTPStatus.UNPROCESSABLE_ENTITY, HTTPStatus.REQUEST_ENTITY_TOO_LARGE}
_NEEDS_A_PERSON = {HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN, HTTPStatus.NOT_FOUND}


class InfluxSink:
    """One bucket of one InfluxDB."""

    def __init__(self, url: str, token: str, org: str, bucket: str, refuse: Refuse) -> None:
        self._url, self._org, self._bucket = url, org, bucket
        self._refuse = refuse
        self._client = InfluxDBClientAsync(url=url, token=token, org=org, timeout=_TIMEOUT_MS, enable_gzip=True)

    async def check(self) -> None:
        """Prove at start that address, token and bucket are right, by writing nothing.

        Raises:
            InfluxUnavailableError: one of them is not; the message says which.
        """
        where = f"InfluxDB at {self._url}"
        try:
            found = await self._client.query_api().query(f'buckets() |> filter(fn: (r) => r.name == "{self._bucket}")')
        except ApiException as error:
            if error.status in {HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN}:
                raise InfluxUnavailableError(f"{where} refuses our token; give one with --influx-token") from error
            raise InfluxUnavailableError(f"{where} answers {error.status}: {error.message or error.reason}") from error
        except (aiohttp.ClientError, OSError, TimeoutError) as error:
            raise InfluxUnavailableError(f"{where} cannot be reached: {error}; check --influx-url") from error
        if not found:
            raise InfluxUnavailableError(
                f"{where} has no bucket {self._bucket!r} that this token may see in {self._org!r}; create it, or name "
                "another with --influx-bucket"
            )

    async def write(self, lines: Sequence[str]) -> None:
        """Write all lines; returns when InfluxDB has them or has refused them for good."""
        for first in range(0, len(lines), _MAX_LINES):
            await self._write_part(lines[first : first + _MAX_LINES])

    async def _write_part(self, lines: Sequence[str]) -> None:
        backoff_s = _FIRST_BACKOFF_S
        while True:
            try:
                await self._client.write_api().write(self._bucket, self._org, "\n".join(lines), write_precision="ns")
            except ApiException as error:
                if error.status in _SPLIT:
                    await self._write_halves(lines, str(error.message or error.reason))
                    return
                pause_s = self._pause(error, backoff_s)
            except (aiohttp.ClientError, OSError, TimeoutError) as error:
                metrics.SINK_RETRIES.labels("influxdb", type(error).__name__).inc()
                pause_s = backoff_s
            else:
                metrics.POINTS.inc(len(lines))
                metrics.SINK_BLOCKED.labels("influxdb").set(0)
                return
            await asyncio.sleep(pause_s)
            backoff_s = min(backoff_s * 2, _MAX_BACKOFF_S)

    def _pause(self, error: ApiException, backoff_s: float) -> float:
        metrics.SINK_RETRIES.labels("influxdb", str(error.status)).inc()
        if error.status in _NEEDS_A_PERSON:
            metrics.SINK_BLOCKED.labels("influxdb").set(1)
            _log.error("InfluxDB refuses us (%s %s): mend token or bucket", error.status, error.reason)
            return _MENDING_S
        asked = (error.headers or {}).get("Retry-After", "")
        return float(asked) if asked.isdecimal() else backoff_s

    async def _write_halves(self, lines: Sequence[str], why: str) -> None:
        if len(lines) == 1:
            metrics.REFUSED_LINES.inc()
            await self._refuse(lines[0], why)
            return
        middle = len(lines) // 2
        await self._write_part(lines[:middle])
        await self._write_part(lines[middle:])

    async def close(self) -> None:
        """Close connections."""
        await self._client.close()
