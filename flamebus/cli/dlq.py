"""``flamebus dlq list|show|replay``: records that could not be used, why, and publishing them again."""

import json
from collections.abc import Iterator
from contextlib import closing
from itertools import islice
from typing import Annotated

import typer

from flamebus.cli.bus import BusReader, BusWriter
from flamebus.cli.options import BusOption, ConfigOption, JsonOption, PrefixOption
from flamebus.clock import format_time
from flamebus.config import Settings, load
from flamebus.errors import BadDataError, UsageError
from flamebus.wire.headers import DeadLetter
from flamebus.wire.recording import BusRecord
from flamebus.wire.topics import DEADLETTER

_SHOWN_BYTES = 256

LimitOption = Annotated[int, typer.Option("--limit", min=1, help="At most this many, oldest first")]
ReasonOption = Annotated[str | None, typer.Option("--reason", help="Only letters with this reason", show_default=False)]


def register(app: typer.Typer, verb: str) -> None:
    """Add the verb with its actions."""
    group = typer.Typer(name=verb, no_args_is_help=True)
    group.callback()(_dlq)
    group.command("list")(list_letters)
    group.command("show")(show)
    group.command("replay")(replay)
    app.add_typer(group)


def _dlq() -> None:
    """Look at dead letters and publish them again."""


def list_letters(
    *,
    bus: BusOption = None,
    topic_prefix: PrefixOption = None,
    reason: ReasonOption = None,
    limit: LimitOption = 100,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Dead letters: where each lies, its reason, and where it came from."""
    settings = load({"bus": bus, "topic_prefix": topic_prefix}, file=config).settings
    rows = [_row(record, letter) for record, letter in islice(_letters(settings, reason), limit)]
    if as_json:
        typer.echo(json.dumps(rows, indent=2))
        return
    for row in rows:
        typer.echo("{place:>8}  {appended}  {reason:16} {origin}  {detail}".format(**row))
    if not rows:
        typer.echo("no dead letters")


def show(
    place: Annotated[str, typer.Argument(help="partition:offset, as list prints it")],
    *,
    bus: BusOption = None,
    topic_prefix: PrefixOption = None,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """One dead letter with the beginning of its bytes."""
    settings = load({"bus": bus, "topic_prefix": topic_prefix}, file=config).settings
    found = next((pair for pair in _letters(settings) if _place(pair[0]) == place), None)
    if found is None:
        raise UsageError(f"no dead letter at {place!r}; flamebus dlq list shows where they are")
    record, letter = found
    value = record.value or b""
    row = _row(record, letter) | {"key": (record.key or b"").decode(errors="replace"), "bytes": str(len(value))}
    if as_json:
        typer.echo(json.dumps(row | {"value_hex": value.hex()}, indent=2))
        return
    for name, text in row.items():
        typer.echo(f"{name:9} {text}")
    for start in range(0, min(len(value), _SHOWN_BYTES), 16):
        part = value[start : start + 16]
        text = "".join(chr(byte) if 32 <= byte < 127 else "." for byte in part)
        typer.echo(f"{start:6x}  {part.hex(' '):47}  {text}")


def replay(
    *,
    bus: BusOption = None,
    topic_prefix: PrefixOption = None,
    reason: ReasonOption = None,
    limit: LimitOption = 1000,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Publish the original bytes to the original topic again, after the reason is gone. The letters stay in the log."""
    settings = load({"bus": bus, "topic_prefix": topic_prefix}, file=config).settings
    writer = BusWriter(settings.bootstrap_servers)
    count = 0
    for record, letter in islice(_letters(settings, reason), limit):
        headers = [(name, value) for name, value in record.headers if not name.startswith("flamebus_")]
        writer.publish(letter.topic, record.key, record.value, headers)
        count += 1
    writer.finish()
    typer.echo(json.dumps({"published": count}) if as_json else f"published {count} records again")


def _letters(settings: Settings, reason: str | None = None) -> Iterator[tuple[BusRecord, DeadLetter]]:
    """All dead letters; records of the topic that are none are told on standard error and passed over."""
    topic = DEADLETTER.name(settings.topic_prefix)
    with closing(BusReader(settings.bootstrap_servers, [topic], is_from_beginning=True)) as reader:
        for record in reader.until_now():
            try:
                letter = DeadLetter.from_headers(record.headers)
            except BadDataError as error:
                typer.echo(f"passed over {topic} {_place(record)}: {error}", err=True)
                continue
            if reason is None or letter.reason == reason:
                yield record, letter


def _place(record: BusRecord) -> str:
    return f"{record.partition}:{record.offset}"


def _row(record: BusRecord, letter: DeadLetter) -> dict[str, str]:
    return {
        "place": _place(record),
        "reason": letter.reason,
        "detail": letter.detail,
        "origin": f"{letter.topic}/{letter.partition}@{letter.offset}",
        "appended": format_time(letter.append_unix_nano),
    }
