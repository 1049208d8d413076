"""``flamebus replay``: publish recorded batches again, at any speed, with their own times or moved to now."""

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

import typer

from flamebus.cli.bus import BusWriter, TopicAdmin
from flamebus.cli.options import BusOption, ConfigOption, JsonOption, PrefixOption
from flamebus.clock import NANOSECONDS
from flamebus.config import Settings, load
from flamebus.errors import BadDataError, UsageError
from flamebus.profile import Kind
from flamebus.wire.recording import RecordingReader
from flamebus.wire.replaying import Replayed, shifted, to_replay, whole_windows
from flamebus.wire.topics import samples_topic

_PROGRESS_S = 2.0


def register(app: typer.Typer, verb: str) -> None:
    """Add the verb."""
    app.command(verb)(replay)


@dataclass(slots=True)
class _Counts:
    published: int = 0
    samples: int = 0
    passed_over: int = 0
    not_a_batch: int = 0
    told_at: float = field(default_factory=time.monotonic)

    def tell(self) -> None:
        """Progress on standard error, every few seconds."""
        if time.monotonic() - self.told_at > _PROGRESS_S:
            self.told_at = time.monotonic()
            typer.echo(f"{self.published} records, {self.samples} samples", err=True)


def replay(
    file: Annotated[Path, typer.Argument(help="A file of flamebus record")],
    *,
    speed: Annotated[str, typer.Option(help="How many times faster than it was: 1, 10, 0.5, or max")] = "1",
    shift_to_now: Annotated[
        bool, typer.Option("--shift-to-now/--original-times", help="Move event times by whole windows, or keep them")
    ] = True,
    bus: BusOption = None,
    topic_prefix: PrefixOption = None,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Publish recorded batches again.

    Shifted to now, at speed 1, they count like live ones. Original times, and other speeds, lie in the past: a worker
    that is already running counts them as late. Use a --topic-prefix of its own and start its worker afterwards.
    """
    settings = load({"bus": bus, "topic_prefix": topic_prefix}, file=config).settings
    factor = _speed(speed)
    first_end, last_end = _span(file)
    shift_ns = _shift(first_end, last_end, settings.window, is_live=factor == 1) if shift_to_now else 0
    counts = _Counts()
    writer = BusWriter(settings.bootstrap_servers)
    topics = [samples_topic(kind) for kind in Kind]
    TopicAdmin(settings.bootstrap_servers).create_missing(
        topics, settings.topic_prefix, settings.partitions, settings.replication
    )
    try:
        _publish(file, writer, settings, shift_ns=shift_ns, first_end=first_end, factor=factor, counts=counts)
    finally:
        writer.finish()
        typer.echo(_summary(counts, shift_ns, as_json=as_json))


def _publish(
    file: Path,
    writer: BusWriter,
    settings: Settings,
    *,
    shift_ns: int,
    first_end: int,
    factor: float | None,
    counts: _Counts,
) -> None:
    # What was at its end at first_end is due now: or, live, when the window that it moves into has ended.
    due_unix_nano = max(time.time_ns(), first_end + shift_ns) if factor == 1 and shift_ns else time.time_ns()
    stems = {samples_topic(kind).stem for kind in Kind}
    for entry in _entries(file, counts):
        if entry.stem not in stems:
            counts.passed_over += 1
            continue
        if factor is not None:
            _wait_until(due_unix_nano + int((entry.end_unix_nano - first_end) / factor), counts)
        record = shifted(entry, shift_ns)
        writer.publish(settings.topic_prefix + entry.stem, record.key, record.value, record.headers)
        counts.published += 1
        counts.samples += len(entry.batch.samples) if entry.batch else 0
        counts.not_a_batch += entry.batch is None
        counts.tell()


def _wait_until(unix_nano: int, counts: _Counts) -> None:
    while (left_ns := unix_nano - time.time_ns()) > 0:
        time.sleep(min(left_ns / NANOSECONDS["s"], _PROGRESS_S))
        counts.tell()


def _speed(text: str) -> float | None:
    """Factor, or ``None`` for as fast as possible."""
    if text == "max":
        return None
    try:
        factor = float(text)
    except ValueError:
        factor = 0.0
    if not 0 < factor < float("inf"):
        raise UsageError(f"not a speed: {text!r}; write max or a number above 0")
    return factor


@contextmanager
def _opened(file: Path) -> Iterator[RecordingReader]:
    try:
        with file.open("rb") as stream:
            yield RecordingReader(stream)
    except OSError as error:
        raise UsageError(f"cannot read {file}: {error.strerror}") from error
    except BadDataError as error:
        raise BadDataError(error.reason, f"{file}: {error}") from error


def _entries(file: Path, counts: _Counts) -> Iterator[Replayed]:
    with _opened(file) as reader:
        for record in reader.records():
            entry = to_replay(record, reader.header.topic_prefix)
            if entry is None:
                counts.passed_over += 1
            else:
                yield entry


def _span(file: Path) -> tuple[int, int]:
    """Lowest and highest end of event time in the file; a broken tail is met, and told, when it is published."""
    ends: list[int] = []
    try:
        ends.extend(entry.end_unix_nano for entry in _entries(file, _Counts()))
    except BadDataError:
        if not ends:
            raise
    return (min(ends), max(ends)) if ends else (0, 0)


def _shift(first_end: int, last_end: int, window_ns: int, *, is_live: bool) -> int:
    """How far to move: live, the first batch ends at the end of the current window; else the last one ends before now.

    Event time must not run ahead of the broker's clock, and at any other speed than 1 it would.
    """
    now = time.time_ns()
    if is_live:
        return whole_windows(now - first_end, window_ns) + window_ns
    return whole_windows(now - last_end, window_ns)


def _summary(counts: _Counts, shift_ns: int, *, as_json: bool) -> str:
    values = {
        "published": counts.published,
        "samples": counts.samples,
        "passed_over": counts.passed_over,
        "not_a_batch": counts.not_a_batch,
        "shift_ns": shift_ns,
    }
    if as_json:
        return json.dumps(values)
    return (
        f"published {counts.published} records with {counts.samples} samples, moved by {shift_ns / 1e9:.0f} s; "
        f"{counts.passed_over} passed over (ticks, other topics), {counts.not_a_batch} that are no batches"
    )
