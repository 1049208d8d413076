"""``flamebus top``: the hottest functions."""

import json
from typing import Annotated

import typer

from flamebus.cli.options import ConfigOption, JsonOption, StoreOption
from flamebus.cli.profile_options import (
    FromOption,
    KindOption,
    ServiceOption,
    SinceOption,
    ToOption,
    open_reader,
    time_range,
)
from flamebus.config import load
from flamebus.hotspot import FunctionHotspot
from flamebus.store.totals import StackTotals, top_functions


def register(app: typer.Typer, verb: str) -> None:
    """Add the verb."""
    app.command(verb)(top)


def top(
    *,
    service: ServiceOption = None,
    kind: KindOption = "cpu",
    since: SinceOption = None,
    start: FromOption = None,
    end: ToOption = None,
    limit: Annotated[int, typer.Option("--limit", min=1, help="How many functions")] = 20,
    store: StoreOption = None,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show the hottest functions by self value, each share with its 95 % interval."""
    settings = load({"store": store}, file=config).settings
    span = time_range(since, start, end)
    found = open_reader(settings.store, settings.s3_endpoint, service, span).stacks(service, kind, span)
    functions = top_functions(found, limit=limit)
    if as_json:
        rows = [_row(function) for function in functions]
        typer.echo(
            json.dumps({"total": found.total, "samples": float(found.samples.sum()), "functions": rows}, indent=2)
        )
        return
    typer.echo(top_text(found, functions))


def top_text(found: StackTotals, functions: list[FunctionHotspot]) -> str:
    """The table that people see."""
    if not functions:
        return "no samples in this range; is an agent running? (flamebus agent)"
    lines = [f"{found.samples.sum():,.0f} samples", "   self   95 % interval    total  function"]
    for entry in functions:
        share = entry.self_share
        name = f"{entry.function} ({entry.mapping})" if entry.mapping else entry.function
        lines.append(
            f"{share.value:7.2%}  {share.low:6.2%}–{share.high:6.2%}  {entry.total_share.value:7.2%}  {name[:90]}"
        )
    return "\n".join(lines)


def _row(entry: FunctionHotspot) -> dict[str, object]:
    return {
        "function": entry.function,
        "mapping": entry.mapping,
        "frame_kind": entry.frame_kind,
        "self": entry.self_value,
        "total": entry.total_value,
        "share": entry.self_share.value,
        "share_low": entry.self_share.low,
        "share_high": entry.self_share.high,
        "total_share": entry.total_share.value,
    }
