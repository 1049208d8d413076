"""``flamebus up``, ``down`` and ``status``: the whole stack on real servers, in containers or as local processes."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from flamebus.cli.options import JsonOption
from flamebus.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from infra.local import PartStatus, Ports, Stack

StateOption = Annotated[
    Path | None, typer.Option("--state", help="Folder of data and logs (default: the user's state folder)")
]
LocalOption = Annotated[bool, typer.Option("--local", help="Local processes even where a Docker engine answers")]


def register(app: typer.Typer, verb: str) -> None:
    """Add one of the three verbs."""
    app.command(verb)({"up": up, "down": down, "status": status}[verb])


def up(
    *,
    kafka_port: Annotated[int, typer.Option(help="Port of Kafka; the next one is Kafka's too")] = 9092,
    influx_port: Annotated[int, typer.Option(help="Port of InfluxDB")] = 8086,
    page_port: Annotated[int, typer.Option(help="Port of the page")] = 4040,
    stream_metrics_port: Annotated[int, typer.Option(help="Port of the worker's metrics")] = 4041,
    agent_metrics_port: Annotated[int, typer.Option(help="Port of the agent's metrics")] = 4042,
    state: StateOption = None,
    local: LocalOption = False,
) -> None:
    """Start Kafka, InfluxDB, worker, page and agent in the background; data survives ``down``."""
    from infra import docker
    from infra.local import Ports

    if docker.runs_compose() and not local:
        _compose(state, "up", "--detach", "--build", "--wait")
        return
    ports = Ports(
        kafka=kafka_port,
        influxdb=influx_port,
        page=page_port,
        stream_metrics=stream_metrics_port,
        agent_metrics=agent_metrics_port,
    )
    stack = _stack(state, ports)
    _print(stack.up())
    typer.echo(f"page: {stack.page_url}   InfluxDB token: {stack.token_file}   end: flamebus down")


def down(*, state: StateOption = None, local: LocalOption = False) -> None:
    """Stop what ``up`` started and keep its data."""
    from infra import docker

    if docker.runs_compose() and not local:
        _compose(state, "down")
    _print(_stack(state).down())


def status(*, state: StateOption = None, local: LocalOption = False, as_json: JsonOption = False) -> None:
    """Show what ``up`` has started and where it listens."""
    from infra import docker

    if docker.runs_compose() and not local:
        _compose(state, "ps", "--format", "json" if as_json else "table")
        return
    parts = _stack(state).status()
    if as_json:
        typer.echo(json.dumps([part.model_dump(mode="json") for part in parts], indent=2))
    else:
        _print(parts)


def _compose(state: Path | None, *arguments: str) -> None:
    """Docker Compose with the token that the containers' InfluxDB got when it was new."""
    from infra import docker
    from infra.servers.influxdb import kept_token

    folder = _folder(state)
    folder.mkdir(parents=True, exist_ok=True)
    docker.compose(*arguments, influx_token=kept_token(folder / "docker-influxdb-token"))


def _stack(state: Path | None, ports: "Ports | None" = None) -> "Stack":
    from infra.build import default_cache
    from infra.local import Ports, Stack

    return Stack(_folder(state), default_cache(), ports or Ports(), say=lambda line: typer.echo(line, err=True))


def _folder(state: Path | None) -> Path:
    from infra.local import default_state

    folder = state or default_state()
    if folder.exists() and not folder.is_dir():
        raise UsageError(f"--state {folder} is a file; name a folder")
    return folder


def _print(parts: "Sequence[PartStatus]") -> None:
    for part in parts:
        process = f"process {part.pid}" if part.pid else ""
        typer.echo(f"{part.name:9} {part.state:8} {part.address:16} {process:15} {part.log}".rstrip())
