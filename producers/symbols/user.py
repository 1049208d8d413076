"""Locations of user code: functions of mapped files, of the vdso, and of generated code."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from flamebus.frames import Line, Location, Mapping
from producers.symbols.failures import SymbolFailure
from producers.symbols.generated_code import GeneratedCode
from producers.symbols.vdso import VDSO, vdso_image

if TYPE_CHECKING:
    from collections.abc import Callable

    from producers.symbols.image import Image
    from producers.symbols.images import Images

ANONYMOUS = "[anon]"
UNMAPPED = "[unmapped]"
JIT = "[jit]"
_CODE_OF_THE_KERNEL = ("[vsyscall]", "[uprobes]")
_MEMORY = ("//", "/dev/zero", "/SYSV", "/anon_hugepage", "/memfd:")
_FIRST_64_BIT_ADDRESS = 1 << 32


class UserSymbols:
    """Names addresses of processes. A caller that remembers answers forgets those that :meth:`begin_drain` tells.

    ::

        for tgid in symbols.begin_drain():
            ...  # forget all locations remembered of that process
        symbols.location(tgid, address, path=..., offset=..., build_id=..., open_image=...)
        symbols.forget(tgid)  # it has ended, and its last sample is resolved; or it runs another program

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
        self._postponed: set[int] = set()

    def begin_drain(self) -> frozenset[int]:
        """Start a drain; the processes whose earlier answers may be out of date, because more is known now."""
        self._images.begin_drain()
        changed = self._postponed | self._generated.changed()
        self._postponed = set()
        return frozenset(changed)

    def forget(self, tgid: int) -> None:
        """The process has ended, or runs another program."""
        self._generated.forget(tgid)
        self._postponed.discard(tgid)

    def location(
        self,
        tgid: int,
        address: int,
        *,
        path: str = "",
        offset: int = 0,
        build_id: str = "",
        open_image: Callable[[], Image | None] = lambda: None,
    ) -> Location:
        """The function at an address of a process.

        Args:
            tgid: the process.
            address: virtual, as sampled.
            path: what is mapped there, as the kernel names it (``[vdso]``, ``//anon``); empty when nothing is.
            offset: of the address in the mapped file, bytes.
            build_id: of the mapped file when the kernel told it.
            open_image: opens the mapped file; called only when it matters, ``None`` when it cannot be read.
        """
        if not path:
            self._failures.note(SymbolFailure.NO_MAPPING)
            return _named(UNMAPPED)
        if path == VDSO:
            return self._in_vdso(address, offset)
        if path in _CODE_OF_THE_KERNEL:
            return _named(path)
        if path.startswith("/memfd:"):  # a program without a file, or memory that a compiler writes into
            image = open_image()
            return self._in_file(tgid, path, offset, image, build_id) if image else self._generated_at(tgid, address)
        if not path.startswith("/") or path.startswith(_MEMORY):
            return self._generated_at(tgid, address)
        return self._in_file(tgid, path, offset, open_image(), build_id)

    def _in_file(self, tgid: int, path: str, offset: int, image: Image | None, build_id: str) -> Location:
        # One mapping per file: where it lies in this process is no part of what a location is.
        mapping = Mapping(_printable(path), image.layout.build_id if image is not None else build_id)
        if image is None:
            self._failures.note(SymbolFailure.NO_IMAGE)
            return Location(mapping, offset)
        address = image.address_of(offset)
        found = image.function(address)
        if found is not None:
            return Location(mapping, found[1], lines=(Line(found[0]),))
        if image.is_loaded:
            self._failures.note(SymbolFailure.NO_SYMBOL)
        else:
            self._failures.note(SymbolFailure.POSTPONED)
            self._postponed.add(tgid)
        return Location(mapping, address)

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

    def _generated_at(self, tgid: int, address: int) -> Location:
        known = self._generated.name(tgid, address)
        if known is None:
            self._failures.note(SymbolFailure.ANONYMOUS)
            return _named(ANONYMOUS)
        # Without its address: a function that is compiled again lies elsewhere, and is the same.
        return Location(Mapping(JIT), 0, known.kind, (Line(known.function, known.file, known.line),))


def _named(name: str) -> Location:
    return Location(Mapping(name), 0, lines=(Line(name),))


def _printable(path: str) -> str:
    """A path as text for the wire: bytes that are no UTF-8 are replaced."""
    return path.encode("utf-8", "surrogateescape").decode("utf-8", "replace")
