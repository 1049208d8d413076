"""The layout of an ELF image: segments, sections and build id. Both classes (32, 64 bits), little endian.

Every number in the file is hostile until checked: nothing is allocated that exceeds the file, tables have limits, and
whatever does not fit ends in :class:`ImageError` with a countable reason. Structures follow the System V gABI,
chapter 4.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from producers.symbols.failures import ImageError, SymbolFailure

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from producers.symbols.source import ByteSource

SHT_SYMTAB, SHT_STRTAB, SHT_NOTE, SHT_NOBITS, SHT_DYNSYM = 2, 3, 7, 8, 11
PT_LOAD, PT_NOTE = 1, 4
PF_X, SHF_EXECINSTR = 1, 4
EM_X86_64 = 62
_NT_GNU_BUILD_ID = 3
# Linked images have below 100 sections and 20 segments; these limits are what a hostile file may cost us.
_MAX_SECTIONS = 4_096
_MAX_SEGMENTS = 1_024
_MAX_SECTION_NAMES_BYTES = 1 << 20
_MAX_SECTION_NAME_BYTES = 128
_MAX_NOTES = 64
_MAX_NOTES_BYTES = 64 * 1024
_MAX_BUILD_ID_BYTES = 64

_SEGMENT_64 = np.dtype(
    [
        ("type", "<u4"),
        ("flags", "<u4"),
        ("offset", "<u8"),
        ("vaddr", "<u8"),
        ("paddr", "<u8"),
        ("filesz", "<u8"),
        ("memsz", "<u8"),
        ("align", "<u8"),
    ]
)
_SEGMENT_32 = np.dtype(
    [
        ("type", "<u4"),
        ("offset", "<u4"),
        ("vaddr", "<u4"),
        ("paddr", "<u4"),
        ("filesz", "<u4"),
        ("memsz", "<u4"),
        ("flags", "<u4"),
        ("align", "<u4"),
    ]
)
_SECTION_64 = np.dtype(
    [
        ("name", "<u4"),
        ("type", "<u4"),
        ("flags", "<u8"),
        ("addr", "<u8"),
        ("offset", "<u8"),
        ("size", "<u8"),
        ("link", "<u4"),
        ("info", "<u4"),
        ("addralign", "<u8"),
        ("entsize", "<u8"),
    ]
)
_SECTION_32 = np.dtype(
    [(name, "<u4") for name in ("name", "type", "flags", "addr", "offset", "size", "link", "info")]
    + [("addralign", "<u4"), ("entsize", "<u4")]
)


@dataclass(frozen=True, slots=True)
class Segment:
    """A part of the image that the loader maps; offsets, addresses and sizes in bytes."""

    offset: int
    vaddr: int
    filesz: int
    memsz: int
    is_executable: bool


@dataclass(frozen=True, slots=True)
class Section:
    """A section of the file; one of type ``SHT_NOBITS`` has its content elsewhere or nowhere."""

    name: str
    type: int
    is_executable: bool
    address: int
    offset: int
    size: int
    link: int


@dataclass(frozen=True, slots=True)
class ElfLayout:
    """What the symboliser needs to know of an image.

    Attributes:
        is_64: the ELF class.
        machine: ``e_machine``.
        segments: the loadable ones, in file order.
        sections: by their index in the file.
        build_id: lower-case hexadecimal; empty when there is none.
    """

    is_64: bool
    machine: int
    segments: tuple[Segment, ...]
    sections: tuple[Section, ...]
    build_id: str

    def section(self, name: str) -> Section | None:
        """First section with that name that has content in this file."""
        return next((s for s in self.sections if s.name == name and s.type != SHT_NOBITS), None)

    def first_of_type(self, kind: int) -> Section | None:
        """First section of that type."""
        return next((section for section in self.sections if section.type == kind), None)

    def code_section(self, address: int) -> Section | None:
        """The section of code that an address lies in."""
        return next((s for s in self.sections if s.is_executable and s.address <= address < s.address + s.size), None)

    def executable(self) -> tuple[Segment, ...]:
        """Segments that hold code."""
        return tuple(segment for segment in self.segments if segment.is_executable)

    def address_of(self, file_offset: int) -> int:
        """The image's own address (ELF virtual address) of a byte of the file; the offset itself outside segments.

        A byte that two segments share is looked for in the code first: that is where samples fall.
        """
        for segment in sorted(self.segments, key=lambda each: not each.is_executable):
            if segment.offset <= file_offset < segment.offset + segment.filesz:
                return file_offset - segment.offset + segment.vaddr
        return file_offset


def read_layout(source: ByteSource) -> ElfLayout:
    """Read the headers of an image.

    Raises:
        ImageError: not ELF, not supported, or broken.
    """
    header = source.read_up_to(0, 64)
    if header[:4] != b"\x7fELF":
        raise ImageError(SymbolFailure.NOT_ELF, "no ELF magic")
    if len(header) < 52 or header[4] not in (1, 2) or header[5] != 1 or (header[4] == 2 and len(header) < 64):
        raise ImageError(SymbolFailure.UNSUPPORTED_ELF, "not a little-endian ELF file of 32 or 64 bits")
    is_64 = header[4] == 2
    program, section, counts = (header[32:40], header[40:48], 54) if is_64 else (header[28:32], header[32:36], 42)
    phentsize, phnum, shentsize, shnum, shstrndx = np.frombuffer(header, "<u2", 5, counts).tolist()
    if phnum > _MAX_SEGMENTS:
        raise ImageError(SymbolFailure.TOO_LARGE, f"{phnum} segments")
    segments = _records(
        source, int.from_bytes(program, "little"), phnum, phentsize, _SEGMENT_64 if is_64 else _SEGMENT_32
    )
    raw = _section_records(source, int.from_bytes(section, "little"), shnum, shentsize, is_64=is_64)
    names = _section_names(source, raw, shstrndx)
    loadable = tuple(
        Segment(int(s["offset"]), int(s["vaddr"]), int(s["filesz"]), int(s["memsz"]), bool(s["flags"] & PF_X))
        for s in segments[segments["type"] == PT_LOAD]
    )
    machine = int.from_bytes(header[18:20], "little")
    return ElfLayout(is_64, machine, loadable, _sections(raw, names), _build_id(source, segments, raw))


def _records(source: ByteSource, offset: int, count: int, entsize: int, dtype: np.dtype[np.void]) -> NDArray[np.void]:
    if count == 0 or offset == 0:
        return np.empty(0, dtype)
    if entsize != dtype.itemsize:
        raise ImageError(SymbolFailure.UNSUPPORTED_ELF, f"header entries of {entsize} bytes")
    return np.frombuffer(source.read(offset, count * entsize), dtype)


def _section_records(source: ByteSource, offset: int, count: int, entsize: int, *, is_64: bool) -> NDArray[np.void]:
    """Section headers; a count of 0 with an offset means that the first header's size holds the count (gABI)."""
    dtype = _SECTION_64 if is_64 else _SECTION_32
    if count == 0 and offset:
        first = _records(source, offset, 1, entsize, dtype)
        count = int(first[0]["size"])
    if count > _MAX_SECTIONS:
        raise ImageError(SymbolFailure.TOO_LARGE, f"{count} sections")
    return _records(source, offset, count, entsize, dtype)


def _section_names(source: ByteSource, raw: NDArray[np.void], index: int) -> bytes:
    if index >= len(raw):
        return b""
    return source.read_up_to(int(raw[index]["offset"]), min(int(raw[index]["size"]), _MAX_SECTION_NAMES_BYTES))


def _sections(raw: NDArray[np.void], names: bytes) -> tuple[Section, ...]:
    return tuple(
        Section(
            _name_at(names, int(row["name"])),
            int(row["type"]),
            bool(row["flags"] & SHF_EXECINSTR),
            int(row["addr"]),
            int(row["offset"]),
            int(row["size"]),
            int(row["link"]),
        )
        for row in raw
    )


def _name_at(names: bytes, offset: int) -> str:
    return names[offset : offset + _MAX_SECTION_NAME_BYTES].partition(b"\0")[0].decode("utf-8", "replace")


def _build_id(source: ByteSource, segments: NDArray[np.void], sections: NDArray[np.void]) -> str:
    """Build id from the note segments, or from note sections where a debug file's segments are empty."""
    notes = [(int(s["offset"]), int(s["filesz"])) for s in segments[segments["type"] == PT_NOTE]]
    notes += [(int(s["offset"]), int(s["size"])) for s in sections[sections["type"] == SHT_NOTE]]
    for offset, size in notes[:_MAX_NOTES]:
        found = _build_id_in(source.read_up_to(offset, min(size, _MAX_NOTES_BYTES)))
        if found:
            return found
    return ""


def _build_id_in(notes: bytes) -> str:
    position = 0
    while position + 12 <= len(notes):
        name_size, size, kind = struct.unpack_from("<III", notes, position)
        content = position + 12 + (name_size + 3 & ~3)
        is_build_id = kind == _NT_GNU_BUILD_ID and notes[position + 12 : position + 16] == b"GNU\0"
        if is_build_id and 0 < size <= _MAX_BUILD_ID_BYTES and content + size <= len(notes):
            return notes[content : content + size].hex()
        position = content + (size + 3 & ~3)
    return ""
