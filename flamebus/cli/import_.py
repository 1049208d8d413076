"""``flamebus import``: publish profiles from elsewhere as batches: folded text, perf script's text, pprof."""

import json
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Annotated, BinaryIO

import typer

from flamebus.cli.import_report import FileReport, ImportReport, warn
from flamebus.cli.options import BusOption, ConfigOption, JsonOption, PrefixOption
from flamebus.cli.progress import Progress
from flamebus.clock import NANOSECONDS, parse_duration, parse_time
from flamebus.config import Settings, load
from flamebus.errors import BadDataError, UsageError
from flamebus.importing.batching import Batcher, Origin
from flamebus.importing.foreign import ForeignProfile, ReadOptions
from flamebus.importing.formats import Format, detect, read
from flamebus.importing.holding import Held
from flamebus.importing.placing import Placement
from flamebus.importing.source import Source
from flamebus.profile import Kind, SampleBatch
from flamebus.window import window_start
from flamebus.wire.batch import decode_batch, encode_batch
from flamebus.wire.headers import cloud_event
from flamebus.wire.replaying import moved_batch
from flamebus.wire.topics import event_type, samples_topic

_MAX_DURATION_NS = NANOSECONDS["d"]
"""A profile spread over more would be thousands of records for one graph."""

_LAST_UNIX_NANO = 2**62
_UNKNOWN_HOST = "imported"


def register(app: typer.Typer, verb: str) -> None:
    """Add the verb."""
    app.command(verb)(import_)


def import_(
    files: Annotated[list[str], typer.Argument(help="Files, gzip or not; - for standard input")],
    *,
    service: Annotated[str, typer.Option("--service", help="Service that the samples belong to")],
    form: Annotated[Format, typer.Option("--format", help="What the files are")] = Format.AUTO,
    at: Annotated[
        str | None,
        typer.Option("--time", help="When the profile began: 2026-01-31T12:00:00Z, -15m, Unix time (default: now)"),
    ] = None,
    duration: Annotated[
        str | None, typer.Option("--duration", help="How long it took, with --time: samples are spread over it")
    ] = None,
    kind: Annotated[str, typer.Option("--kind", help="Kind of samples")] = "cpu",
    sample_type: Annotated[
        str | None, typer.Option("--sample-type", help="pprof: value to take; perf-script: event; folded: TYPE/UNIT")
    ] = None,
    period: Annotated[
        str | None, typer.Option("--period", help="CPU time of one count, such as 10ms (folded, perf-script)")
    ] = None,
    host: Annotated[str | None, typer.Option("--host", help="Host that the samples are from")] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Read everything, say what would be published")] = False,
    bus: BusOption = None,
    topic_prefix: PrefixOption = None,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Publish profiles from elsewhere as batches, all or, when a file is damaged, nothing.

    Without --time the samples belong to the window of the moment, and a running worker counts them in it. With --time a
    running worker counts what is older than its window and lateness as late: use a --topic-prefix of its own.
    """
    settings = load({"bus": bus, "topic_prefix": topic_prefix}, file=config).settings
    if kind not in list(Kind):
        raise UsageError(f"unknown kind {kind!r}; there are {', '.join(Kind)}")
    if not service.strip():
        raise UsageError("--service may not be empty")
    options = ReadOptions(sample_type or "", parse_duration(period) if period else 0)
    job = _Job(settings, service, kind, host, form, options, _begin(at), _duration(duration, at))
    publisher = None if dry_run else _Publisher(settings, service, kind)
    report = ImportReport(service, kind)
    with Held() as held, Progress() as progress:
        for name in files:
            report.files.append(_read(name, job, held, report, progress))
        try:
            _publish(job, held, publisher, report, progress)
        finally:
            if publisher:
                publisher.finish()
                report.is_published = True
    warn(report, settings)
    typer.echo(json.dumps(report.as_json()) if as_json else report.as_text())


@dataclass(frozen=True, slots=True)
class _Job:
    settings: Settings
    service: str
    kind: str
    host: str | None
    form: Format
    options: ReadOptions
    begin_unix_nano: int | None
    duration_ns: int | None

    def placement(self, profile: ForeignProfile) -> Placement:
        """Where its samples go; what was given beats what the file says."""
        if self.begin_unix_nano is None:
            return Placement(self.settings.window)
        duration_ns = profile.duration_ns or 0 if self.duration_ns is None else self.duration_ns
        if duration_ns > _MAX_DURATION_NS:
            raise BadDataError("bad_time", "the profile says that it took more than a day; give its --duration")
        return Placement(self.settings.window, self.begin_unix_nano, duration_ns)


def _begin(at: str | None) -> int | None:
    begin = parse_time(at, time.time_ns()) if at else None
    if begin is not None and not 0 <= begin < _LAST_UNIX_NANO:
        raise UsageError(f"--time {at} lies before 1970 or after 2116")
    return begin


def _duration(duration: str | None, at: str | None) -> int | None:
    if duration is None:
        return None
    if at is None:
        raise UsageError("--duration needs --time: without it all samples belong to the window of the moment")
    duration_ns = parse_duration(duration)
    if duration_ns > _MAX_DURATION_NS:
        raise UsageError(f"--duration {duration} is more than a day")
    return duration_ns


@contextmanager
def _opened(name: str) -> Iterator[BinaryIO]:
    if name == "-":
        yield sys.stdin.buffer
        return
    try:
        stream = Path(name).open("rb")  # noqa: SIM115 - closed below
    except OSError as error:
        raise UsageError(f"cannot read {name}: {error.strerror}") from error
    with stream:
        yield stream


def _read(name: str, job: _Job, held: Held, report: ImportReport, progress: Progress) -> FileReport:
    """Hold the batches of one file.

    Raises:
        BadDataError: the file is damaged.
        UsageError: it cannot be opened, or measures something else than the files before it.
    """
    shown = "standard input" if name == "-" else name
    with _opened(name) as stream:
        try:
            source = Source(shown, stream)
            form = detect(source) if job.form is Format.AUTO else job.form
            profile = read(source, form, job.options)
            report.agree(shown, profile.sample_type)
            origin = Origin(job.service, job.host or profile.host or _UNKNOWN_HOST, job.kind, version("flamebus"))
            result = FileReport(shown, form, profile.notes, profile.taken_unix_nano)
            for batch, record in Batcher(profile, origin, job.placement(profile)).batches():
                held.add(batch.start_unix_nano, record)
                result.count(batch)
                progress.tell(lambda: f"{shown}: {result.samples:,.0f} samples read")
        except OSError as error:
            raise UsageError(f"cannot read {shown}: {error.strerror or error}") from error
    if not result.batches:
        raise BadDataError("empty", f"{shown} holds no samples")
    return result


def _publish(job: _Job, held: Held, publisher: "_Publisher | None", report: ImportReport, progress: Progress) -> None:
    for record in held.in_order():
        batch = decode_batch(record)
        now = time.time_ns()
        if job.begin_unix_nano is None:
            batch = moved_batch(batch, window_start(now, job.settings.window))
            record = encode_batch(batch)  # noqa: PLW2901 - the same record, at its time
        if report.note(batch, now, job.settings.lateness) and publisher:
            publisher.publish(batch, record)
        progress.tell(lambda: f"{report.batches} of {len(held)} batches published")


class _Publisher:
    """Sends batches of one service.

    Raises:
        BusUnavailableError: no broker answers; told before any file is read.
    """

    def __init__(self, settings: Settings, service: str, kind: str) -> None:
        from flamebus.cli.bus import BusWriter, TopicAdmin

        topic = samples_topic(kind)
        self._stem, self._topic, self._key = topic.stem, topic.name(settings.topic_prefix), service.encode()
        self._writer = BusWriter(settings.bootstrap_servers)
        TopicAdmin(settings.bootstrap_servers).create_missing(
            [topic], settings.topic_prefix, settings.partitions, settings.replication
        )

    def publish(self, batch: SampleBatch, record: bytes) -> None:
        """Hand over one batch."""
        headers = cloud_event(batch.batch_id.hex(), "/import", event_type(self._stem), batch.start_unix_nano)
        self._writer.publish(self._topic, self._key, record, headers)

    def finish(self) -> None:
        """Wait until all have arrived."""
        self._writer.finish()
