"""``flamebus record``: save records of the bus to a file, for replay."""

import json
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from itertools import takewhile
from pathlib import Path
from typing import Annotated, BinaryIO

import typer

from flamebus.cli.bus import BusReader
from flamebus.cli.interruption import Interruption
from flamebus.cli.options import BusOption, ConfigOption, JsonOption, PrefixOption
from flamebus.cli.progress import Progress
from flamebus.clock import NANOSECONDS, parse_duration
from flamebus.config import Settings, load
from flamebus.errors import FlamebusError, UsageError
from flamebus.wire.recording import BusRecord, RecordingHeader, RecordingWriter
from flamebus.wire.topics import samples_topic


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
    """Save records as they are, until Ctrl-C, --duration, --count, or with --from-beginning the end of the log."""
    settings = load({"bus": bus, "topic_prefix": topic_prefix, "kinds": kinds}, file=config).settings
    limit_s = parse_duration(duration) / NANOSECONDS["s"] if duration else None
    is_to_now = from_beginning and limit_s is None and count is None
    with Interruption() as interruption:
        reader = BusReader(
            settings.bootstrap_servers,
            _topics(topic, settings),
            is_from_beginning=from_beginning,
            is_over=interruption.has_come,
        )
        with closing(reader), _created(output) as stream:
            records = reader.until_now() if is_to_now else reader.for_ever()
            writer = RecordingWriter(stream, RecordingHeader(settings.topic_prefix, time.time_ns()))
            saved = _save(records, writer, limit_s, count)
    typer.echo(json.dumps({"records": saved, "file": str(output)}) if as_json else f"saved {saved} records to {output}")


@contextmanager
def _created(output: Path) -> Iterator[BinaryIO]:
    try:
        stream = output.open("xb")
    except OSError as error:
        raise UsageError(f"cannot write {output}: {error.strerror}") from error
    try:
        with stream:
            yield stream
    except OSError as error:
        raise FlamebusError(f"cannot write {output}: {error.strerror}; what is in it can be replayed") from error


def _topics(names: list[str] | None, settings: Settings) -> list[str]:
    prefix = settings.topic_prefix
    if names:
        return [name if name.startswith(prefix) else prefix + name for name in names]
    return [samples_topic(kind).name(prefix) for kind in settings.kind_names]


def _save(
    records: Iterator[BusRecord] | Iterator[BusRecord | None],
    writer: RecordingWriter,
    limit_s: float | None,
    limit_count: int | None,
) -> int:
    begin = time.monotonic()
    saved = 0
    with Progress() as progress:
        for entry in takewhile(lambda _: limit_s is None or time.monotonic() - begin < limit_s, records):
            if entry is not None:
                writer.append(entry)
                saved += 1
            if limit_count is not None and saved >= limit_count:
                break
            progress.tell(lambda: f"{saved:,} records, {time.monotonic() - begin:.0f} s")  # noqa: B023 - called at once
    return saved
