"""Finding the file behind a mapping: in whose root it can still be reached, and that it is the same file."""

from __future__ import annotations

import os
from collections import OrderedDict
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from producers.symbols.failures import SymbolFailure

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from producers.address_space import Mapped, MappedFile
    from producers.image import Image
    from producers.symbols.image import Image as ElfImage
    from producers.symbols.images import Images

_MAX_ROOTS = 4
_ANY = 0  # the key of no address space
_MAX_PINNED = 256
_MAX_REACHABLE = 2_048


class _Pin(NamedTuple):
    """An open file that a process has mapped; ``is_private`` when the host cannot see it under its path."""

    descriptor: int
    image: Image
    is_private: bool


class MappedFiles:
    """Opens mapped files, most certain way first.

    1. A descriptor pinned while the process lived: also of a file that is deleted by now. One that only the process
       can see is pinned for as long as it lives, since its last samples are resolved after its end.
    2. ``/proc/PID/map_files``: the mapped file itself, whatever its path leads to now (needs CAP_SYS_ADMIN).
    3. Its path below the root of the process, of its ancestors, who mostly share its mount namespace, and of the host.
       What is found there counts only if it has the build id, else the inode, that the kernel reported.
    """

    def __init__(self, images: Images, root: str = "/proc") -> None:
        """Args: images: reads and caches ELF files; root: where procfs is."""
        self._images, self._proc = images, root
        self._pinned: OrderedDict[MappedFile, _Pin] = OrderedDict()
        self._reachable: OrderedDict[MappedFile, None] = OrderedDict()
        self._opened: dict[tuple[int, MappedFile], ElfImage | None] = {}

    def open(self, image: Image, mapped: Mapped) -> ElfImage | None:
        """The ELF file of a mapping; ``None`` when it cannot be reached any more or is none.

        Opened once a drain (until :meth:`release`), by all processes together where the build id is known: paths and
        inodes alone may mean different files in different mount namespaces.
        """
        own = (image.key, mapped.file)
        shared = (_ANY, mapped.file) if mapped.file.build_id else own
        for key in (shared, own):
            if key in self._opened:
                return self._opened[key]
        found = self._find(image, mapped)
        # What one process cannot reach another may.
        self._opened[own if found is None else shared] = found
        return found

    def _find(self, image: Image, mapped: Mapped) -> ElfImage | None:
        reason: SymbolFailure | None = SymbolFailure.FILE_MISSING
        for path, is_certain in self._candidates(image, mapped):
            found = self._images.open(path, seen_as=mapped.file.path, roots=self._debug_roots(image))
            if found is not None and (is_certain or _is_same(path, found, mapped.file)):
                self._pin_if_private(image, mapped.file, path)
                return found
            if found is not None:
                reason = SymbolFailure.FILE_REPLACED
            elif reason is SymbolFailure.FILE_MISSING:
                reason = _why_not_opened(path)
        if reason is not None:
            self._images.failures.note(reason)
        return None

    def _debug_roots(self, image: Image) -> tuple[str, ...]:
        """Where separate debug files are looked for: the container's own come first."""
        return ("",) if image.is_over else (f"{self._proc}/{image.tgid}/root", "")

    def _candidates(self, image: Image, mapped: Mapped) -> Iterator[tuple[str, bool]]:
        pinned = self._pinned.get(mapped.file)
        if pinned is not None:
            yield f"/proc/self/fd/{pinned.descriptor}", True
        if not image.is_over:
            yield f"{self._proc}/{image.tgid}/map_files/{mapped.start:x}-{mapped.limit:x}", True
        if not mapped.file.is_deleted:
            yield from ((root + mapped.file.path, False) for root in self._roots(image))

    def _roots(self, image: Image) -> Iterator[str]:
        if not image.is_over:
            yield f"{self._proc}/{image.tgid}/root"
        seen = {image.tgid}
        for ancestor in image.lineage():
            if not ancestor.is_over and ancestor.tgid not in seen and len(seen) < _MAX_ROOTS:
                seen.add(ancestor.tgid)
                yield f"{self._proc}/{ancestor.tgid}/root"
        yield f"{self._proc}/1/root"
        yield ""

    def pin(self, image: Image) -> None:
        """Open what a process has mapped, without reading it: it may be gone when its samples are resolved."""
        if image.space is None:
            return
        for mapped in image.space.mapped:
            if mapped.file.is_file and not self._is_held(mapped.file):
                self._pin(image, mapped.file, (path for path, _ in self._candidates(image, mapped)))

    def _is_held(self, file: MappedFile) -> bool:
        return file in self._pinned or file in self._reachable

    def _pin(self, image: Image, file: MappedFile, paths: Iterable[str]) -> None:
        for path in paths:
            try:
                descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
            except OSError:
                continue
            is_private = not _leads_to(file.path, descriptor)
            self._pinned[file] = _Pin(descriptor, image, is_private)
            if not is_private:
                self._reachable[file] = None  # a file of the host: no need to hold it another time
                if len(self._reachable) > _MAX_REACHABLE:
                    self._reachable.popitem(last=False)
            while len(self._pinned) > _MAX_PINNED:
                os.close(self._pinned.popitem(last=False)[1].descriptor)
            return

    def _pin_if_private(self, image: Image, file: MappedFile, path: str) -> None:
        """For a file that was opened while its process lives, which may end before the next drain."""
        if not image.is_over and not self._is_held(file):
            self._pin(image, file, (path,))

    def release(self, before_boot_nano: int) -> None:
        """What was sampled before has been resolved: open files anew from now on, and close what is needed no more."""
        self._opened.clear()
        for file, pin in list(self._pinned.items()):
            if not pin.is_private or pin.image.until_boot_nano < before_boot_nano:
                os.close(pin.descriptor)
                del self._pinned[file]


def _leads_to(path: str, descriptor: int) -> bool:
    try:
        return os.path.samestat(Path(path).stat(), os.fstat(descriptor))
    except OSError:
        return False


def _why_not_opened(path: str) -> SymbolFailure | None:
    """``None`` when it can be: that it is no ELF file has been counted where that was seen."""
    try:
        os.close(os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK))
    except PermissionError:
        return SymbolFailure.FILE_DENIED
    except OSError:
        return SymbolFailure.FILE_MISSING
    return None


def _is_same(path: str, found: ElfImage, file: MappedFile) -> bool:
    """Whether a file at a path is the mapped one. Devices are not asked: they differ between views of a file."""
    if file.build_id and found.layout.build_id:
        return file.build_id == found.layout.build_id
    if not file.inode:
        return not file.build_id
    try:
        return Path(path).stat().st_ino == file.inode
    except OSError:
        return False
