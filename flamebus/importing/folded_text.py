"""Folded text as samples: ``root;caller;leaf count``, what stackcollapse scripts, py-spy and async-profiler write."""

from collections.abc import Iterator
from functools import lru_cache

from flamebus.errors import BadDataError
from flamebus.folded import FoldedStack, parse_folded_line
from flamebus.frames import FrameKind, Line, Location, Mapping
from flamebus.importing.foreign import (
    CPU_TIME,
    JIT,
    KERNEL,
    MAX_EXACT_WEIGHT,
    MAX_FRAMES,
    MAX_VALUE,
    SAMPLES,
    ForeignProfile,
    ForeignSample,
    Notes,
    ReadOptions,
)
from flamebus.importing.source import Source
from flamebus.profile import SampleType

_ANNOTATIONS: dict[str, tuple[Mapping, FrameKind]] = {
    "_[k]": (KERNEL, FrameKind.KERNEL),
    "_[j]": (JIT, FrameKind.NATIVE),
    "_[i]": (Mapping(), FrameKind.NATIVE),
}
"""What stackcollapse-perf puts behind names of kernel, just-in-time compiled and inlined functions."""


def read_folded(source: Source, options: ReadOptions) -> ForeignProfile:
    """The profile; a line is wrong when it is reached.

    A count is a number of samples, each of them ``options.period_ns`` of CPU time when that is given. A fraction stays
    in the weight, a float32.
    """
    if options.period_ns:
        sample_type = CPU_TIME
    elif options.sample_type:
        name, _, unit = options.sample_type.partition("/")
        sample_type = SampleType(name, unit or "count")
    else:
        sample_type = SAMPLES
    notes = Notes()
    period = options.period_ns or 1
    return ForeignProfile(sample_type, _samples(source, period, notes), notes, sample_type, period)


def _samples(source: Source, period: int, notes: Notes) -> Iterator[ForeignSample]:
    for number, line in source.lines():
        try:
            stack = parse_folded_line(line)
        except BadDataError as error:
            raise source.bad(error.reason, number, str(error)) from error
        if stack is None:
            continue
        if len(stack.functions) > MAX_FRAMES:
            raise source.bad("oversized", number, f"the stack has {len(stack.functions)} frames, above {MAX_FRAMES}")
        if stack.count * period > MAX_VALUE:
            raise source.bad("overflow", number, f"the value {stack.count * period:,} is above 2**53")
        if stack.count:
            yield _sample(stack, period)
        else:
            notes.passed_over["count of 0"] += 1


def _sample(stack: FoldedStack, period: int) -> ForeignSample:
    locations = tuple(_location(name) for name in stack.functions)
    if isinstance(stack.count, int) and stack.count > MAX_EXACT_WEIGHT:
        return ForeignSample(locations, stack.count * period)
    return ForeignSample(locations, period, stack.count)


@lru_cache(maxsize=65_536)  # names recur; 64 k of them take about 20 MB
def _location(name: str) -> Location:
    known = _ANNOTATIONS.get(name[-4:])
    if known is None or len(name) == 4:
        return Location(Mapping(), 0, FrameKind.NATIVE, (Line(name),))
    mapping, kind = known
    return Location(mapping, 0, kind, (Line(name[:-4]),))
