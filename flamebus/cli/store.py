"""``flamebus store``: put small files together, drop what is past its retention, and look whether all can be read."""

import json
import signal
import threading
from collections.abc import Callable
from dataclasses import asdict
from typing import Annotated

import typer

from flamebus.cli.options import ConfigOption, JsonOption, StoreOption
from flamebus.clock import NANOSECONDS, SystemClock, format_time, parse_duration
from flamebus.config import Settings, load
from flamebus.errors import BadDataError, StoreUnavailableError, UsageError
from flamebus.store.compaction import CompactionReport, Compactor
from flamebus.store.inspection import describe, verify
from flamebus.store.layout import Dataset
from flamebus.store.retention import RetentionReport, retain

KeepOption = Annotated[
    list[str] | None,
    typer.Option("--keep", help="DATASET=DURATION, such as heat=7d; again for others. Default: the retention setting"),
]


def register(app: typer.Typer, verb: str) -> None:
    """Add the verb with its actions."""
    group = typer.Typer(name=verb, no_args_is_help=True)
    group.callback()(_store)
    group.command("compact")(compact)
    group.command("retain")(retain_)
    group.command("maintain")(maintain)
    group.command("info")(info)
    group.command("verify")(verify_)
    app.add_typer(group)


def _store() -> None:
    """Compact the store, drop what is past its retention, and check it. Safe beside readers, writers and itself."""


def compact(*, store: StoreOption = None, config: ConfigOption = None, as_json: JsonOption = False) -> None:
    """Put the small files of windows together, once."""
    settings = load({"store": store}, file=config).settings
    report = Compactor(settings.store, SystemClock(), settings.s3_endpoint).run()
    typer.echo(json.dumps(asdict(report), indent=2) if as_json else _compacted(report))
    _warn_of(report.damaged)


def retain_(
    *,
    keep: KeepOption = None,
    store: StoreOption = None,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Drop the hours that are past their retention, once."""
    settings = load({"store": store}, file=config).settings
    report = retain(settings.store, _keep_ns(settings, keep), SystemClock(), settings.s3_endpoint)
    typer.echo(json.dumps(asdict(report), indent=2) if as_json else _retained(report))


def maintain(
    *,
    every: Annotated[str, typer.Option("--every", help="Time between runs")] = "10m",
    keep: KeepOption = None,
    store: StoreOption = None,
    config: ConfigOption = None,
) -> None:
    """Compact and retain again and again until interrupted; a store that does not answer is tried again next time."""
    settings = load({"store": store}, file=config).settings
    keep_ns = _keep_ns(settings, keep)
    every_s = parse_duration(every) / NANOSECONDS["s"]
    if every_s < 1:
        raise UsageError("--every must be at least 1s")
    compactor = Compactor(settings.store, SystemClock(), settings.s3_endpoint)
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    while not stop.is_set():
        _attempt(lambda: _compacted(compactor.run()))
        _attempt(lambda: _retained(retain(settings.store, keep_ns, SystemClock(), settings.s3_endpoint)))
        stop.wait(every_s)


def info(*, store: StoreOption = None, config: ConfigOption = None, as_json: JsonOption = False) -> None:
    """What the store holds, by dataset and kind."""
    settings = load({"store": store}, file=config).settings
    found = describe(settings.store, settings.s3_endpoint)
    if as_json:
        typer.echo(json.dumps([asdict(entry) for entry in found], indent=2))
        return
    typer.echo("dataset   kind        hours    files  compacted        bytes  from                      to")
    for entry in found:
        typer.echo(
            f"{entry.dataset:9} {entry.kind:9} {entry.hours:7,} {entry.files:8,} {entry.compacted:10,}"
            f" {entry.bytes:12,}  {format_time(entry.start_unix_nano)}  {format_time(entry.end_unix_nano)}"
        )


def verify_(*, store: StoreOption = None, config: ConfigOption = None, as_json: JsonOption = False) -> None:
    """Read every file from end to end; exit code 5 when one is damaged."""
    settings = load({"store": store}, file=config).settings
    report = verify(settings.store, settings.s3_endpoint)
    if as_json:
        typer.echo(json.dumps(asdict(report), indent=2))
    else:
        typer.echo(f"{report.files:,} files read, {len(report.damaged):,} damaged")
    if report.damaged:
        names = "; ".join(f"{name}: {why}" for name, why in sorted(report.damaged.items()))
        raise BadDataError("damaged", f"damaged files in {settings.store}: {names}")


def _keep_ns(settings: Settings, keep: list[str] | None) -> dict[Dataset, int]:
    """How long each dataset is kept.

    Raises:
        UsageError: not DATASET=DURATION.
    """
    result = dict.fromkeys(Dataset, settings.retention)
    for entry in keep or []:
        name, separator, duration = entry.partition("=")
        if not separator or name not in list(Dataset):
            raise UsageError(f"not a retention: {entry!r}; write DATASET=DURATION with one of {', '.join(Dataset)}")
        result[Dataset(name)] = parse_duration(duration)
    return result


def _attempt(step: Callable[[], str]) -> None:
    try:
        typer.echo(step(), err=True)
    except StoreUnavailableError as error:
        typer.echo(f"flamebus: {error}; trying again", err=True)


def _compacted(report: CompactionReport) -> str:
    return (
        f"{report.folders:,} folders: {report.merged:,} files merged into {report.written:,}, "
        f"{report.deleted:,} replaced ones deleted"
        + (f", {report.swept:,} unfinished ones removed" if report.swept else "")
        + (f", {len(report.damaged):,} damaged ones left alone" if report.damaged else "")
    )


def _retained(report: RetentionReport) -> str:
    return f"{report.deleted:,} files of {report.folders:,} hours were past their retention"


def _warn_of(damaged: dict[str, str] | None) -> None:
    for name, why in sorted((damaged or {}).items()):
        typer.echo(f"flamebus: left alone, damaged: {name}: {why}", err=True)
