"""Frames, locations and the content hash that gives a stack the same id on every host.

The id of a stack is built from its root to its leaf: ``id(frame) = xxh3_64(identity(frame), seed=id(caller))``, the
root's caller being 0. A call tree therefore yields the ids of all its stacks in one pass, and two agents that never met
agree.
"""

import struct
from collections.abc import Iterable
from dataclasses import dataclass
from enum import IntEnum

import xxhash

EMPTY_STACK_ID = 0
"""Id of the stack without frames (the kernel gave a sample but no addresses)."""

_LENGTH = struct.Struct("<I")


class FrameKind(IntEnum):
    """Which world a frame lives in. The number is the wire's ``frame_kind``; it is never reused."""

    NATIVE = 1
    KERNEL = 2
    CPYTHON = 3
    JVM = 4
    V8JS = 5

    @property
    def label(self) -> str:
        """The word people see: ``native``, ``kernel``, ``cpython``, ``jvm`` or ``v8js``."""
        return self.name.lower()


@dataclass(frozen=True, slots=True)
class Mapping:
    """A file mapped into a process, as in pprof.

    Attributes:
        file: path as the process sees it, or a bracketed name such as ``[kernel]``; empty when there is none.
        build_id: lower-case hexadecimal GNU build id, or empty.
        start: first virtual address; limit: one past the last; offset: file offset of ``start``, all in bytes.
    """

    file: str = ""
    build_id: str = ""
    start: int = 0
    limit: int = 0
    offset: int = 0

    @property
    def name(self) -> str:
        """Base name of the file: what a frame shows and what a stack's identity uses."""
        return self.file.rsplit("/", 1)[-1]


@dataclass(frozen=True, slots=True)
class Line:
    """A source position inside a function; ``line`` 0 and ``file`` empty when unknown."""

    function: str
    file: str = ""
    line: int = 0


@dataclass(frozen=True, slots=True)
class Frame:
    """A location resolved for people. Functions are never empty: see :func:`unresolved_name`."""

    function: str
    mapping: str = ""
    kind: FrameKind = FrameKind.NATIVE
    file: str = ""
    line: int = 0

    @property
    def identity(self) -> bytes:
        """What makes two frames the same: kind, mapping's base name and function.

        Source file and line are left out on purpose: they move at every edit and are missing where debug information
        is, and neither may split a function's history. Lengths come first, so no two triples share their bytes.
        """
        mapping, function = self.mapping.encode(), self.function.encode()
        return b"".join(
            (bytes((self.kind,)), _LENGTH.pack(len(mapping)), mapping, _LENGTH.pack(len(function)), function)
        )


@dataclass(frozen=True, slots=True)
class Location:
    """One address of a stack.

    Attributes:
        mapping: the file it lies in.
        address: address in that file's own numbering (ELF virtual address), which an unresolved location is shown by. A
            resolved one is known by its lines and needs none; our agent sends 0, so that samples all over a function,
            and the builds of a file, share a location. Whoever imports profiles may keep theirs.
        kind: which world it belongs to.
        lines: functions at this address, innermost (inlined) first; empty when unresolved.
    """

    mapping: Mapping
    address: int
    kind: FrameKind = FrameKind.NATIVE
    lines: tuple[Line, ...] = ()

    def frames(self) -> tuple[Frame, ...]:
        """Frames at this location, innermost (leaf side) first; exactly one when unresolved."""
        name = self.mapping.name
        if not self.lines:
            return (Frame(unresolved_name(name, self.address), name, self.kind),)
        return tuple(Frame(line.function, name, self.kind, line.file, line.line) for line in self.lines)


def unresolved_name(mapping_name: str, address: int) -> str:
    """How an address without a symbol is shown: ``libfoo.so+0x1a2b``; ``0x1a2b`` when even the file is unknown."""
    return f"{mapping_name}+{address:#x}" if mapping_name else f"{address:#x}"


def extend_stack_id(caller_id: int, identity: bytes) -> int:
    """Id of the stack whose leaf has ``identity`` and whose remaining frames have the id ``caller_id``."""
    return xxhash.xxh3_64_intdigest(identity, caller_id)


def stack_id(frames: Iterable[Frame]) -> int:
    """Content hash of a stack.

    Args:
        frames: leaf first.

    Returns:
        An unsigned 64-bit number; ``EMPTY_STACK_ID`` for no frames.
    """
    result = EMPTY_STACK_ID
    for frame in reversed(tuple(frames)):
        result = extend_stack_id(result, frame.identity)
    return result
