"""Who runs on this host and what its addresses mean: processes, their files and the kernel, for the resolver."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from producers.resolve import Named
from producers.symbols.generated_code import ProcessKey

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from producers.address_space import MappedFile
    from producers.image import Image
    from producers.lives import ProcessEvent
    from producers.mapped_files import MappedFiles
    from producers.processes import Processes
    from producers.procfs import ProcFs
    from producers.symbols.kernel import KernelSymbols
    from producers.symbols.user import UserSymbols


MAX_KNOWN_PLACES = 8_000
"""Named places in files that are remembered across processes, at about 250 bytes each."""


class LiveHost:
    """The host as the side-band, ``/proc`` and the files on disk show it."""

    def __init__(
        self, proc: ProcFs, processes: Processes, files: MappedFiles, user: UserSymbols, kernel: KernelSymbols
    ) -> None:
        self._proc, self._files, self._user, self._kernel = proc, files, user, kernel
        self.processes = processes
        self._known: dict[tuple[MappedFile, int], Named] = {}
        self.pause: Callable[[], None] = lambda: None
        """Called now and then while names are looked up, which may take long: for what cannot wait that long."""

    def follow(self, events: Sequence[ProcessEvent]) -> None:
        """Take note of what happened to processes."""
        self.processes.apply(events)

    def catch(self, tgids: Iterable[int]) -> None:
        """Read sampled processes that are new, and hold on to their files, while they or their parents live."""
        for tgid in tgids:
            for image in self.processes.unmet(tgid):
                self.processes.meet(image)
                self._files.pin(image)

    def forget(self, before_boot_nano: int) -> None:
        """All samples taken before have been resolved: what ended before is needed no more."""
        self._files.release(before_boot_nano)
        self._user.begin_drain()
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
        """Function of each address, else file and address in its numbering, else what kind of memory it is."""
        self.pause()
        process = ProcessKey(image.tgid, image.key)
        return [self._located(process, image, address) for address in addresses]

    def _located(self, process: ProcessKey, image: Image, address: int) -> Named:
        mapped = image.space.find(address) if image.space is not None else None
        if mapped is None:
            return Named(*self._user.location(process, address))
        file, offset = mapped.file, address - mapped.start + mapped.offset
        known = self._known.get((file, offset))
        if known is not None:
            return known
        named = Named(
            *self._user.location(
                process,
                address,
                path=file.path,
                offset=offset,
                build_id=file.build_id,
                open_image=partial(self._files.open, image, mapped),
            )
        )
        if named.is_final and named.location.lines and file.build_id:
            self._keep((file, offset), named)
        return named

    def _keep(self, place: tuple[MappedFile, int], named: Named) -> None:
        """Places in files mean the same in every process: short lives of one program have them in common."""
        if len(self._known) >= MAX_KNOWN_PLACES:
            self._known.clear()
        self._known[place] = named

    def kernel_locations(self, addresses: Sequence[int]) -> Sequence[Named]:
        """Functions of the kernel and its modules."""
        return [Named(self._kernel.location(address)) for address in addresses]
