"""pprof's profile format as samples: what Go, async-profiler, py-spy, Pyroscope and many others write."""

from collections.abc import Iterator

from google.protobuf.message import DecodeError

from flamebus.errors import BadDataError, UsageError
from flamebus.frames import Line, Location, Mapping
from flamebus.importing import pprof_pb2
from flamebus.importing.foreign import (
    MAX_EXACT_WEIGHT,
    MAX_FRAMES,
    MAX_VALUE,
    ForeignProfile,
    ForeignSample,
    Notes,
    ReadOptions,
    mapping_of,
)
from flamebus.importing.source import Source
from flamebus.profile import SampleType

_U32 = 2**32 - 1
_THREAD_NAMES = frozenset({"thread", "thread_name", "thread name"})
_THREAD_IDS = frozenset({"tid", "thread_id", "thread id"})


def read_pprof(source: Source, options: ReadOptions) -> ForeignProfile:
    """The profile; a sample is wrong when it is reached.

    One value of each sample is taken: ``options.sample_type``, else the profile's own default, else the last one. Where
    a number of events stands beside it (``samples`` of ``cpu``, ``alloc_objects`` of ``alloc_space``) that becomes the
    weight.

    Raises:
        BadDataError: not a pprof profile.
        UsageError: it has no value of that name.
    """
    try:
        profile = pprof_pb2.Profile.FromString(source.whole())
    except DecodeError as error:
        raise BadDataError("malformed", f"{source.name} is not a pprof profile: {error}") from error
    if not profile.sample_type or not profile.string_table or profile.string_table[0]:
        raise BadDataError("malformed", f"{source.name} is not a pprof profile: it names no type of its values")
    return _Reader(source.name, profile).read(options)


class _Reader:
    def __init__(self, name: str, profile: pprof_pb2.Profile) -> None:
        self._name = name
        self._profile = profile
        self._functions = {function.id: function for function in profile.function}
        self._mappings = {mapping.id: mapping for mapping in profile.mapping}
        self._raw_locations = {location.id: location for location in profile.location}
        self._locations: dict[int, Location] = {}
        self._texts: dict[int, str] = {}

    def read(self, options: ReadOptions) -> ForeignProfile:
        """The profile with the value that is asked for."""
        profile, notes = self._profile, Notes()
        types = [self._type(each) for each in profile.sample_type]
        chosen = options.sample_type or self._text(profile.default_sample_type) or types[-1].type
        column = next((number for number, each in enumerate(types) if each.type == chosen), None)
        if column is None:
            there = ", ".join(each.type for each in types)
            raise UsageError(f"{self._name} has no values of type {chosen!r}; there are: {there}")
        period_type = self._type(profile.period_type)
        return ForeignProfile(
            types[column],
            self._samples(column, _count_column(types, column), notes),
            notes,
            period_type if period_type.type else types[column],
            max(0, profile.period),
            duration_ns=max(0, profile.duration_nanos) or None,
            taken_unix_nano=max(0, profile.time_nanos) or None,
        )

    def _samples(self, column: int, count_column: int | None, notes: Notes) -> Iterator[ForeignSample]:
        for number, sample in enumerate(self._profile.sample, start=1):
            if len(sample.value) != len(self._profile.sample_type):
                raise self._bad(number, "bad_length", f"{len(sample.value)} values")
            value = sample.value[column]
            if value < 0:
                raise self._bad(
                    number, "negative", f"the value {value} is negative, as in a difference of two profiles"
                )
            if value > MAX_VALUE:
                raise self._bad(number, "overflow", f"the value {value} is above 2**53")
            if len(sample.location_id) > MAX_FRAMES:
                raise self._bad(number, "oversized", f"the stack has {len(sample.location_id)} locations")
            if not value:
                notes.passed_over["value of 0"] += 1
                continue
            count = sample.value[count_column] if count_column is not None else 1
            weight = count if 0 < count <= MAX_EXACT_WEIGHT and value % count == 0 else 1
            locations = tuple(self._location(number, row) for row in sample.location_id)
            yield ForeignSample(locations, value // weight, weight, None, *self._thread(sample))

    def _thread(self, sample: pprof_pb2.Sample) -> tuple[int, str]:
        tid, name = 0, ""
        for label in sample.label:
            key = self._text(label.key)
            if key in _THREAD_IDS and 0 <= label.num <= _U32:
                tid = label.num
            elif key in _THREAD_NAMES and label.str:
                name = self._text(label.str)
        return tid, name

    def _location(self, sample: int, row: int) -> Location:
        location = self._locations.get(row)
        if location is None:
            location = self._locations[row] = self._read_location(sample, row)
        return location

    def _read_location(self, sample: int, row: int) -> Location:
        raw = self._raw_locations.get(row)
        if raw is None:
            raise self._bad(sample, "bad_reference", f"there is no location {row}")
        area = self._mappings.get(raw.mapping_id)
        if area is None and raw.mapping_id:
            raise self._bad(sample, "bad_reference", f"there is no mapping {raw.mapping_id}")
        file = self._text(area.filename) if area else ""
        mapping, kind = mapping_of(file, raw.address)
        if area and mapping.file == file:
            mapping = Mapping(file, self._text(area.build_id))
        lines = tuple(line for each in raw.line if (line := self._line(sample, each)) is not None)
        if lines:
            return Location(mapping, 0, kind, lines)
        is_inside = area is not None and area.memory_start <= raw.address < area.memory_limit
        address = raw.address - area.memory_start + area.file_offset if area and is_inside else raw.address
        return Location(mapping, address & (2**64 - 1), kind)

    def _line(self, sample: int, raw: pprof_pb2.Line) -> Line | None:
        """The function of a line; where it starts, so that samples all over it share a location."""
        function = self._functions.get(raw.function_id)
        if function is None:
            raise self._bad(sample, "bad_reference", f"there is no function {raw.function_id}")
        name = self._text(function.name) or self._text(function.system_name)
        line = function.start_line or raw.line
        return Line(name, self._text(function.filename), line if 0 <= line <= _U32 else 0) if name else None

    def _type(self, raw: pprof_pb2.ValueType) -> SampleType:
        return SampleType(self._text(raw.type), self._text(raw.unit))

    def _text(self, row: int) -> str:
        text = self._texts.get(row)
        if text is None:
            if not 0 <= row < len(self._profile.string_table):
                there = len(self._profile.string_table)
                raise BadDataError("bad_reference", f"{self._name}: there is no string {row}, only {there}")
            try:
                text = self._texts[row] = self._profile.string_table[row].decode()
            except UnicodeDecodeError as error:
                raise BadDataError("invalid_utf8", f"{self._name}: string {row} is not UTF-8: {error}") from error
        return text

    def _bad(self, sample: int, reason: str, what: str) -> BadDataError:
        return BadDataError(reason, f"{self._name}, sample {sample}: {what}")


def _count_column(types: list[SampleType], column: int) -> int | None:
    """Where the number of events of each value is, if it is there."""
    wanted = {"samples", types[column].type.replace("space", "objects")}
    return next(
        (n for n, each in enumerate(types) if n != column and each.unit == "count" and each.type in wanted), None
    )
