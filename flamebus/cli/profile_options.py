"""Options of verbs that look at a profile in the store, and how they become a question."""

import time
from typing import Annotated

import typer

from flamebus.config import Settings
from flamebus.errors import UsageError
from flamebus.profile import Kind
from flamebus.store.reader import StoreReader
from flamebus.time_range import TimeRange, read_time_range

ServiceOption = Annotated[str | None, typer.Option("--service", help="Service; all of them when not given")]
KindOption = Annotated[str, typer.Option("--kind", help="Kind of samples")]
SinceOption = Annotated[str | None, typer.Option("--since", help="How far back from --to, such as 15m (default 1h)")]
FromOption = Annotated[str | None, typer.Option("--from", help="Start: now, -15m, 2026-01-31T12:00:00Z")]
ToOption = Annotated[str | None, typer.Option("--to", help="End, like --from (default now)")]

SearchOption = Annotated[
    str | None, typer.Option("--search", help="Only functions whose name contains this", show_default=False)
]


def time_range(since: str | None, start: str | None, end: str | None) -> TimeRange:
    """The range asked for; the last hour by default.

    Raises:
        UsageError: not a time, both ways at once, or a reversed range.
    """
    return read_time_range(since, start, end, time.time_ns())


def open_reader(settings: Settings, kind: str, service: str | None, span: TimeRange) -> StoreReader:
    """The store, known to exist and to know the service.

    Raises:
        StoreUnavailableError: there is no store.
        UsageError: no such kind, or no such service in the range.
    """
    reader = StoreReader(settings.store, settings.s3_endpoint)
    reader.check()
    kinds = sorted({*Kind, *reader.kinds(span)})
    if kind not in kinds:
        raise UsageError(f"unknown kind {kind!r}; there are {', '.join(kinds)}")
    if service is not None:
        reader.require_service(service, span)
    return reader


def warn_of_damage(reader: StoreReader) -> None:
    """Say on standard error which files an answer had to do without."""
    for name, why in sorted(reader.damaged.items()):
        typer.echo(f"flamebus: passed over {name}, which is damaged: {why}", err=True)
