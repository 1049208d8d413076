"""The text of ``perf script`` as samples: one event of it, each sample with its time.

perf prints addresses in the file's own numbering, so an unresolved frame gets the name that the agent would give it.
"""

import re
from collections.abc import Iterator
from itertools import chain

from flamebus.errors import BadDataError, UsageError
from flamebus.frames import Line, Location
from flamebus.importing.foreign import (
    CPU_TIME,
    MAX_VALUE,
    SAMPLES,
    ForeignProfile,
    ForeignSample,
    Notes,
    ReadOptions,
    mapping_of,
)
from flamebus.importing.perf_records import INLINED, PerfFrame, PerfRecord, PerfRecords, events_of
from flamebus.importing.source import Source
from flamebus.profile import SampleType

_OFFSET = re.compile(r"\+0x([0-9a-f]{1,16})$")
_FILE_OFFSET = re.compile(r"\+0x([0-9a-f]{1,16})$")
_CPU_TIME_EVENTS = frozenset({"cpu-clock", "task-clock"})
_CPU_EVENTS = ("cpu-clock", "task-clock", "cycles", "cpu-cycles", "cpu_core/cycles/")
"""Best first."""

_UNRESOLVED = "[unknown]"
_MAX_CACHED_LOCATIONS = 65_536


def read_perf_script(source: Source, options: ReadOptions) -> ForeignProfile:
    """The profile; a line is wrong when it is reached.

    One event is taken: ``options.sample_type``, else the one that says most about CPU time, else the first. Values are
    its periods; where perf printed none, each sample counts once. With ``options.period_ns`` each sample is so much CPU
    time.

    Raises:
        BadDataError: there is no sample, or a line before the first one is wrong.
        UsageError: there are samples, but none of the event asked for.
    """
    notes = Notes()
    records = PerfRecords(source, notes)
    event = options.sample_type or _preferred(events_of(source.head.decode(errors="replace")))
    wanted = _of_event(iter(records), event, notes)
    first = next(wanted, None)
    if first is None:
        met = ", ".join(sorted(reason.removeprefix("event ") for reason in notes.passed_over))
        if met:
            raise UsageError(f"{source.name} has no samples of event {options.sample_type!r}; there are: {met}")
        raise BadDataError("empty", f"{source.name} holds no samples")
    if options.period_ns or (first.period and first.event in _CPU_TIME_EVENTS):
        sample_type = CPU_TIME
    else:
        sample_type = SampleType(first.event, "count") if first.period else SAMPLES
    samples = _samples(source, chain([first], wanted), first.time_ns, options.period_ns)
    return ForeignProfile(
        sample_type, samples, notes, sample_type, options.period_ns or first.period or 1, host=records.host
    )


def _preferred(events: list[str]) -> str:
    """The event to take by default; empty for the first one that comes."""
    return next((event for event in _CPU_EVENTS if event in events), "")


def _of_event(records: Iterator[PerfRecord], event: str, notes: Notes) -> Iterator[PerfRecord]:
    for record in records:
        event = event or record.event
        if record.event == event:
            yield record
        else:
            notes.passed_over[f"event {record.event}"] += 1


def _samples(source: Source, records: Iterator[PerfRecord], begin_ns: int, period_ns: int) -> Iterator[ForeignSample]:
    locations = _Locations()
    for record in records:
        value = period_ns or record.period or 1
        if value > MAX_VALUE:
            raise source.bad("overflow", record.number, f"the period {value} is above 2**53")
        yield ForeignSample(locations.of(record.frames), value, 1.0, record.time_ns - begin_ns, record.tid, record.comm)


class _Locations:
    """Frames become locations: those inlined into a function share the address of it."""

    def __init__(self) -> None:
        self._cache: dict[tuple[tuple[int, str, str, str, int], ...], Location] = {}

    def of(self, frames: list[PerfFrame]) -> tuple[Location, ...]:
        """Locations, leaf first."""
        result: list[Location] = []
        group: list[PerfFrame] = []
        for frame in frames:
            # perf leaves out the function around an inlined one at times: what follows has another address then.
            if group and (group[-1].file != INLINED or group[-1].address != frame.address):
                result.append(self._location(group))
                group = []
            group.append(frame)
        return (*result, self._location(group)) if group else ()

    def _location(self, group: list[PerfFrame]) -> Location:
        key = tuple((f.address, f.symbol, f.file, f.source_file, f.source_line) for f in group)
        found = self._cache.get(key)
        if found is None:
            if len(self._cache) >= _MAX_CACHED_LOCATIONS:
                self._cache.clear()
            found = self._cache[key] = _location(group)
        return found


def _location(group: list[PerfFrame]) -> Location:
    """One location of a frame and what is inlined into it, innermost first."""
    last = group[-1]
    file, address = last.file if last.file != INLINED else "", last.address
    in_file = _FILE_OFFSET.search(file)
    if in_file:  # the field dsoff of newer versions: the offset in the file stands behind its name
        file, address = file[: in_file.start()], int(in_file[1], 16)
    mapping, kind = mapping_of(file, address)
    named = [frame for frame in group if frame.symbol != _UNRESOLVED]
    if not named:
        return Location(mapping, address, kind)
    offset = _OFFSET.search(last.symbol)
    begin = address - int(offset[1], 16) if offset and not in_file else address
    return Location(mapping, max(0, begin) if offset else 0, kind, tuple(_line(frame) for frame in named))


def _line(frame: PerfFrame) -> Line:
    return Line(_OFFSET.sub("", frame.symbol) or frame.symbol, frame.source_file, frame.source_line)
