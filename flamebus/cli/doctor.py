"""``flamebus doctor``: what this host offers, what is missing, and what to do about it."""

import json
import sys
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer

from flamebus.cli.options import BusOption, ConfigOption, JsonOption, PrefixOption, StoreOption
from flamebus.config import load
from flamebus.errors import KernelUnavailableError, UnavailableError

if TYPE_CHECKING:
    from producers.doctor import Result


def register(app: typer.Typer, verb: str) -> None:
    """Add the verb."""
    app.command(verb)(doctor)


def doctor(
    *,
    bus: BusOption = None,
    store: StoreOption = None,
    influx_url: Annotated[str | None, typer.Option("--influx-url", help="InfluxDB 2, http://host:8086")] = None,
    influx_token: Annotated[str | None, typer.Option("--influx-token", help="Its token")] = None,
    influx_org: Annotated[str | None, typer.Option("--influx-org", help="Its organisation")] = None,
    influx_bucket: Annotated[str | None, typer.Option("--influx-bucket", help="Its bucket")] = None,
    spool: Annotated[str | None, typer.Option("--spool", help="Folder for batches while the bus is away")] = None,
    spool_bytes: Annotated[int | None, typer.Option("--spool-bytes", help="Most bytes of the spool")] = None,
    topic_prefix: PrefixOption = None,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Check what the agent needs of this host, and the servers that are named.

    Exit code 3: something is missing that the agent needs; 4: a named server does not answer or refuses us.
    """
    from flamebus.cli.doctor_servers import server_checks
    from producers.doctor import examine, host_checks

    flags = {
        "bus": bus,
        "store": store,
        "influx_url": influx_url,
        "influx_token": influx_token,
        "influx_org": influx_org,
        "influx_bucket": influx_bucket,
        "spool": spool,
        "spool_bytes": spool_bytes,
        "topic_prefix": topic_prefix,
    }
    found = load(flags, file=config)
    settings = found.settings
    servers = server_checks(settings, found.origins)  # first: it tells what was written wrongly
    results = examine((*host_checks(settings.spool, settings.spool_bytes), *servers))
    if as_json:
        typer.echo(json.dumps([asdict(result) for result in results], indent=2))
    else:
        typer.echo(text(results))
    sys.exit(exit_code(results))


def exit_code(results: Sequence["Result"]) -> int:
    """What is missing here comes before what is missing elsewhere."""
    states = {result.state for result in results}
    if "missing" in states:
        return KernelUnavailableError.exit_code
    return UnavailableError.exit_code if "unreachable" in states else 0


def text(results: Sequence["Result"]) -> str:
    """One line a check; below it why it matters and what to do, where something has to be done."""
    width, lines = max(len(result.name) for result in results), []
    for result in results:
        lines.append(f"{result.state:11} {result.name:{width}}  {result.found}")
        if result.state != "ok":
            indent = " " * (width + 14)
            lines.append(f"{indent}{'for later kinds: ' if result.state == 'absent' else ''}{result.why}")
            if result.remedy:
                lines.append(f"{indent}→ {result.remedy}")
    counts = Counter(result.state for result in results)
    lines.append(", ".join(f"{count} {state}" for state, count in counts.items()))
    return "\n".join(lines)
