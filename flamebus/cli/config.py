"""``flamebus config show``: every setting, its value, and where it came from."""

import json
import os
from dataclasses import asdict

import typer

from flamebus.cli.options import ConfigOption, JsonOption
from flamebus.config import load, unknown_variables


def register(app: typer.Typer, verb: str) -> None:
    """Add the verb with its one action."""
    group = typer.Typer(name=verb, no_args_is_help=True)
    group.callback()(_config)
    group.command("show")(show)
    app.add_typer(group)


def _config() -> None:
    """Show the settings and where each value came from."""


def show(*, config: ConfigOption = None, as_json: JsonOption = False) -> None:
    """Print all settings; secrets are masked. Variables that are no settings are told on standard error."""
    rows = load({}, file=config).rows()
    for problem in unknown_variables(os.environ):
        typer.echo(f"flamebus: {problem}", err=True)
    if as_json:
        typer.echo(json.dumps([asdict(row) for row in rows], indent=2))
        return
    width = max(len(row.name) for row in rows)
    for row in rows:
        typer.echo(f"{row.name:{width}}  {row.value or '-':26} {row.source or row.origin:28} {row.description}")
