"""Locations of user code: functions of mapped files, of the vdso, and of generated code."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, NamedTuple

from flamebus.frames import Line, Location, Mapping
from producers.symbols.failures import SymbolFailure
from producers.symbols.generated_code import GeneratedCode, ProcessKey
from producers.symbols.vdso import VDSO, vdso_image

if TYPE_CHECKING:
    from collections.abc import Callable

    from producers.symbols.image import Image
    from producers.symbols.images import Images

ANONYMOUS = "[anon]"
UNMAPPED = "[unmapped]"
JIT = "[jit]"
MEMFD = "[memfd]"
_CODE_OF_THE_KERNEL = ("[vsyscall]", "[uprobes]")
_MEMORY = ("//", "/dev/zero", "/SYSV", "/anon_hugepage", "/memfd:")
_MAX_LOCATIONS = 8_192  # of one image
_FIRST_64_BIT_ADDRESS = 1 << 32


class Answer(NamedTuple):
    """What an address means.

    Attributes:
        location: as well as is known now.
        is_final: whether it stays so; else ask again at the next drain.
    """

    location: Location
    is_final: bool = True


class UserSymbols:
    """Names addresses of processes; call :meth:`begin_drain` once per drain.

    What has no name is one location however often it is met at other addresses: generated code is ``[anon]``, an
    address outside all mappings ``[unmapped]``. Only code of a file is shown by its address, ``libfoo.so+0x1a2b``.
    """

    def __init__(self, images: Images, proc: str = "/proc", clock_ns: Callable[[], int] = time.monotonic_ns) -> None:
        """Nothing is read yet.

        Args:
            images: opens and keeps ELF files.
            proc: where procfs is.
            clock_ns: a clock that never goes back.
        """
        self._images, self._failures = images, images.failures
        self._generated = GeneratedCode(images.failures, proc, clock_ns)
        self._vdso: Image | None = None
        self._is_vdso_read = False

    def begin_drain(self) -> None:
        """Give the drain its time for reading tables, look at perf maps again, close what was not used lately."""
        self._images.begin_drain()
        self._generated.look_again()

    def location(
        self,
        process: ProcessKey,
        address: int,
        *,
        path: str = "",
        offset: int = 0,
        build_id: str = "",
        open_image: Callable[[], Image | None] = lambda: None,
    ) -> Answer:
        """The function at an address of a process.

        Args:
            process: whose address it is.
            address: virtual, as sampled.
            path: what is mapped there, as the kernel names it (``[vdso]``, ``//anon``); empty when nothing is.
            offset: of the address in the mapped file, bytes.
            build_id: of the mapped file when the kernel told it.
            open_image: opens the mapped file; called only when it matters, ``None`` when it cannot be read.
        """
        if not path:
            self._failures.note(SymbolFailure.NO_MAPPING)
            return Answer(_named(UNMAPPED))
        if path == VDSO:
            return Answer(self._in_vdso(address, offset))
        if path in _CODE_OF_THE_KERNEL:
            return Answer(_named(path))
        if path.startswith("/memfd:"):  # a program without a file, or memory that a compiler writes into
            image = open_image()
            # Its name is often random: no part of what a function is.
            return self._in_file(MEMFD, offset, image, build_id) if image else self._generated_at(process, address)
        if not path.startswith("/") or path.startswith(_MEMORY):
            return self._generated_at(process, address)
        return self._in_file(path, offset, open_image(), build_id)

    def _in_file(self, path: str, offset: int, image: Image | None, build_id: str) -> Answer:
        # One mapping per file: where it lies in this process is no part of what a location is.
        if image is None:
            self._failures.note(SymbolFailure.NO_IMAGE)
            return Answer(Location(Mapping(_printable(path), build_id), offset))
        address = image.address_of(offset)
        found = image.function(address)
        if found is not None:
            return Answer(_of_function(image, path, *found))
        mapping = Mapping(_printable(path), image.layout.build_id)
        self._failures.note(SymbolFailure.NO_SYMBOL if image.is_loaded else SymbolFailure.POSTPONED)
        return Answer(Location(mapping, address), is_final=image.is_loaded)

    def _in_vdso(self, address: int, offset: int) -> Location:
        if not self._is_vdso_read:
            self._vdso, self._is_vdso_read = vdso_image(self._images), True
        # A 32-bit process has another vdso.
        image = self._vdso if address >= _FIRST_64_BIT_ADDRESS else None
        found = image.function(image.address_of(offset)) if image is not None else None
        if found is None:
            self._failures.note(SymbolFailure.NO_SYMBOL)
            return _named(VDSO)
        return Location(Mapping(VDSO), found[1], lines=(Line(found[0]),))

    def _generated_at(self, process: ProcessKey, address: int) -> Answer:
        known, is_final = self._generated.name(process, address)
        if known is None:
            self._failures.note(SymbolFailure.ANONYMOUS)
            return Answer(_named(ANONYMOUS), is_final)
        # Without its address: a function that is compiled again lies elsewhere, and is the same.
        lines = (Line(known.function, known.file, known.line),)
        return Answer(Location(Mapping(JIT), 0, known.kind, lines), is_final)


def _of_function(image: Image, path: str, name: str, start: int) -> Location:
    known = image.locations.get((path, start))
    if known is None:
        if len(image.locations) >= _MAX_LOCATIONS:  # met under many paths
            image.locations.clear()
        mapping = Mapping(_printable(path), image.layout.build_id)
        known = image.locations[path, start] = Location(mapping, start, lines=(Line(name),))
    return known


def _named(name: str) -> Location:
    return Location(Mapping(name), 0, lines=(Line(name),))


def _printable(path: str) -> str:
    """A path as text for the wire: bytes that are no UTF-8 are replaced."""
    return path.encode("utf-8", "surrogateescape").decode("utf-8", "replace")
