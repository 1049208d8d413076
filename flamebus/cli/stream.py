"""``flamebus stream``: run a stream worker."""

import gc
import logging
import os
import signal
import sys
import threading
from typing import TYPE_CHECKING, Annotated

import typer

from flamebus import metrics
from flamebus.cli.options import BusOption, ConfigOption, PrefixOption, StoreOption
from flamebus.config import Settings, load
from flamebus.errors import FlamebusError

if TYPE_CHECKING:
    import asyncio

    from streams.app import StreamApp
    from streams.worker import Worker

EXIT_RESTART = 18
"""Something unexpected: the supervisor starts us again, and the log is read from the commit."""

_STOP_DEADLINE_S = 18
"""An orderly end may take this long; a broker that hangs may not keep us, and ``flamebus down`` waits 20 s."""

_GC_THRESHOLD = 100_000
"""Allocations between collections: we make hardly a cycle, and the stacks kept are many objects to go through."""


def register(app: typer.Typer, verb: str) -> None:
    """Add the verb."""
    app.command(verb)(stream)


def stream(
    *,
    bus: BusOption = None,
    store: StoreOption = None,
    influx_url: Annotated[str | None, typer.Option("--influx-url", help="InfluxDB 2, http://host:8086")] = None,
    influx_token: Annotated[str | None, typer.Option("--influx-token", help="Its token")] = None,
    influx_org: Annotated[str | None, typer.Option("--influx-org", help="Its organisation")] = None,
    influx_bucket: Annotated[str | None, typer.Option("--influx-bucket", help="Its bucket")] = None,
    window: Annotated[str | None, typer.Option("--window", help="Size of a window, such as 10s")] = None,
    lateness: Annotated[str | None, typer.Option("--lateness", help="How late data may be, such as 2s")] = None,
    kinds: Annotated[str | None, typer.Option("--kinds", help="Kinds to read, comma-separated")] = None,
    group: Annotated[str | None, typer.Option("--group", help="Consumer group")] = None,
    top_k: Annotated[int | None, typer.Option("--top-k", help="Functions by self and by total per window")] = None,
    topic_prefix: PrefixOption = None,
    metrics_listen: Annotated[str | None, typer.Option("--metrics-listen", help="host:port of /metrics")] = None,
    config: ConfigOption = None,
) -> None:
    """Close windows, find hotspots, write the store and InfluxDB, until interrupted."""
    flags = {name: value for name, value in locals().items() if name != "config"}
    settings = load(flags, file=config).settings
    # Until Faust takes signals over nothing was begun that would have to be finished.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    logging.basicConfig(level=logging.WARNING, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    if settings.metrics_listen:
        metrics.serve(settings.metrics_listen)
    sys.exit(run(settings))


def run(settings: Settings) -> int:
    """Run a worker; its exit code.

    Raises:
        UnavailableError: bus, store or InfluxDB cannot be used at start; later they are waited for.
    """
    import asyncio

    from flamebus.cli.bus import TopicAdmin
    from flamebus.clock import SystemClock
    from flamebus.wire.topics import all_topics
    from streams.app import build_app
    from streams.worker import Worker

    loop = asyncio.new_event_loop()
    asyncio.set_event_loop(loop)
    TopicAdmin(settings.bootstrap_servers).create_missing(
        all_topics(), settings.topic_prefix, settings.partitions, settings.replication
    )

    async def connected() -> Worker:
        worker = Worker(settings, SystemClock())
        try:
            await worker.start()
        except FlamebusError:
            await worker.stop()
            raise
        return worker

    worker = loop.run_until_complete(connected())
    gc.freeze()
    gc.set_threshold(_GC_THRESHOLD)
    return _execute(build_app(settings, worker), worker, loop)


def _execute(app: "StreamApp", worker: "Worker", loop: "asyncio.AbstractEventLoop") -> int:
    import faust

    from streams.watchdog import Watchdog

    faust_worker = faust.Worker(app, loglevel="warning", loop=loop, console_port=0, quiet=True)
    # It would have every logger write what is meant for debugging, so that it may turn once for each message.
    faust_worker.spinner = None
    watchdog = Watchdog(worker.progress, lambda _: os._exit(EXIT_RESTART))
    app.when_stopping(lambda: _end_by_deadline(EXIT_RESTART if app.crashed else 0))
    watchdog.start()
    try:
        faust_worker.execute_from_commandline()
    except SystemExit as end:
        code = int(end.code or 0)
    else:
        code = 0
    finally:
        watchdog.stop()
    if not code:
        return 0
    from streams.metrics import EXITS

    EXITS.inc()
    logging.getLogger("flamebus.stream").error(
        "unexpected error (%r); the log will be read from the last commit", app.crash_reason
    )
    return EXIT_RESTART


def _end_by_deadline(code: int) -> None:
    """End the process when an orderly end takes too long: whatever was not finished is computed again."""
    timer = threading.Timer(_STOP_DEADLINE_S, os._exit, (code,))
    timer.daemon = True
    timer.start()
