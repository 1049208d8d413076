"""One ELF image: where its segments lie, and which functions it has, from whichever table names them best."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from producers.symbols.debug_files import embedded_debug_data, separate_debug_file
from producers.symbols.demangle import demangled, is_refused
from producers.symbols.elf import SHT_DYNSYM, SHT_SYMTAB, ElfLayout
from producers.symbols.failures import FailureCounts, ImageError, SymbolFailure
from producers.symbols.go_table import go_table
from producers.symbols.plt import plt_stub
from producers.symbols.source import FileSource
from producers.symbols.table import FunctionTable, SymbolTable

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from flamebus.frames import Location
    from producers.symbols.source import MemorySource

_NAME_OVERHEAD_BYTES = 600  # a string, its key and its place in a dict; the same of its location, and that itself


class Keeper(Protocol):
    """Whoever keeps images within limits of time and memory."""

    def load(self, image: Image) -> bool:
        """Have the image read its tables; False when there is no time for it now."""

    def note_growth(self, image: Image) -> None:
        """The image has come to hold more memory."""


class Image:
    """An ELF image whose tables are read when a function is first asked for.

    Attributes:
        source: its bytes.
        layout: its segments and sections.
        path: absolute, as its process sees it; says where separate debug files may lie.
        roots: of the file systems where they may lie, in order; the empty string is the host's.
        used_ns: when it was last opened, by the cache's clock.
        locations: of its functions, by the path they were met under and their start; kept so that the thousands of
            addresses of a function share one.
    """

    def __init__(
        self, source: FileSource | MemorySource, layout: ElfLayout, keeper: Keeper, counts: FailureCounts
    ) -> None:
        self.source, self.layout = source, layout
        self.path = ""
        self.roots: Sequence[str] = ("",)
        self.used_ns = 0
        self._keeper, self._failures = keeper, counts
        self._tables: tuple[FunctionTable, ...] | None = None
        self._other_source: FileSource | MemorySource | None = None
        self.locations: dict[tuple[str, int], Location] = {}
        self._names: dict[int, str] = {}
        self._name_bytes = 0

    @property
    def is_loaded(self) -> bool:
        """Whether its tables have been read."""
        return self._tables is not None

    @property
    def needs_other_file(self) -> bool:
        """Whether names come from a separate debug file."""
        return isinstance(self._other_source, FileSource)

    @property
    def held_bytes(self) -> int:
        """Memory of tables and names."""
        sources = sum(source.held_bytes for source in (self.source, self._other_source) if source is not None)
        return sources + self._name_bytes + sum(table.held_bytes for table in self._tables or ())

    @property
    def function_count(self) -> int:
        """Functions in the tables that have been read, aliases included."""
        return sum(len(table) for table in self._tables or ())

    def address_of(self, file_offset: int) -> int:
        """The image's own address (ELF virtual address) of a byte of the file; the offset itself outside segments."""
        return self.layout.address_of(file_offset)

    def function(self, address: int) -> tuple[str, int] | None:
        """Name and start of the function around an address of the image; ``None`` when no symbol covers it.

        Also ``None`` while there is no time to read the tables; ``is_loaded`` then stays false.
        """
        if self._tables is None and not self._keeper.load(self):
            return None
        for table in self._tables or ():
            start = table.start_of(address)
            if start is not None:
                name = self._names.get(start) or self._remember(start, self._readable(table.name_at(start)))
                return (name, start) if name else None
        stub = plt_stub(self.source, self.layout, address)
        if stub is None:
            return None
        start, target = stub
        return self._names.get(start) or self._remember(start, f"{self._readable(target)}@plt"), start

    def _readable(self, mangled: bytes) -> str:
        if is_refused(mangled):
            self._failures.note(SymbolFailure.NAME_REFUSED)
        return demangled(mangled)

    def _remember(self, start: int, name: str) -> str:
        if name:
            self._names[start] = name
            self._name_bytes += len(name) + _NAME_OVERHEAD_BYTES
            self._keeper.note_growth(self)
        return name

    def read_tables(self) -> None:
        """Read them; called by the keeper. What cannot be read is counted, and names nothing."""
        self._tables = tuple(self._found_tables())
        if not self._tables:
            self._failures.note(SymbolFailure.NO_SYMBOL_TABLE)

    def _found_tables(self) -> Iterator[FunctionTable]:
        """Tables in the order in which they are asked: a complete one alone, else all that there is."""
        for complete in (self._own_table, self._separate_table):
            table = self._tried(complete)
            if table is not None:
                yield table
                return
        # What is embedded leaves out what is exported, but not other names of it.
        for partial in (self._exported_table, self._embedded_table, self._go_table):
            table = self._tried(partial)
            if table is not None:
                yield table

    def _tried(self, read: Callable[[], FunctionTable | None]) -> FunctionTable | None:
        try:
            table = read()
        except ImageError as error:
            self._failures.note(error.failure)
            return None
        return table if table is not None and len(table) else None

    def _own_table(self) -> FunctionTable | None:
        section = self.layout.section(".symtab") or self.layout.first_of_type(SHT_SYMTAB)
        return SymbolTable(self.source, self.layout, section, self.layout) if section is not None else None

    def _separate_table(self) -> FunctionTable | None:
        found = separate_debug_file(self.source, self.layout, self.path, self.roots, self._failures)
        return self._table_of(*found) if found is not None else None

    def _embedded_table(self) -> FunctionTable | None:
        found = embedded_debug_data(self.source, self.layout)
        return self._table_of(*found) if found is not None else None

    def _table_of(self, source: FileSource | MemorySource, layout: ElfLayout) -> FunctionTable | None:
        section = layout.first_of_type(SHT_SYMTAB)
        if section is None:
            return None
        self._other_source = source
        return SymbolTable(source, layout, section, self.layout)

    def _go_table(self) -> FunctionTable | None:
        return go_table(self.source, self.layout)

    def _exported_table(self) -> FunctionTable | None:
        section = self.layout.first_of_type(SHT_DYNSYM)
        return SymbolTable(self.source, self.layout, section, self.layout) if section is not None else None
