"""What a window's hottest functions and stacks are, with the interval that says how sure we are of each share."""

from dataclasses import dataclass

OTHER_FUNCTION = "__other__"
"""Everything that is not in the list, so that self values add up to the window's total."""


@dataclass(frozen=True, slots=True)
class Share:
    """Part of a window's total, in [0, 1], with its 95 % interval ``[low, high]``."""

    value: float
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class FunctionHotspot:
    """One function of a window.

    Attributes:
        function: its name, or ``__other__``; mapping: base name of its file; frame_kind: ``native``, ``kernel``, ….
        self_value: value of samples that ended in it; total_value: of samples that it was part of (each once, also
            when it recurses), both in the sample type's unit. ``__other__`` has total_value = self_value.
        self_share, total_share: the same as parts of the window's total.
    """

    function: str
    mapping: str
    frame_kind: str
    self_value: int
    total_value: int
    self_share: Share
    total_share: Share


@dataclass(frozen=True, slots=True)
class StackHotspot:
    """One stack of a window: ``stack_id``, its value, share, and its function names leaf first."""

    stack_id: int
    functions: tuple[str, ...]
    value: int
    share: Share


@dataclass(frozen=True, slots=True)
class HotspotReport:
    """The hotspots of one (service, kind, window) in one partition.

    Attributes:
        report_id: 16 bytes, the same whenever the window is computed again.
        total: sum of value × weight; samples: sum of weights; hosts: how many contributed.
        lost, dropped, late: samples that are missing from the total, by why.
        functions: top K by self and top K by total, largest self first, ``__other__`` last.
        stacks: top K stacks, largest first.
    """

    report_id: bytes
    service: str
    kind: str
    sample_type: tuple[str, str]
    window_start_unix_nano: int
    window_size_nano: int
    partition: int
    total: int
    samples: float
    hosts: int
    lost: int
    dropped: int
    late: int
    functions: tuple[FunctionHotspot, ...]
    stacks: tuple[StackHotspot, ...]
