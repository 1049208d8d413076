"""What every foreign format is read into."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field

from flamebus.frames import FrameKind, Location, Mapping
from flamebus.profile import SampleType

MAX_VALUE = 2**53
"""Totals are added up as float64, which holds every whole number up to here."""

MAX_EXACT_WEIGHT = 2**24
"""Weights are float32 on the wire, which holds every whole number up to here."""

MAX_FRAMES = 8192
"""Of one stack: 41 bytes each in a record's tables, so that one stack never fills a record by itself."""

CPU_TIME = SampleType("cpu", "nanoseconds")
SAMPLES = SampleType("samples", "count")
KERNEL = Mapping("[kernel]")
JIT = Mapping("[jit]")
"""Code made at run time. The files that name it carry a process id, which would split every function's history."""


@dataclass(frozen=True, slots=True)
class ForeignSample:
    """One line or record of a foreign profile.

    Attributes:
        locations: leaf first.
        value: of one event, in the sample type's unit; weight: events that it stands for, > 0.
        offset_ns: time since the profile's first sample; ``None`` when the format keeps no times.
        tid, thread_name: 0 and empty when unknown.
    """

    locations: tuple[Location, ...]
    value: int
    weight: float = 1.0
    offset_ns: int | None = None
    tid: int = 0
    thread_name: str = ""


@dataclass(slots=True)
class Notes:
    """What was met on the way and is no sample: both grow while the samples are read.

    Attributes:
        passed_over: records that were left out on purpose, by why.
        lost: samples that the other profiler says it lost, by our reason.
    """

    passed_over: Counter[str] = field(default_factory=Counter)
    lost: Counter[str] = field(default_factory=Counter)


@dataclass(frozen=True, slots=True)
class ForeignProfile:
    """A profile whose samples are read as they are asked for.

    Attributes:
        sample_type: what values measure; period_type, period: distance between samples, 0 when unknown.
        samples: may be read once.
        duration_ns, taken_unix_nano: what the file says of its time, if anything.
        host: where it says it was taken, or empty.
    """

    sample_type: SampleType
    samples: Iterator[ForeignSample]
    notes: Notes
    period_type: SampleType
    period: int = 0
    duration_ns: int | None = None
    taken_unix_nano: int | None = None
    host: str = ""


@dataclass(frozen=True, slots=True)
class ReadOptions:
    """What the caller knows better than the file.

    Attributes:
        sample_type: name of the value to take (pprof, perf script), or ``type/unit`` to be written down (folded).
        period_ns: CPU time that each count stands for; 0 takes values as they are.
    """

    sample_type: str = ""
    period_ns: int = 0


def mapping_of(file: str, address: int) -> tuple[Mapping, FrameKind]:
    """Mapping and kind of a file as perf and pprof name them, the kernel and its modules as our agent does."""
    base = file.rsplit("/", 1)[-1].removesuffix(" (deleted)")
    if base.startswith(("[kernel", "[guest.kernel", "kallsyms", "vmlinux")):
        return KERNEL, FrameKind.KERNEL
    module, is_module, _ = base.partition(".ko")
    if is_module:
        return Mapping(f"[{module.replace('-', '_')}]"), FrameKind.KERNEL
    if (base.startswith("perf-") and base.endswith(".map")) or base.startswith("[JIT]"):
        return JIT, FrameKind.NATIVE
    if not file or base in _NO_FILE:
        return Mapping(), FrameKind.KERNEL if address >= _KERNEL_HALF else FrameKind.NATIVE
    is_kernel = base.startswith("bpf_prog_") or (base.startswith("[") and base not in _USER_AREAS)
    return Mapping(file.removesuffix(" (deleted)")), FrameKind.KERNEL if is_kernel else FrameKind.NATIVE


_KERNEL_HALF = 1 << 63
_NO_FILE = frozenset({"[unknown]", "//anon", "[anon]"})
_USER_AREAS = frozenset({"[vdso]", "[vsyscall]", "[heap]", "[stack]", "[vvar]", "[uprobes]"})
