"""Who runs on this host and what its addresses mean: processes, their files and the kernel, for the resolver."""

from __future__ import annotations

from typing import TYPE_CHECKING

from flamebus.frames import Line, Location, Mapping
from producers.resolve import Named

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from producers.address_space import Mapped
    from producers.image import Image
    from producers.lives import ProcessEvent
    from producers.mapped_files import MappedFiles
    from producers.processes import Processes
    from producers.procfs import ProcFs
    from producers.symbols.images import Image as ElfImage
    from producers.symbols.kernel import KernelSymbols


class LiveHost:
    """The host as the side-band, ``/proc`` and the files on disk show it."""

    def __init__(self, proc: ProcFs, processes: Processes, files: MappedFiles, kernel: KernelSymbols) -> None:
        self._proc, self._files, self._kernel = proc, files, kernel
        self.processes = processes

    def follow(self, events: Sequence[ProcessEvent]) -> None:
        """Take note of what happened to processes."""
        self.processes.apply(events)

    def catch(self, tgids: Iterable[int]) -> None:
        """Read sampled processes that are new, and hold on to their files, while they live."""
        for tgid in tgids:
            image = self.processes.unmet(tgid)
            if image is not None:
                self.processes.meet(image)
                self._files.pin(image)

    def forget(self, before_boot_nano: int) -> None:
        """All samples taken before have been resolved: what ended before is needed no more."""
        self._files.unpin()
        self.processes.forget(before_boot_nano)

    def image(self, tgid: int, boot_nano: int) -> Image:
        """What a process ran at a time."""
        return self.processes.image(tgid, boot_nano)

    def thread_name(self, image: Image, tid: int) -> str:
        """Name of a thread; of one that is gone unread, the one that threads begin with: their process's."""
        name = image.threads.get(tid)
        if name is None:
            name = "" if image.is_over else self._proc.thread_name(image.tgid, tid)
            name = name or image.command
            image.name_thread(tid, name)
        return name

    def user_locations(self, image: Image, addresses: Sequence[int]) -> Sequence[Named]:
        """Function of each address, else file and address in its numbering, else the address alone."""
        if image.space is None:
            return [Named(Location(Mapping(), address)) for address in addresses]
        opened: dict[int, ElfImage | None] = {}
        found = []
        for address in addresses:
            mapped = image.space.find(address)
            if mapped is None or not mapped.file.is_file:
                found.append(Named(Location(Mapping(), address)))
                continue
            if mapped.start not in opened:
                opened[mapped.start] = self._files.open(image, mapped)
            found.append(Named(_location(mapped, opened[mapped.start], address)))
        return found

    def kernel_locations(self, addresses: Sequence[int]) -> Sequence[Named]:
        """Functions of the kernel and its modules."""
        return [Named(self._kernel.location(address)) for address in addresses]


def _location(mapped: Mapped, elf: ElfImage | None, address: int) -> Location:
    file_offset = address - mapped.start + mapped.offset
    build_id = elf.layout.build_id if elf else mapped.file.build_id
    # One mapping per file: where it lies in this process is no part of what a location is.
    file = Mapping(mapped.file.path, build_id)
    if elf is None:
        return Location(file, file_offset)
    own_address = elf.address_of(file_offset)
    function = elf.function(own_address)
    if function is None:
        return Location(file, own_address)
    return Location(file, function[1], lines=(Line(function[0]),))
