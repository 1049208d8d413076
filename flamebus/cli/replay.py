"""``flamebus replay``: publish recorded batches again, at any speed, with their own times or moved to now."""

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

import typer

from flamebus.cli import EXIT_INTERRUPTED
from flamebus.cli.bus import BusWriter, TopicAdmin
from flamebus.cli.interruption import Interruption
from flamebus.cli.options import BusOption, ConfigOption, JsonOption, PrefixOption
from flamebus.cli.progress import Progress
from flamebus.clock import NANOSECONDS
from flamebus.config import load
from flamebus.errors import BadDataError, UsageError
from flamebus.profile import Kind
from flamebus.wire.recording import RecordingReader
from flamebus.wire.replaying import shifted, to_replay, whole_windows
from flamebus.wire.topics import samples_topic

_LOOK_S = 0.2
"""Between two looks at the progress while nothing is due."""


def register(app: typer.Typer, verb: str) -> None:
    """Add the verb."""
    app.command(verb)(replay)


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
    with Interruption() as interruption, _opened(file) as reader, Progress() as progress:
        writer = BusWriter(settings.bootstrap_servers)
        TopicAdmin(settings.bootstrap_servers).create_missing(
            [samples_topic(kind) for kind in Kind], settings.topic_prefix, settings.partitions, settings.replication
        )
        plan = _plan(reader, interruption, progress)
        job = _Replay(
            reader=reader,
            plan=plan,
            prefix=settings.topic_prefix,
            shift_ns=_shift(plan, settings.window, is_live=factor == 1) if shift_to_now else 0,
            factor=factor,
        )
        try:
            job.run(writer, interruption, progress)
        finally:
            writer.finish()
    typer.echo(job.summary(as_json=as_json))
    if plan.damage:
        raise BadDataError(plan.damage.reason, f"{file}: {plan.damage}")
    if interruption.has_come():
        raise typer.Exit(EXIT_INTERRUPTED)


@dataclass(slots=True)
class _Plan:
    """What of a recording is to be published: end of event time and place in the file, in order of time.

    A recording holds partitions one after the other where they were read so; published in that order, all but the first
    would come too late for their windows.
    """

    due: list[tuple[int, int]] = field(default_factory=list)
    passed_over: int = 0
    damage: BadDataError | None = None


def _plan(reader: RecordingReader, interruption: Interruption, progress: Progress) -> _Plan:
    """Read a recording once; what follows a broken record is told in the end, when all before it is published."""
    plan, stems = _Plan(), {samples_topic(kind).stem for kind in Kind}
    try:
        for place, record in reader.records():
            entry = to_replay(record, reader.header.topic_prefix)
            if entry is None or entry.stem not in stems:
                plan.passed_over += 1
            else:
                plan.due.append((entry.end_unix_nano, place))
            progress.tell(lambda: f"{len(plan.due):,} records read")
            if interruption.has_come():
                break
    except BadDataError as error:
        plan.damage = error
    plan.due.sort()
    return plan


@dataclass(slots=True)
class _Replay:
    """One replay, and what it has done so far."""

    reader: RecordingReader
    plan: _Plan
    prefix: str
    shift_ns: int
    factor: float | None
    published: int = 0
    samples: int = 0
    not_a_batch: int = 0

    def run(self, writer: BusWriter, interruption: Interruption, progress: Progress) -> None:
        """Publish all records, each when it is due."""
        if not self.plan.due:
            return
        first_end = self.plan.due[0][0]
        begin = time.time_ns()
        if self.factor == 1 and self.shift_ns:
            # Live, the first batch is due when the window that it moves into has ended.
            begin = max(begin, first_end + self.shift_ns)
        for end, place in self.plan.due:
            due = begin + int((end - first_end) / self.factor) if self.factor else 0
            while (left_ns := due - time.time_ns()) > 0 and not interruption.has_come():
                progress.tell(self._progress)
                interruption.wait(min(left_ns / NANOSECONDS["s"], _LOOK_S))
            if interruption.has_come():
                return
            self._publish(writer, place)
            progress.tell(self._progress)

    def _publish(self, writer: BusWriter, place: int) -> None:
        entry = to_replay(self.reader.record_at(place), self.reader.header.topic_prefix)
        if entry is None:
            return
        record = shifted(entry, self.shift_ns)
        writer.publish(self.prefix + entry.stem, record.key, record.value, record.headers)
        self.published += 1
        self.samples += len(entry.batch.samples) if entry.batch else 0
        self.not_a_batch += entry.batch is None

    def _progress(self) -> str:
        return f"{self.published:,} of {len(self.plan.due):,} records published, {self.samples:,} samples"

    def summary(self, *, as_json: bool) -> str:
        """What was done."""
        values = {
            "published": self.published,
            "samples": self.samples,
            "passed_over": self.plan.passed_over,
            "not_a_batch": self.not_a_batch,
            "shift_ns": self.shift_ns,
        }
        if as_json:
            return json.dumps(values)
        return (
            f"published {self.published} records with {self.samples} samples, moved by {self.shift_ns / 1e9:.0f} s; "
            f"{self.plan.passed_over} passed over (ticks, other topics), {self.not_a_batch} that are no batches"
        )


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
        stream = file.open("rb")
    except OSError as error:
        raise UsageError(f"cannot read {file}: {error.strerror}") from error
    with stream:
        try:
            reader = RecordingReader(stream)
        except BadDataError as error:
            raise BadDataError(error.reason, f"{file}: {error}") from error
        except OSError as error:  # a folder
            raise UsageError(f"cannot read {file}: {error.strerror}") from error
        yield reader


def _shift(plan: _Plan, window_ns: int, *, is_live: bool) -> int:
    """How far to move: live, the first batch ends at the end of the current window; else the last one ends before now.

    Event time must not run ahead of the broker's clock, and at any other speed than 1 it would.
    """
    if not plan.due:
        return 0
    now = time.time_ns()
    if is_live:
        return whole_windows(now - plan.due[0][0], window_ns) + window_ns
    return whole_windows(now - plan.due[-1][0], window_ns)
