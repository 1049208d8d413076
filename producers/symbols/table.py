"""The functions of one ELF symbol table: 9 bytes each in memory; sizes and names are read from the file when asked.

A table of 100,000 functions costs 0.9 MB. Symbols are read in pieces, so that a file of hundreds of megabytes is never
in memory as a whole; while a table is read it takes 20 bytes a function.
"""

from __future__ import annotations

import bisect
import struct
from typing import TYPE_CHECKING, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from producers.symbols.elf import SHT_STRTAB, ElfLayout, Section
from producers.symbols.failures import ImageError, SymbolFailure

if TYPE_CHECKING:
    from producers.symbols.source import ByteSource

MAX_SYMBOLS = 4_000_000
"""Entries read from one table: Chromium with all its local symbols has about one million."""

_PIECE_SYMBOLS = 32_768
_FIRST_NAME_BYTES = 256
MAX_NAME_BYTES = 16_384
_MAX_NESTING = 8
"""How many later-starting functions and aliases may lie between an address and the function around it."""
_MAX_LABELS = 512
"""How many labels may lie between an address and the start of its function (unrolled assembly has dozens)."""
_MAX_ALIASES = 16

_STT_NOTYPE, _STT_FUNC, _STT_GNU_IFUNC = 0, 2, 10
_STB_LOCAL, _STB_WEAK = 0, 2
_SHN_UNDEFINED, _SHN_RESERVED, _SHN_XINDEX = 0, 0xFF00, 0xFFFF
_UNTYPED, _UNSIZED = 8, 4  # bits of a rank; below them 0 is global, 1 weak, 2 local
_RANK_SHIFT, _START_SHIFT = 28, 32
_SYMBOL_64 = np.dtype(
    [("name", "<u4"), ("info", "u1"), ("other", "u1"), ("shndx", "<u2"), ("value", "<u8"), ("size", "<u8")]
)
_SYMBOL_32 = np.dtype(
    [("name", "<u4"), ("value", "<u4"), ("size", "<u4"), ("info", "u1"), ("other", "u1"), ("shndx", "<u2")]
)
_U32_MAX, _U64_MAX = (1 << 32) - 1, (1 << 64) - 1

U64 = NDArray[np.uint64]


class FunctionTable(Protocol):
    """Functions by address; addresses are in the image's own numbering."""

    @property
    def held_bytes(self) -> int:
        """Memory that the table keeps."""

    def __len__(self) -> int:
        """How many functions, aliases included."""

    def start_of(self, address: int) -> int | None:
        """Where the function around ``address`` starts; None when no function covers it."""

    def name_at(self, start: int) -> bytes:
        """The linker's name of the function that starts there; empty when it cannot be read (any more)."""


class _Record(NamedTuple):
    """``name``: offset in the string table; ``size`` in bytes."""

    name: int
    size: int


class SymbolTable:
    """Functions sorted by address, of several names at one address those of the best rank."""

    def __init__(self, source: ByteSource, layout: ElfLayout, section: Section, image: ElfLayout) -> None:
        """Read a ``.symtab`` or ``.dynsym`` section.

        Args:
            source: the file that holds the table, kept for sizes and names.
            layout: of that file.
            section: the table.
            image: the layout of the mapped file: the same, unless ``source`` is a separate debug file, whose own
                sections of code are empty.

        Raises:
            ImageError: the section or its string table does not lie in the file, or is too large.
        """
        self._source, self._section, self._image = source, section, image
        self._dtype = _SYMBOL_64 if layout.is_64 else _SYMBOL_32
        self._strings = _string_table(layout, section)
        # A .dynsym names only what is exported: what lies between two of its symbols belongs to neither.
        self._is_complete = section.name == ".symtab"
        self._base = min((segment.vaddr for segment in image.executable()), default=0)
        self._starts, self._ranks, self._rows = _columns(self._keys(source, section))

    def __len__(self) -> int:
        return len(self._starts)

    @property
    def held_bytes(self) -> int:
        """Memory of the columns."""
        return self._starts.nbytes + self._ranks.nbytes + self._rows.nbytes

    def start_of(self, address: int) -> int | None:
        """Where the function around ``address`` starts.

        One without a size (assembly) reaches to the next symbol of a complete table, within its section.
        """
        relative = address - self._base
        if not 0 <= relative <= _U32_MAX or not len(self._starts):
            return None
        # One address at a time: a view's numbers come several times faster than numpy's.
        row = bisect.bisect_right(self._starts.data, relative) - 1
        if row < 0:
            return None
        if not self._ranks[row] & _UNSIZED and relative - int(self._starts[row]) < self._record(row).size:
            return self._base + int(self._starts[row])
        first = max(0, row + 1 - _MAX_LABELS)
        sized = np.flatnonzero(self._ranks[first : row + 1] & _UNSIZED == 0)[-_MAX_NESTING:]
        nearest = int(self._starts[row])
        is_inside_other = False  # a label inside a function, which ends before the address
        for candidate in (first + sized[::-1]).tolist():
            start, size = int(self._starts[candidate]), self._record(candidate).size
            if relative - start < size:
                return self._base + start
            is_inside_other |= nearest - start < size
        if not self._is_complete or not self._ranks[row] & _UNSIZED or is_inside_other:
            return None
        start = self._base + nearest
        return start if self._is_in_one_section(start, address) else None

    def _is_in_one_section(self, start: int, address: int) -> bool:
        section = self._image.code_section(start)
        return section is not None and address < section.address + section.size

    def name_at(self, start: int) -> bytes:
        """The shortest of the names, of equals the first in the alphabet: the same whichever table they come from."""
        relative = np.uint32(start - self._base)
        first, end = (int(np.searchsorted(self._starts, relative, side=side)) for side in ("left", "right"))
        names = [self._name(self._record(row).name) for row in range(first, min(end, first + _MAX_ALIASES))]
        # Names that begin with $ mark ARM code and data, and are no functions.
        return min((n for n in names if n and not n.startswith(b"$")), key=lambda n: (len(n), n), default=b"")

    def _record(self, row: int) -> _Record:
        size = self._dtype.itemsize
        raw = self._source.read_up_to(self._section.offset + int(self._rows[row]) * size, size)
        if len(raw) != size:
            return _Record(0, 0)
        if size == _SYMBOL_64.itemsize:
            return _Record(*struct.unpack("<I12xQ", raw))
        return _Record(*struct.unpack("<I4xI4x", raw))

    def _name(self, offset: int) -> bytes:
        content = b""
        for length in (_FIRST_NAME_BYTES, MAX_NAME_BYTES):
            left = max(0, self._strings.size - offset)
            content, end, _ = self._source.read_up_to(self._strings.offset + offset, min(length, left)).partition(b"\0")
            if end:
                break
        return content

    def _keys(self, source: ByteSource, section: Section) -> U64:
        """Sorted keys: start relative to the base, rank, row of the section; the best name of an address first."""
        count = section.size // self._dtype.itemsize
        if count > MAX_SYMBOLS:
            raise ImageError(SymbolFailure.TOO_LARGE, f"{count} symbols")
        if section.offset + section.size > source.size_bytes:
            raise ImageError(SymbolFailure.TRUNCATED, "the symbol table ends outside the file")
        keys, found = np.empty(count, np.uint64), 0
        for first in range(0, count, _PIECE_SYMBOLS):
            length = min(_PIECE_SYMBOLS, count - first) * self._dtype.itemsize
            piece = np.frombuffer(source.read(section.offset + first * self._dtype.itemsize, length), self._dtype)
            new = self._keys_of(piece, first)
            keys[found : found + len(new)] = new
            found += len(new)
        keys = keys[:found]
        keys.sort()
        return keys

    def _keys_of(self, symbols: NDArray[np.void], first: int) -> U64:
        """Keys of named functions and labels inside code; data, files, sections and undefined ones drop out."""
        kind, binding, index = symbols["info"] & 0xF, symbols["info"] >> 4, symbols["shndx"]
        is_function = (kind == _STT_FUNC) | (kind == _STT_GNU_IFUNC)
        is_sized = symbols["size"] != 0
        value = symbols["value"].astype(np.uint64)
        keep = np.zeros(len(symbols), bool)
        for segment in self._image.executable():
            keep |= (value >= segment.vaddr) & (value < min(segment.vaddr + segment.memsz, _U64_MAX))
        keep &= (is_function | (kind == _STT_NOTYPE)) & (symbols["name"] != 0) & (index != _SHN_UNDEFINED)
        keep &= (index < _SHN_RESERVED) | (index == _SHN_XINDEX)
        if not self._is_complete:
            keep &= is_sized
        relative = value - np.uint64(self._base)
        keep &= relative <= _U32_MAX
        rank = _UNTYPED * ~is_function + _UNSIZED * ~is_sized + 2 * (binding == _STB_LOCAL) + (binding == _STB_WEAK)
        key = relative << np.uint64(_START_SHIFT) | rank.astype(np.uint64) << np.uint64(_RANK_SHIFT)
        key |= np.arange(first, first + len(symbols), dtype=np.uint64)
        kept: U64 = key[keep]
        return kept


def _string_table(layout: ElfLayout, section: Section) -> Section:
    strings = layout.sections[section.link] if section.link < len(layout.sections) else None
    if strings is None or strings.type != SHT_STRTAB:
        raise ImageError(SymbolFailure.TRUNCATED, "the symbol table has no string table")
    return strings


def _columns(keys: U64) -> tuple[NDArray[np.uint32], NDArray[np.uint8], NDArray[np.uint32]]:
    """Starts, ranks and rows of sorted keys; of one start only those of its best rank. In pieces, to save memory."""
    starts, rows = np.empty(len(keys), np.uint32), np.empty(len(keys), np.uint32)
    ranks = np.empty(len(keys), np.uint8)
    first, found = 0, 0
    while first < len(keys):
        last = min(first + _PIECE_SYMBOLS, len(keys)) - 1
        next_start = (int(keys[last]) >> _START_SHIFT) + 1  # all keys of one start come in one piece
        end = int(np.searchsorted(keys, np.uint64(min(next_start << _START_SHIFT, _U64_MAX))))
        kept = _best_ranked(keys[first:end])
        here = slice(found, found + len(kept))
        starts[here] = kept >> np.uint64(_START_SHIFT)
        ranks[here] = kept >> np.uint64(_RANK_SHIFT) & np.uint64(0xF)
        rows[here] = kept & np.uint64((1 << _RANK_SHIFT) - 1)
        first, found = end, found + len(kept)
    return starts[:found], ranks[:found], rows[:found]


def _best_ranked(keys: U64) -> U64:
    """Sorted keys whose rank is that of the first key of their start."""
    changes = keys[1:] ^ keys[:-1]
    is_first = np.concatenate(([True], changes >= np.uint64(1 << _START_SHIFT)))
    is_worse = np.concatenate(([False], changes >= np.uint64(1 << _RANK_SHIFT))) & ~is_first
    place = np.arange(len(keys))
    # A key stays unless the rank has changed since the first key of its start.
    last_change = np.maximum.accumulate(np.where(is_worse, place, 0))
    return keys[last_change <= np.maximum.accumulate(np.where(is_first, place, 0))]
