"""``flamebus demo``: everything on this machine, for a look."""

import sys
import tempfile
import time
from pathlib import Path
from typing import Annotated

import typer

from flamebus.cli.interruption import Interruption
from flamebus.clock import NANOSECONDS, parse_duration
from flamebus.errors import FlamebusError

_LOOK_BACK_NS = 60 * NANOSECONDS["s"]
_TOP_LINES = 12


def register(app: typer.Typer, verb: str) -> None:
    """Add the verb."""
    app.command(verb)(demo)


def demo(
    *,
    duration: Annotated[str | None, typer.Option("--duration", help="End after this long, such as 30s or 30")] = None,
    hz: Annotated[int, typer.Option("--hz", min=1, help="Samples per second and CPU")] = 99,
) -> None:
    """Run agent, bus, worker, store, page and a small workload here until interrupted; nothing stays behind."""
    duration_s = None
    if duration is not None:
        duration_s = parse_duration(f"{duration}s" if duration.isdecimal() else duration) / NANOSECONDS["s"]
    with Interruption() as interruption:
        from infra.demo import Demo

        with tempfile.TemporaryDirectory(prefix="flamebus-demo-") as folder:
            running = Demo(Path(folder), hz, interruption.wait)
            try:
                if running.start():
                    typer.echo(f"The page is at {running.url}\nThe first window closes about 13 s after the start.")
                    running.watch(duration_s, lambda: show(running.store, running.url))
                if interruption.has_come():
                    typer.echo("\nending …")
            finally:
                running.stop()


def show(store: Path, url: str) -> None:
    """Draw a live top: over the last one on a terminal, elsewhere below it and only every five seconds."""
    from flamebus.cli.top import terminal_columns, top_text
    from flamebus.store.reader import StoreReader
    from flamebus.store.totals import top_functions
    from flamebus.time_range import TimeRange

    now = time.time_ns()
    if not sys.stdout.isatty() and now // NANOSECONDS["s"] % 5:
        return
    try:
        found = StoreReader(str(store)).stacks(None, "cpu", TimeRange(now - _LOOK_BACK_NS, now))
    except FlamebusError as error:
        typer.echo(f"top: {error}", err=True)
        return
    functions = [entry for entry in top_functions(found) if entry.mapping != "[service]"][:_TOP_LINES]
    text = top_text(found, functions, None, terminal_columns()) if functions else "waiting for the first window …"
    typer.echo(f"\x1b[2J\x1b[Hflamebus demo · {url} · Ctrl-C ends it\n\n{text}" if sys.stdout.isatty() else text)
