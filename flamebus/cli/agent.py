"""``flamebus agent``: profile this host and publish its samples."""

from pathlib import Path
from typing import Annotated

import typer

from flamebus.cli.options import BusOption, ConfigOption, PrefixOption
from flamebus.clock import parse_duration
from flamebus.config import load
from flamebus.errors import UsageError


def register(app: typer.Typer, verb: str) -> None:
    """Add the verb."""
    app.command(verb)(agent)


def agent(
    *,
    bus: BusOption = None,
    kinds: Annotated[str | None, typer.Option("--kinds", help="Kinds to collect, comma-separated")] = None,
    hz: Annotated[int | None, typer.Option("--hz", help="Samples per second and CPU")] = None,
    service: Annotated[str | None, typer.Option("--service", help="Service name of every sample")] = None,
    service_rules: Annotated[str | None, typer.Option("--service-rules", help="TOML file of rules, or TOML")] = None,
    pid: Annotated[int | None, typer.Option("--pid", help="Sample this process only")] = None,
    duration: Annotated[str | None, typer.Option("--duration", help="Stop after this long, such as 30s")] = None,
    interval: Annotated[str | None, typer.Option("--interval", help="Length of a batch, such as 10s")] = None,
    spool: Annotated[str | None, typer.Option("--spool", help="Folder for batches while the bus is away")] = None,
    spool_bytes: Annotated[int | None, typer.Option("--spool-bytes", help="Most bytes of the spool")] = None,
    topic_prefix: PrefixOption = None,
    metrics_listen: Annotated[str | None, typer.Option("--metrics-listen", help="host:port of /metrics")] = None,
    config: ConfigOption = None,
) -> None:
    """Profile this host and publish its samples until interrupted.

    While the bus is away batches wait in the spool. With --duration, exit code 4 says that nothing was delivered.
    """
    from producers.launch import AgentSettings, become_agent

    flags = {
        "bus": bus,
        "kinds": kinds,
        "hz": hz,
        "service": service,
        "service_rules": service_rules,
        "interval": interval,
        "spool": spool,
        "spool_bytes": spool_bytes,
        "topic_prefix": topic_prefix,
        "metrics_listen": metrics_listen,
    }
    settings = load(flags, file=config).settings
    if settings.kind_names != ("cpu",):
        raise UsageError("this agent collects kind cpu only")
    if pid is not None and not Path(f"/proc/{pid}").exists():
        raise UsageError(f"there is no process {pid}")
    become_agent(
        AgentSettings(
            servers=settings.bootstrap_servers,
            bus=settings.bus,
            hz=settings.hz,
            tgid=pid or 0,
            service=settings.service,
            service_rules=settings.service_rules,
            interval_ns=settings.interval,
            duration_ns=parse_duration(duration) if duration else None,
            spool=settings.spool,
            spool_bytes=settings.spool_bytes,
            topic_prefix=settings.topic_prefix,
            metrics_listen=settings.metrics_listen,
            symbol_cache_bytes=settings.symbol_cache_bytes,
        )
    )
