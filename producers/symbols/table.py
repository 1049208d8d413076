"""The functions of one ELF symbol table: 12 bytes each in memory; names stay where they are and are read when asked.

A table of 100,000 functions costs 1.2 MB. Symbols are read in pieces, so that a file of hundreds of megabytes is never
in memory as a whole.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from producers.symbols.elf import SHT_STRTAB, ElfLayout, Section
from producers.symbols.failures import ImageError, SymbolFailure

if TYPE_CHECKING:
    from producers.symbols.source import ByteSource

NOT_FOUND = -1
MAX_SYMBOLS = 4_000_000
"""Entries read from one table: Chromium with all its local symbols has about one million."""

_PIECE_SYMBOLS = 65_536
_FIRST_NAME_BYTES = 256
_MAX_NAME_BYTES = 16_384
_MAX_NESTING = 4
"""How many later-starting functions may lie between an address and the function around it."""

_STT_NOTYPE, _STT_FUNC, _STT_GNU_IFUNC = 0, 2, 10
_STB_LOCAL, _STB_WEAK = 0, 2
_ROW_BITS = 27
_SYMBOL_64 = np.dtype(
    [("name", "<u4"), ("info", "u1"), ("other", "u1"), ("shndx", "<u2"), ("value", "<u8"), ("size", "<u8")]
)
_SYMBOL_32 = np.dtype(
    [("name", "<u4"), ("value", "<u4"), ("size", "<u4"), ("info", "u1"), ("other", "u1"), ("shndx", "<u2")]
)
_U32_MAX = 0xFFFF_FFFF

U8 = NDArray[np.uint8]
U32 = NDArray[np.uint32]
U64 = NDArray[np.uint64]
I64 = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class _Symbols:
    """Columns of candidates, shape ``(n,)``: ``start`` relative to the image's base; ``rank`` 0 is the best name."""

    start: U32
    size: U32
    name: U32
    rank: U8


class SymbolTable:
    """Functions sorted by address, one per start address."""

    def __init__(self, base: int, symbols: _Symbols, names: ByteSource, names_offset: int) -> None:
        """Keep sorted ``symbols`` whose names lie in ``names`` from ``names_offset``."""
        self._base = base
        self._starts, self._sizes, self._names_at = symbols.start, symbols.size, symbols.name
        self._names, self._names_offset = names, names_offset

    def __len__(self) -> int:
        return len(self._starts)

    @property
    def held_bytes(self) -> int:
        """Memory that this table keeps, the source of its names not included."""
        return self._starts.nbytes + self._sizes.nbytes + self._names_at.nbytes

    def lookup(self, addresses: U64) -> I64:
        """Rows of the functions around ``addresses``.

        Args:
            addresses: in the image's own numbering, shape ``(n,)``, any order.

        Returns:
            One row per address, ``NOT_FOUND`` where no function covers it; one without a size reaches to the next.
        """
        result = np.full(len(addresses), NOT_FOUND, np.int64)
        if not len(self._starts) or not len(addresses):
            return result
        inside = (addresses >= np.uint64(self._base)) & (addresses - np.uint64(self._base) <= _U32_MAX)
        relative = np.where(inside, addresses - np.uint64(self._base), 0).astype(np.uint32)
        rows = np.searchsorted(self._starts, relative, side="right").astype(np.int64) - 1
        rows[~inside] = NOT_FOUND
        for step in range(_MAX_NESTING):
            open_rows = np.flatnonzero((result == NOT_FOUND) & (rows >= 0))
            if not len(open_rows):
                break
            row = rows[open_rows]
            size = self._sizes[row]
            distance = relative[open_rows] - self._starts[row]
            covered = (distance < size) | ((size == 0) & (step == 0))
            result[open_rows[covered]] = row[covered]
            rows[open_rows] -= 1
        return result

    def start(self, row: int) -> int:
        """Address of the function in ``row``, in the image's own numbering."""
        return self._base + int(self._starts[row])

    def mangled_name(self, row: int) -> bytes:
        """The symbol's name as it is in the file, at most 16 KiB; empty when it cannot be read (any more)."""
        offset = self._names_offset + int(self._names_at[row])
        content = b""
        for length in (_FIRST_NAME_BYTES, _MAX_NAME_BYTES):
            content = self._names.read_up_to(offset, length)
            end = content.find(b"\0")
            if end >= 0:
                return content[:end]
        return content


def read_symbol_table(source: ByteSource, layout: ElfLayout, section: Section) -> SymbolTable:
    """Read the functions of a ``.symtab`` or ``.dynsym`` section.

    Raises:
        ImageError: the section or its string table does not lie in the file, or is too large.
    """
    dtype = _SYMBOL_64 if layout.is_64 else _SYMBOL_32
    count = section.size // dtype.itemsize
    if count > MAX_SYMBOLS:
        raise ImageError(SymbolFailure.TOO_LARGE, f"{count} symbols")
    if section.offset + section.size > source.size_bytes:
        raise ImageError(SymbolFailure.TRUNCATED, "the symbol table ends outside the file")
    strings = layout.sections[section.link] if section.link < len(layout.sections) else None
    if strings is None or strings.type != SHT_STRTAB:
        raise ImageError(SymbolFailure.TRUNCATED, "the symbol table has no string table")
    code = [(segment.vaddr, segment.vaddr + segment.memsz) for segment in layout.executable()]
    base = min((start for start, _ in code), default=0)
    pieces = [
        _candidates(_piece(source, section, dtype, first, count), code, base)
        for first in range(0, count, _PIECE_SYMBOLS)
    ]
    return SymbolTable(base, _sorted(_joined(pieces)), source, strings.offset)


def _piece(source: ByteSource, section: Section, dtype: np.dtype[np.void], first: int, count: int) -> NDArray[np.void]:
    length = min(_PIECE_SYMBOLS, count - first) * dtype.itemsize
    return np.frombuffer(source.read(section.offset + first * dtype.itemsize, length), dtype)


def _candidates(symbols: NDArray[np.void], code: list[tuple[int, int]], base: int) -> _Symbols:
    """Named symbols inside code; data, files, sections and undefined ones drop out."""
    kind, binding = symbols["info"] & 0xF, symbols["info"] >> 4
    is_function = (kind == _STT_FUNC) | (kind == _STT_GNU_IFUNC)
    value = symbols["value"].astype(np.uint64)
    in_code = np.zeros(len(symbols), bool)
    for start, end in code:
        in_code |= (value >= start) & (value < end)
    keep = in_code & (is_function | (kind == _STT_NOTYPE)) & (symbols["shndx"] != 0) & (symbols["name"] != 0)
    keep &= value - np.uint64(base) <= _U32_MAX
    sized = symbols["size"] != 0
    rank = 8 * ~is_function + 4 * ~sized + 2 * (binding == _STB_LOCAL) + (binding == _STB_WEAK)
    return _Symbols(
        (value[keep] - np.uint64(base)).astype(np.uint32),
        np.minimum(symbols["size"][keep], _U32_MAX).astype(np.uint32),
        symbols["name"][keep].astype(np.uint32),
        rank[keep].astype(np.uint8),
    )


def _joined(pieces: list[_Symbols]) -> _Symbols:
    if not pieces:
        empty = np.empty(0, np.uint32)
        return _Symbols(empty, empty, empty, np.empty(0, np.uint8))
    return _Symbols(
        np.concatenate([piece.start for piece in pieces]),
        np.concatenate([piece.size for piece in pieces]),
        np.concatenate([piece.name for piece in pieces]),
        np.concatenate([piece.rank for piece in pieces]),
    )


def _sorted(symbols: _Symbols) -> _Symbols:
    """By address; of several names at one address the best-ranked, then the first in the file.

    Labels without type that lie inside a sized function are dropped: they would cut it into pieces. Sorting one packed
    key in place needs half the memory of an indirect sort over two.
    """
    key = symbols.start.astype(np.uint64) << np.uint64(32)
    key |= symbols.rank.astype(np.uint64) << np.uint64(_ROW_BITS)
    key |= np.arange(len(key), dtype=np.uint64)
    key.sort()
    order = (key & np.uint64((1 << _ROW_BITS) - 1)).astype(np.int64)
    del key
    start = symbols.start[order]
    order = order[np.concatenate(([True], start[1:] != start[:-1]))] if len(start) else order
    start, size, is_label = symbols.start[order], symbols.size[order], symbols.rank[order] >= 8
    reach = np.maximum.accumulate(np.where(is_label, 0, start.astype(np.uint64) + size)) if len(start) else start
    keep = ~(is_label & (reach > start))
    return _Symbols(start[keep], size[keep], symbols.name[order][keep], symbols.rank[order][:0])
