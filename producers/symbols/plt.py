"""Names of the stubs through which code calls other libraries (``memcpy@plt``), on x86-64.

No symbol covers a stub. It jumps through a slot of the global offset table, and the relocation of that slot names the
function. Nothing is kept: a stub is decoded and its relocation looked for when an address in it is first met.
"""

from __future__ import annotations

import re
import struct
from typing import TYPE_CHECKING

import numpy as np

from producers.symbols.elf import EM_X86_64

if TYPE_CHECKING:
    from producers.symbols.elf import ElfLayout, Section
    from producers.symbols.source import ByteSource

_STUB_BYTES = {".plt": 16, ".plt.sec": 16, ".plt.got": 8}
_JUMP = re.compile(rb"(?:\xf3\x0f\x1e\xfa)?\xf2?\xff\x25(....)", re.DOTALL)  # [endbr64] [bnd] jmp *offset(%rip)
_RELOCATION = np.dtype([("offset", "<u8"), ("type", "<u4"), ("symbol", "<u4"), ("addend", "<i8")])
_RELATED = {".plt": (".rela.plt",), ".plt.sec": (".rela.plt",), ".plt.got": (".rela.dyn", ".rela.plt")}
_TYPES = (6, 7)  # R_X86_64_GLOB_DAT, R_X86_64_JUMP_SLOT
_MAX_RELOCATIONS_BYTES = 8 << 20
_SYMBOL_BYTES, _MAX_NAME_BYTES = 24, 4_096


def plt_stub(source: ByteSource, layout: ElfLayout, address: int) -> tuple[int, bytes] | None:
    """Start of the stub around an address and the function it leads to; ``None`` when there is none."""
    section = layout.code_section(address)
    if section is None or layout.machine != EM_X86_64 or not layout.is_64 or section.name not in _STUB_BYTES:
        return None
    size = _STUB_BYTES[section.name]
    if section.name == ".plt.got" and source.read_up_to(section.offset, 4) == b"\xf3\x0f\x1e\xfa":
        size = 16  # stubs that begin with endbr64 do not fit into 8 bytes
    start = address - (address - section.address) % size
    stub = source.read_up_to(section.offset + start - section.address, size)
    jump = _JUMP.match(stub)
    if jump is None:
        return None  # the first entry, which calls the loader
    slot = start + jump.end() + int(struct.unpack("<i", jump[1])[0])
    for name in _RELATED[section.name]:
        relocations = layout.section(name)
        found = _symbol_of(source, layout, relocations, slot) if relocations is not None else b""
        if found:
            return start, found
    return None


def _symbol_of(source: ByteSource, layout: ElfLayout, section: Section, slot: int) -> bytes:
    raw = source.read_up_to(section.offset, min(section.size, _MAX_RELOCATIONS_BYTES))
    table = np.frombuffer(raw[: len(raw) // _RELOCATION.itemsize * _RELOCATION.itemsize], _RELOCATION)
    found = np.flatnonzero((table["offset"] == np.uint64(slot % (1 << 64))) & np.isin(table["type"], _TYPES))
    symbols = layout.section(".dynsym")
    if not len(found) or symbols is None or symbols.link >= len(layout.sections):
        return b""
    strings = layout.sections[symbols.link]
    row = source.read_up_to(symbols.offset + int(table["symbol"][found[0]]) * _SYMBOL_BYTES, 4)
    at = int.from_bytes(row, "little")
    return source.read_up_to(strings.offset + at, _MAX_NAME_BYTES).partition(b"\0")[0] if 0 < at < strings.size else b""
