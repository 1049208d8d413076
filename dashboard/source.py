"""What the API needs to be told about profiles, whoever keeps them: plain columns, ready to be written as JSON."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Protocol

from dashboard.parameters import TimeRange
from flamebus.frames import Frame
from flamebus.hotspot import FunctionHotspot, Share
from flamebus.profile import Loss


@dataclass(frozen=True, slots=True)
class Question:
    """One profile: a service's samples of one kind in a range of window starts."""

    service: str
    kind: str
    span: TimeRange


@dataclass(frozen=True, slots=True)
class ServiceTotal:
    """A service and the sum of its values of one kind, in the kind's unit; 0 when only other kinds have samples."""

    name: str
    total: int


@dataclass(frozen=True, slots=True)
class Sums:
    """A profile's sums.

    Attributes:
        unit: of values, such as ``nanoseconds``; total: sum of value × weight; samples: sum of weights.
        variance: sum of (value × weight)²; late_samples: samples that came after their window had closed.
    """

    unit: str
    total: int
    samples: float
    variance: float
    late_samples: float


@dataclass(frozen=True, slots=True)
class Series:
    """Sums per step: ``values`` in ``unit`` and ``samples``, from ``start_unix_nano`` on, ``step_ns`` apart."""

    unit: str
    start_unix_nano: int
    step_ns: int
    values: Sequence[int]
    samples: Sequence[float]


@dataclass(frozen=True, slots=True)
class TreeNode:
    """A row of a call tree: callers come before callees, row 0 is the root (its frame is ignored).

    Attributes:
        parent: row of the caller; self_value, total_value: in the profile's unit, totals include callees.
    """

    parent: int
    frame: Frame
    self_value: int
    total_value: int


@dataclass(frozen=True, slots=True)
class Tree:
    """The heaviest nodes of a profile and how many lighter ones were left out; their value stays in their callers."""

    nodes: Sequence[TreeNode]
    pruned_nodes: int


@dataclass(frozen=True, slots=True)
class Top:
    """Functions by self value, then by total value, and how many there are altogether."""

    functions: Sequence[FunctionHotspot]
    function_count: int


@dataclass(frozen=True, slots=True)
class Found:
    """What a search found in all stacks: value of samples with a match anywhere (each once), and how many functions."""

    value: int
    share: Share
    function_count: int


@dataclass(frozen=True, slots=True)
class Heat:
    """Samples per bin of ``bin_ns`` from ``start_unix_nano`` on."""

    start_unix_nano: int
    bin_ns: int
    counts: Sequence[int]


class Source(Protocol):
    """Where profiles come from. Calls block, come from several threads, and raise StoreUnavailableError."""

    def check(self) -> None:
        """Raise unless profiles can be read at all."""
        ...

    def services(self, span: TimeRange, kind: str) -> Sequence[ServiceTotal]:
        """Services with samples of any kind in the range, the heaviest in this kind first."""
        ...

    def kinds(self, span: TimeRange) -> Sequence[str]:
        """Kinds with samples in the range, by name."""
        ...

    def has_service(self, service: str) -> bool:
        """Whether the service was ever seen: an empty profile is no unknown service."""
        ...

    def sums(self, question: Question) -> Sums:
        """The profile's sums."""
        ...

    def series(self, question: Question, step_ns: int) -> Series:
        """The profile over time."""
        ...

    def tree(self, question: Question, max_nodes: int) -> Tree:
        """The profile as a call tree."""
        ...

    def top(self, question: Question, limit: int, search: str) -> Top:
        """The hottest functions, of those whose name contains ``search``."""
        ...

    def search(self, question: Question, text: str) -> Found:
        """How much of the profile has a function whose name contains the text, whatever its case."""
        ...

    def losses(self, question: Question) -> Sequence[Loss]:
        """What is missing from the profile, by reason; late samples are in the sums."""
        ...

    def heat(self, question: Question) -> Heat:
        """When within each second samples were taken."""
        ...

    def stacks(self, question: Question) -> Iterable[tuple[Sequence[str], int]]:
        """Every stack, function names leaf first, with its value."""
        ...
