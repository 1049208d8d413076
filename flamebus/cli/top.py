"""``flamebus top``: the hottest functions."""

import json
import shutil
import sys
from typing import Annotated

import typer

from flamebus.cli.options import ConfigOption, JsonOption, StoreOption
from flamebus.cli.profile_options import (
    FromOption,
    KindOption,
    SearchOption,
    ServiceOption,
    SinceOption,
    ToOption,
    open_reader,
    time_range,
    warn_of_damage,
)
from flamebus.config import load
from flamebus.hotspot import FunctionHotspot
from flamebus.store.totals import Match, StackTotals, top_functions
from flamebus.store.totals import search as search_stacks


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
    search: SearchOption = None,
    limit: Annotated[int, typer.Option("--limit", min=1, help="How many functions")] = 20,
    store: StoreOption = None,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show the hottest functions by self value, each share with its 95 % interval."""
    settings = load({"store": store}, file=config).settings
    span = time_range(since, start, end)
    reader = open_reader(settings, kind, service, span)
    found = reader.stacks(service, kind, span)
    functions = top_functions(found, search or "", limit)
    match = search_stacks(found, search) if search else None
    if as_json:
        rows = [_row(function) for function in functions]
        head: dict[str, object] = {"total": found.total, "samples": float(found.samples.sum())}
        if match:
            head["matched"] = {"value": match.value, "share": match.share.value, "functions": match.function_count}
        typer.echo(json.dumps(head | {"functions": rows}, indent=2))
    else:
        typer.echo(top_text(found, functions, match, terminal_columns()))
    warn_of_damage(reader)


def top_text(
    found: StackTotals, functions: list[FunctionHotspot], match: Match | None = None, columns: int | None = None
) -> str:
    """The table that people see.

    Args:
        found: the profile.
        functions: of it, to be shown in this order.
        match: when it is the table of a search.
        columns: width of the terminal; longer names are cut there. ``None`` cuts nothing.
    """
    if not found.frames:
        return "no samples in this range; is an agent running? (flamebus agent)"
    if match and not functions:
        return f"no function of {len(found.frames):,} matches"
    lines = [f"{found.samples.sum():,.0f} samples", "   self   95 % interval    total  function"]
    for entry in functions:
        share = entry.self_share
        name = f"{entry.function} ({entry.mapping})" if entry.mapping else entry.function
        line = f"{share.value:7.2%}  {share.low:6.2%}–{share.high:6.2%}  {entry.total_share.value:7.2%}  {name}"
        lines.append(line if columns is None or len(line) <= columns else f"{line[: columns - 1]}…")
    if match:
        plural = "" if match.function_count == 1 else "s"
        lines.append(f"matched {match.share.value:.2%} of all samples, {match.function_count:,} function{plural}")
    return "\n".join(lines)


def terminal_columns() -> int | None:
    """Width of the terminal behind standard output; ``None`` when that is a file or a pipe."""
    return shutil.get_terminal_size().columns if sys.stdout.isatty() else None


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
