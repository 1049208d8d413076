"""Function tables of the ELF files that are mapped on this host, each read once, within a limit of memory."""

import os
from collections import Counter, OrderedDict
from dataclasses import dataclass, field

import numpy as np

from producers.symbols.demangle import demangled
from producers.symbols.elf import SHT_DYNSYM, ElfLayout, read_layout
from producers.symbols.failures import ImageError, SymbolFailure
from producers.symbols.source import FileSource
from producers.symbols.table import NOT_FOUND, SymbolTable, read_symbol_table

_SHT_SYMTAB = 2
DEFAULT_LIMIT_BYTES = 24 * 1024 * 1024
_MAX_IMAGES = 1_024  # open descriptors, each of one image


@dataclass(slots=True)
class Image:
    """One ELF file: where its segments lie and which functions it has.

    Attributes:
        names: demangled names by row of the table, filled as they are asked for.
    """

    source: FileSource
    layout: ElfLayout
    table: SymbolTable | None
    names: dict[int, str] = field(default_factory=dict)

    @property
    def held_bytes(self) -> int:
        """Memory of the tables; names are few beside them."""
        return self.table.held_bytes if self.table is not None else 0

    def address_of(self, file_offset: int) -> int:
        """The image's own address (ELF virtual address) of a byte of the file; the offset itself outside segments."""
        for segment in self.layout.segments:
            if segment.offset <= file_offset < segment.offset + segment.filesz:
                return file_offset - segment.offset + segment.vaddr
        return file_offset

    def function(self, address: int) -> tuple[str, int] | None:
        """Name and start of the function around an address; ``None`` when no symbol covers it."""
        if self.table is None:
            return None
        row = int(self.table.lookup(np.array([address], dtype=np.uint64))[0])
        if row == NOT_FOUND:
            return None
        name = self.names.get(row)
        if name is None:
            name = self.names[row] = demangled(self.table.mangled_name(row))
        return name, self.table.start(row)


class Images:
    """Images by the identity of their file, least recently used dropped first.

    Attributes:
        failures: why files gave no functions, by reason.
        evicted_count: images dropped to stay within the limit.
    """

    def __init__(self, limit_bytes: int = DEFAULT_LIMIT_BYTES) -> None:
        self._limit_bytes = limit_bytes
        self._images: OrderedDict[tuple[int, int, int], Image | None] = OrderedDict()
        self.failures: Counter[SymbolFailure] = Counter()
        self.evicted_count = 0

    def open(self, *paths: str) -> Image | None:
        """The image at the first path that can be opened; ``None`` when it is no ELF file or cannot be read."""
        for path in paths:
            try:
                descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
            except OSError:
                continue
            return self._get(descriptor)
        return None

    def _get(self, descriptor: int) -> Image | None:
        stat = os.fstat(descriptor)
        key = (stat.st_dev, stat.st_ino, stat.st_mtime_ns)
        if key in self._images:
            os.close(descriptor)
            self._images.move_to_end(key)
            return self._images[key]
        image = self._images[key] = self._read(FileSource(descriptor))
        self._make_room()
        return image

    def _read(self, source: FileSource) -> Image | None:
        try:
            layout = read_layout(source)
            section = layout.first_of_type(_SHT_SYMTAB) or layout.first_of_type(SHT_DYNSYM)
            table = read_symbol_table(source, layout, section) if section is not None else None
        except ImageError as error:
            self.failures[error.failure] += 1
            source.close()
            return None
        return Image(source, layout, table)

    def _make_room(self) -> None:
        while len(self._images) > 1 and (len(self._images) > _MAX_IMAGES or self._held_bytes() > self._limit_bytes):
            _, image = self._images.popitem(last=False)
            self.evicted_count += 1
            if image is not None:
                image.source.close()

    def _held_bytes(self) -> int:
        return sum(image.held_bytes for image in self._images.values() if image is not None)
