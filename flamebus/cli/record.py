"""``flamebus record``: save records of the bus to a file, for replay."""

import json
import time
from contextlib import closing
from itertools import takewhile
from pathlib import Path
from typing import Annotated, BinaryIO

import typer

from flamebus.cli.bus import BusReader
from flamebus.cli.options import BusOption, ConfigOption, JsonOption, PrefixOption
from flamebus.clock import NANOSECONDS, parse_duration
from flamebus.config import Settings, load
from flamebus.errors import UsageError
from flamebus.wire.recording import RecordingHeader, RecordingWriter
from flamebus.wire.topics import samples_topic

_PROGRESS_S = 2.0


def register(app: typer.Typer, verb: str) -> None:
    """Add the verb."""
    app.command(verb)(record)


def record(
    *,
    output: Annotated[Path, typer.Option("--output", "-o", help="File to write; it must not exist")],
    topic: Annotated[
        list[str] | None, typer.Option(help="Topic, with or without the prefix; may be repeated", show_default=False)
    ] = None,
    kinds: Annotated[str | None, typer.Option(help="Kinds whose samples to save", show_default=False)] = None,
    duration: Annotated[str | None, typer.Option(help="End after this long: 60s", show_default=False)] = None,
    count: Annotated[int | None, typer.Option(min=1, help="End after so many records", show_default=False)] = None,
    from_beginning: Annotated[
        bool, typer.Option("--from-beginning", help="Begin with the oldest record, and end at the log's end")
    ] = False,
    bus: BusOption = None,
    topic_prefix: PrefixOption = None,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Save records as they are. Without --duration, --count or --from-beginning, Ctrl-C ends it."""
    settings = load({"bus": bus, "topic_prefix": topic_prefix, "kinds": kinds}, file=config).settings
    limit_s = parse_duration(duration) / NANOSECONDS["s"] if duration else None
    reader = BusReader(settings.bootstrap_servers, _topics(topic, settings), is_from_beginning=from_beginning)
    with closing(reader):
        try:
            stream = output.open("xb")
        except OSError as error:
            raise UsageError(f"cannot write {output}: {error.strerror}") from error
        is_to_now = from_beginning and limit_s is None and count is None
        with stream:
            saved = _save(reader, stream, settings.topic_prefix, limit_s=limit_s, count=count, is_to_now=is_to_now)
    typer.echo(json.dumps({"records": saved, "file": str(output)}) if as_json else f"saved {saved} records to {output}")


def _topics(names: list[str] | None, settings: Settings) -> list[str]:
    prefix = settings.topic_prefix
    if names:
        return [name if name.startswith(prefix) else prefix + name for name in names]
    return [samples_topic(kind).name(prefix) for kind in settings.kind_names]


def _save(
    reader: BusReader, stream: BinaryIO, prefix: str, *, limit_s: float | None, count: int | None, is_to_now: bool
) -> int:
    writer = RecordingWriter(stream, RecordingHeader(prefix, time.time_ns()))
    begin = told = time.monotonic()
    records = reader.until_now() if is_to_now else reader.for_ever()
    saved = 0
    try:
        for entry in takewhile(lambda _: limit_s is None or time.monotonic() - begin < limit_s, records):
            if entry is not None:
                writer.append(entry)
                saved += 1
            if count is not None and saved >= count:
                break
            if time.monotonic() - told > _PROGRESS_S:
                told = time.monotonic()
                typer.echo(f"{saved} records, {told - begin:.0f} s", err=True)
    except KeyboardInterrupt:
        typer.echo("ended by Ctrl-C", err=True)
    return saved
