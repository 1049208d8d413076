"""``flamebus flamegraph``: a profile as text, JSON, folded stacks or an SVG."""

import json
from collections.abc import Iterator
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from flamebus.cli.options import ConfigOption, StoreOption
from flamebus.cli.profile_options import (
    FromOption,
    KindOption,
    ServiceOption,
    SinceOption,
    ToOption,
    open_reader,
    time_range,
    warn_of_damage,
)
from flamebus.config import load
from flamebus.errors import FlamebusError
from flamebus.folded import format_folded
from flamebus.store.totals import StackTotals
from flamebus.svg import MAX_NODES as SVG_MAX_NODES
from flamebus.svg import Caption, render_svg
from flamebus.tree import CallTree

_MAX_NODES = 8192
_SMALLEST_SHARE = 0.005
"""Below this a line of the text form says less than it takes."""


class Format(StrEnum):
    """What can be written."""

    TEXT = "text"
    JSON = "json"
    FOLDED = "folded"
    SVG = "svg"


def register(app: typer.Typer, verb: str) -> None:
    """Add the verb."""
    app.command(verb)(flamegraph)


def flamegraph(
    *,
    service: ServiceOption = None,
    kind: KindOption = "cpu",
    since: SinceOption = None,
    start: FromOption = None,
    end: ToOption = None,
    form: Annotated[Format, typer.Option("--format", help="What to write")] = Format.TEXT,
    output: Annotated[Path | None, typer.Option("--output", "-o", help="File; standard output when not given")] = None,
    max_nodes: Annotated[
        int | None, typer.Option("--max-nodes", min=1, help="Most nodes (default: 8192 of text and JSON, all of SVG)")
    ] = None,
    store: StoreOption = None,
    config: ConfigOption = None,
) -> None:
    """Write the flame graph of a service, or of all with the service as the outermost frame."""
    settings = load({"store": store}, file=config).settings
    span = time_range(since, start, end)
    reader = open_reader(settings, kind, service, span)
    found = reader.stacks(service, kind, span)
    if form is Format.SVG:
        caption = Caption.of_profile(service, kind, span, float(found.samples.sum()), reader.unit(service, kind, span))
        text = render_svg(found.tree(), caption, max_nodes or SVG_MAX_NODES)
    else:
        text = rendered(found, form, max_nodes or _MAX_NODES)
    warn_of_damage(reader)
    if output is None:
        typer.echo(text)
        return
    try:
        output.write_text(text + "\n")
    except OSError as error:
        raise FlamebusError(f"cannot write {output}: {error.strerror}") from error


def rendered(found: StackTotals, form: Format, max_nodes: int) -> str:
    """The profile as text, JSON or folded stacks."""
    if form is Format.FOLDED:
        return "\n".join(format_folded(found.named_stacks()))
    tree = found.tree().prune(max_nodes)
    if form is Format.JSON:
        return json.dumps(_nested(tree), ensure_ascii=False)
    return "\n".join(_text_lines(tree))


def _nested(tree: CallTree) -> dict[str, object]:
    """The tree as d3 wants it: name, value, children. Built from the leaves up, since stacks may be deep."""
    children = tree.children()
    nodes: list[dict[str, object]] = [{} for _ in tree.parent]
    for row in range(len(nodes) - 1, -1, -1):
        frame = tree.frames[int(tree.frame[row])] if row else None
        nodes[row] = {
            "name": frame.function if frame else "all",
            "mapping": frame.mapping if frame else "",
            "kind": frame.kind.label if frame else "",
            "value": int(tree.total_value[row]),
            "self": int(tree.self_value[row]),
            "children": [nodes[child] for child in children[row]],
        }
    return nodes[0]


def _text_lines(tree: CallTree) -> Iterator[str]:
    total = int(tree.total_value[0])
    if not total:
        yield "no samples in this range; is an agent running? (flamebus agent)"
        return
    children = tree.children()
    stack = [(row, 0) for row in reversed(children[0])]
    while stack:
        row, depth = stack.pop()
        share = int(tree.total_value[row]) / total
        if share < _SMALLEST_SHARE:
            continue
        frame = tree.frames[int(tree.frame[row])]
        yield f"{share:7.2%} {int(tree.self_value[row]) / total:7.2%}  {'  ' * depth}{frame.function} ({frame.mapping})"
        stack += [(child, depth + 1) for child in reversed(children[row])]
