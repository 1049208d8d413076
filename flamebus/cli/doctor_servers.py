"""Checks of the servers that settings name, by the code that the other verbs use them with."""

import asyncio
import time
import uuid
from collections.abc import Callable, Mapping
from email.utils import parsedate_to_datetime
from functools import partial
from typing import TYPE_CHECKING
from urllib.error import URLError
from urllib.request import urlopen

from flamebus.config import Origin, Settings
from flamebus.errors import UnavailableError
from producers.doctor import Check, Finding, State

if TYPE_CHECKING:
    from flamebus.cli.bus import TopicAdmin

_TIMEOUT_S = 10
_MAX_CLOCK_OFFSET_S = 2.0  # as late as samples may be


def server_checks(settings: Settings, origins: Mapping[str, Origin]) -> tuple[Check, ...]:
    """Checks of what was named anywhere: a server that is only a default is nobody's wish.

    Raises:
        UsageError: the bus is not one.
    """
    checks: list[Check] = []
    if origins["bus"] is not Origin.DEFAULT:
        bus = _Bus(settings)
        checks += [
            Check("broker", "takes batches", partial(_asked, bus.broker, "check --bus")),
            Check("topics", "carry batches, windows and hotspots", partial(_asked, bus.topics, "check --bus")),
        ]
    if origins["store"] is not Origin.DEFAULT:
        remedy = "make the folder or bucket, make it writable, or name another with --store"
        checks.append(Check("store", "keeps profiles", partial(_asked, partial(store, settings), remedy)))
    if settings.influx_url:
        checks += [
            Check("influxdb", "keeps the series", partial(_asked, partial(influxdb, settings), "check --influx-url")),
            Check("influxdb_clock", "agrees with ours", partial(influxdb_clock, settings.influx_url, time.time)),
        ]
    return tuple(checks)


def _asked(ask: Callable[[], Finding], remedy: str) -> Finding:
    """The answer, or the error as one; its own remedy comes before the general one."""
    try:
        return ask()
    except UnavailableError as error:
        found, _, own_remedy = str(error).partition("; ")
        return Finding(State.UNREACHABLE, found, own_remedy or remedy)


class _Bus:
    """Asks once whether a broker answers: it may take ten seconds to say no."""

    def __init__(self, settings: Settings) -> None:
        self._settings, self._servers = settings, settings.bootstrap_servers
        self._admin: TopicAdmin | None = None

    def broker(self) -> Finding:
        """Whether one answers; raises an UnavailableError otherwise."""
        from flamebus.cli.bus import TopicAdmin

        self._admin = TopicAdmin(self._servers)
        return Finding(State.OK, f"{self._settings.bus} answers")

    def topics(self) -> Finding:
        """Whether they are there; raises an UnavailableError when the broker does not say."""
        from flamebus.wire.topics import all_topics

        if self._admin is None:
            return Finding(State.UNREACHABLE, "no broker to ask", "see broker")
        names = [topic.name(self._settings.topic_prefix) for topic in all_topics()]
        present = self._admin.states(names)
        missing = [name for name in names if name not in present]
        if missing:
            remedy = "flamebus topics create (a worker that starts makes them too)"
            return Finding(State.WARNING, f"missing: {', '.join(missing)}", remedy)
        return Finding(State.OK, f"all {len(names)} are there")


def store(settings: Settings) -> Finding:
    """Whether the store can be written; what is written is removed at once.

    Raises:
        UnavailableError: it cannot.
        UsageError: it is no store.
    """
    from flamebus.store.files import TEMPORARY_PREFIX, open_files

    files = open_files(settings.store, settings.s3_endpoint)
    files.check()
    name = f"{TEMPORARY_PREFIX}doctor-{uuid.uuid4().hex}"
    files.write_bytes(name, b"flamebus doctor")
    files.delete(name)
    return Finding(State.OK, f"{settings.store} can be written")


def influxdb(settings: Settings) -> Finding:
    """Whether address, token and bucket are right.

    Raises:
        UnavailableError: one is not.
    """
    from streams.sinks.influx import InfluxSink

    async def ignore(_line: str, _why: str) -> None:
        """Nothing is written, so nothing is refused."""

    async def ask() -> None:
        token = settings.influx_token.get_secret_value()
        sink = InfluxSink(settings.influx_url, token, settings.influx_org, settings.influx_bucket, ignore)
        try:
            await sink.check()
        finally:
            await sink.close()

    asyncio.run(ask())
    return Finding(State.OK, f"{settings.influx_url} takes our token and has bucket {settings.influx_bucket!r}")


def influxdb_clock(url: str, now_unix_s: Callable[[], float]) -> Finding:
    """How far our clock is from the database's, by the date that it answers with; good to a second."""
    try:
        before = now_unix_s()
        with urlopen(f"{url.rstrip('/')}/ping", timeout=_TIMEOUT_S) as answer:  # noqa: S310 - the user's own address
            date = answer.headers["Date"]
        middle = (before + now_unix_s()) / 2
        offset_s = middle - (parsedate_to_datetime(date).timestamp() + 0.5)  # the date has whole seconds
    except (URLError, OSError, ValueError, TypeError) as error:
        return Finding(State.UNREACHABLE, f"{url} does not tell the time: {error}", "check --influx-url")
    if abs(offset_s) > _MAX_CLOCK_OFFSET_S:
        found = f"ours is {abs(offset_s):.0f} s {'ahead' if offset_s > 0 else 'behind'}"
        return Finding(State.WARNING, found, "keep both clocks right, with chrony or systemd-timesyncd")
    return Finding(State.OK, "within a second or two")
