"""What an import did, for people and as JSON."""

from dataclasses import dataclass, field

import typer

from flamebus.clock import format_duration, format_time
from flamebus.config import Settings
from flamebus.errors import UsageError
from flamebus.importing.foreign import Notes
from flamebus.profile import SampleBatch, SampleType
from flamebus.window import MAX_CLOCK_SKEW_NS


@dataclass(slots=True)
class FileReport:
    """One file: samples are sums of weights, total is in the unit of the sample type."""

    file: str
    form: str
    notes: Notes
    taken_unix_nano: int | None
    batches: int = 0
    samples: float = 0.0
    total: float = 0.0

    def count(self, batch: SampleBatch) -> None:
        """Add what a batch of this file holds."""
        self.batches += 1
        self.samples += float(batch.samples.weight.sum(dtype="float64"))
        self.total += float(batch.samples.totals().sum())

    def as_json(self) -> dict[str, object]:
        """Whole numbers as such."""
        return {
            "file": self.file,
            "format": self.form,
            "samples": _whole(self.samples),
            "total": _whole(self.total),
            "passed_over": dict(self.notes.passed_over),
            "lost": dict(self.notes.lost),
            "taken_unix_nano": self.taken_unix_nano,
        }


@dataclass(slots=True)
class ImportReport:
    """The whole import.

    Attributes:
        batches: published, or that would be; repeated: left out, since the same one was among them.
        late, ahead: of the published ones, those that a running worker counts as late, or refuses.
    """

    service: str
    kind: str
    files: list[FileReport] = field(default_factory=list)
    sample_type: SampleType | None = None
    is_published: bool = False
    batches: int = 0
    repeated: int = 0
    late: int = 0
    ahead: int = 0
    _windows: set[int] = field(default_factory=set)
    _ids: set[bytes] = field(default_factory=set)
    _end_unix_nano: int = 0

    def agree(self, name: str, sample_type: SampleType) -> None:
        """Check that a file measures what the others do.

        Raises:
            UsageError: it does not: a window of one service and kind has one unit.
        """
        if self.sample_type not in {None, sample_type}:
            raise UsageError(
                f"{name} measures {_name(sample_type)}, the files before it {_name(self.sample_type)}; "
                "import them apart, as different services, or choose with --sample-type or --period"
            )
        self.sample_type = sample_type

    def note(self, batch: SampleBatch, now_unix_nano: int, lateness_ns: int) -> bool:
        """Count a batch that is to be published now; ``False`` when it is the same as one before."""
        if batch.batch_id in self._ids:
            self.repeated += 1
            return False
        self._ids.add(batch.batch_id)
        self.batches += 1
        self.late += batch.end_unix_nano + lateness_ns <= now_unix_nano
        self.ahead += int(batch.times_unix_nano().max()) > now_unix_nano + MAX_CLOCK_SKEW_NS
        self._windows.add(batch.start_unix_nano)
        self._end_unix_nano = max(self._end_unix_nano, batch.end_unix_nano)
        return True

    def as_json(self) -> dict[str, object]:
        """For ``--json``."""
        return {
            "published": self.is_published,
            "service": self.service,
            "kind": self.kind,
            "sample_type": [self.sample_type.type, self.sample_type.unit] if self.sample_type else None,
            "batches": self.batches,
            "repeated": self.repeated,
            "late": self.late,
            "ahead": self.ahead,
            "windows": len(self._windows),
            "from_unix_nano": min(self._windows),
            "to_unix_nano": self._end_unix_nano,
            "files": [file.as_json() for file in self.files],
        }

    def as_text(self) -> str:
        """Some lines."""
        lines = [_file_line(file, self.sample_type) for file in self.files]
        done = "published" if self.is_published else "would publish"
        span = f"{format_time(min(self._windows))} to {format_time(self._end_unix_nano)}"
        lines.append(
            f"{done} {_count(self.batches, 'batch', 'batches')} of service {self.service}, kind {self.kind}, "
            f"in {_count(len(self._windows), 'window', 'windows')}: {span}"
        )
        return "\n".join(lines)


def warn(report: ImportReport, settings: Settings) -> None:
    """Say on standard error what the reader might not expect."""
    of = f"of {_count(report.batches, 'batch', 'batches')}"
    if report.late:
        typer.echo(
            f"flamebus: {report.late} {of}: ended more than {format_duration(settings.lateness)} ago; a worker that is "
            "already running counts such samples as late; give a --topic-prefix of its own, start its worker later",
            err=True,
        )
    if report.ahead:
        typer.echo(
            f"flamebus: {report.ahead} {of}: more than {format_duration(MAX_CLOCK_SKEW_NS)} ahead of now; workers put "
            "such batches among the dead letters (clock_skew)",
            err=True,
        )
    if report.repeated:
        typer.echo(
            f"flamebus: {_count(report.repeated, 'batch is', 'batches are')} the same as others here and count once",
            err=True,
        )


def _file_line(file: FileReport, sample_type: SampleType | None) -> str:
    parts = [f"{file.file}: {file.form}, {file.samples:,.0f} samples, {file.total:,.0f} {_name(sample_type)}"]
    parts += [f"{count:,} passed over ({why})" for why, count in sorted(file.notes.passed_over.items())]
    parts += [f"{count:,} lost by the other profiler" for count in file.notes.lost.values() if count]
    if file.taken_unix_nano:
        parts.append(f"taken {format_time(file.taken_unix_nano)}")
    return "; ".join(parts)


def _name(sample_type: SampleType | None) -> str:
    return f"{sample_type.type}/{sample_type.unit}" if sample_type else ""


def _count(number: int, one: str, many: str) -> str:
    return f"{number:,} {one if number == 1 else many}"


def _whole(value: float) -> int | float:
    return int(value) if value == int(value) else value
