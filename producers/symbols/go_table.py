"""Functions of a Go program without a symbol table: the runtime's own table, which no stripping removes.

Layout: debug/gosym/pclntab.go and runtime/symtab.go, Go 1.18 and later. Programs whose table does not say where code
starts (position-independent ones) are left out.
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

import numpy as np

from producers.symbols.failures import ImageError, SymbolFailure

if TYPE_CHECKING:
    from producers.symbols.elf import ElfLayout, Section
    from producers.symbols.source import ByteSource

_MAGICS = {0xFFFF_FFF0, 0xFFFF_FFF1}  # Go 1.18, Go 1.20
_HEADER = struct.Struct("<IHBBQQQQQQQQ")
_MODULE_TEXT_AT = 176  # behind a pointer, six slices and three addresses
_MAX_FUNCTIONS = 2_000_000
_MAX_NAME_BYTES = 4_096


class GoTable:
    """Functions sorted by address: 8 bytes each; names are read when asked."""

    def __init__(self, source: ByteSource, section: Section, module: Section | None) -> None:
        """Read ``.gopclntab``; since Go 1.26 ``.go.module`` says where code starts.

        Raises:
            ImageError: it is of another version of Go, or does not lie in the file.
        """
        header = source.read(section.offset, _HEADER.size)
        magic, _, _, pointer_bytes, count, _, text, names, _, _, _, functions = _HEADER.unpack(header)
        text = text or _start_of_code(source, section, module)
        if magic not in _MAGICS or pointer_bytes != 8 or text == 0:
            raise ImageError(SymbolFailure.NO_SYMBOL_TABLE, "a Go function table of a form that we do not read")
        if count > _MAX_FUNCTIONS:
            raise ImageError(SymbolFailure.TOO_LARGE, f"{count} Go functions")
        self._source, self._text = source, int(text)
        self._functions, self._names = section.offset + functions, section.offset + names
        # One entry more than functions: its start is where the last one ends.
        raw = source.read(self._functions, count * 8 + 4)
        table = np.frombuffer(raw, "<u4")
        self._starts, self._records = table[::2].copy(), table[1::2].copy()
        if np.any(self._starts[1:] < self._starts[:-1]):
            raise ImageError(SymbolFailure.TRUNCATED, "the Go function table is not in order")

    def __len__(self) -> int:
        return len(self._records)

    @property
    def held_bytes(self) -> int:
        """Memory of the columns."""
        return self._starts.nbytes + self._records.nbytes

    def start_of(self, address: int) -> int | None:
        """Where the function around ``address`` starts."""
        row = self._row(address)
        return None if row is None else self._text + int(self._starts[row])

    def _row(self, address: int) -> int | None:
        relative = address - self._text
        if not 0 <= relative < 1 << 32:
            return None
        row = int(np.searchsorted(self._starts, np.uint32(relative), side="right")) - 1
        return row if 0 <= row < len(self._records) else None

    def name_at(self, start: int) -> bytes:
        """Name of the function that starts there, such as ``main.(*Server).serve``."""
        row = self._row(start)
        if row is None:
            return b""
        record = self._source.read_up_to(self._functions + int(self._records[row]), 8)
        if len(record) != 8:
            return b""
        (offset,) = struct.unpack_from("<i", record, 4)
        name = self._source.read_up_to(self._names + offset, _MAX_NAME_BYTES).partition(b"\0")[0]
        return name.replace("·".encode(), b".")  # as Go's symbol tables spell it


def _start_of_code(source: ByteSource, section: Section, module: Section | None) -> int:
    """``text`` of the runtime's ``moduledata``, whose first field points to the table; 0 when it does not say."""
    raw = source.read_up_to(module.offset, _MODULE_TEXT_AT + 8) if module is not None else b""
    if len(raw) != _MODULE_TEXT_AT + 8 or int.from_bytes(raw[:8], "little") != section.address:
        return 0
    return int.from_bytes(raw[_MODULE_TEXT_AT:], "little")


def go_table(source: ByteSource, layout: ElfLayout) -> GoTable | None:
    """The table of a Go program; None for other programs.

    Raises:
        ImageError: it cannot be read.
    """
    section = layout.section(".gopclntab") or layout.section(".data.rel.ro.gopclntab")
    return GoTable(source, section, layout.section(".go.module")) if section is not None else None
