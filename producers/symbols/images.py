"""The ELF files that are mapped on this host, each read once however many containers hold a copy, within limits."""

from __future__ import annotations

import os
import resource
import time
from collections import OrderedDict
from typing import TYPE_CHECKING

from producers import agent_metrics as metrics
from producers.symbols.elf import read_layout
from producers.symbols.failures import FailureCounts, ImageError, SymbolFailure
from producers.symbols.image import Image
from producers.symbols.source import FileIdentity, FileSource, identity_of, open_regular

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

DEFAULT_LIMIT_BYTES = 16 * 1024 * 1024
"""Tables of 1.5 million functions."""
DRAIN_BUDGET_NS = 300_000_000
"""Most CPU time for reading tables in one drain; the last one may exceed it."""
IDLE_NS = 30_000_000_000
"""How long a file stays open after it was last asked for. Longer would keep file systems of ended containers busy."""
_MAX_IMAGES = 512
_MAX_FILES = 8_192  # copies of one image count once each, and so do files that are no ELF


class Images:
    """Images by what their files hold, least recently used dropped first.

    A file is known by device, inode, time of change and size; copies of it by build id and size. A forged build id of
    equal size can therefore borrow another file's names, and no more than that.

    Attributes:
        failures: why files and names could not be read, by reason.
    """

    def __init__(
        self,
        limit_bytes: int = DEFAULT_LIMIT_BYTES,
        clock_ns: Callable[[], int] = time.monotonic_ns,
        cpu_ns: Callable[[], int] = time.thread_time_ns,
    ) -> None:
        """Without :meth:`begin_drain` there is no limit of time, and files stay open.

        Args:
            limit_bytes: most memory of all tables and names.
            clock_ns: tells how long files have been idle.
            cpu_ns: CPU time of this thread, for the budget of a drain: on a crowded machine waiting for a turn is no
                reason to leave names out.
        """
        self.failures = FailureCounts()
        self._limit_bytes, self._clock_ns, self._cpu_ns = limit_bytes, clock_ns, cpu_ns
        self._files: OrderedDict[FileIdentity, Image | None] = OrderedDict()
        self._contents: dict[tuple[str, int], Image] = {}
        self._images: OrderedDict[Image, int] = OrderedDict()  # with the memory that each holds, bytes
        self._held_bytes = 0
        # Each image has an open file.
        self._max_images = min(_MAX_IMAGES, resource.getrlimit(resource.RLIMIT_NOFILE)[0] // 4)
        self._time_left_ns: int | None = None

    def __len__(self) -> int:
        return len(self._images)

    @property
    def held_bytes(self) -> int:
        """Memory of all tables and names."""
        return self._held_bytes

    def begin_drain(self) -> None:
        """Close files not asked for lately, and give the drain its time for reading tables."""
        self._time_left_ns = DRAIN_BUDGET_NS
        now = self._clock_ns()
        for image in [each for each in self._images if now - each.used_ns >= IDLE_NS]:
            if image.needs_other_file:
                self._drop(image)  # whoever opens it again says where that file is
            else:
                image.source.close()
        metrics.SYMBOL_BYTES.set(self._held_bytes)
        metrics.SYMBOL_IMAGES.set(len(self._images))

    def open(self, *paths: str, seen_as: str = "", roots: Sequence[str] = ("",)) -> Image | None:
        """The image at the first path that can be opened; ``None`` when there is none, or it is no ELF file.

        Its functions can be asked for until the next :meth:`begin_drain`; after that, open it again.

        Args:
            paths: where to open it.
            seen_as: its path as the process sees it, when that is not the last of ``paths``.
            roots: prefixes below which separate debug files may lie, such as ``/proc/1/root``; the empty string is the
                host's own root.
        """
        for path in paths:
            try:
                descriptor = open_regular(path)
            except OSError:
                continue
            image = self._at(descriptor)
            if image is not None and not image.is_loaded:
                image.path, image.roots = seen_as or paths[-1], tuple(roots)
            return image
        return None

    def _at(self, descriptor: int) -> Image | None:
        identity = identity_of(descriptor)
        if identity not in self._files:
            self._files[identity] = self._read(FileSource(descriptor))
            if len(self._files) > _MAX_FILES:
                self._files.popitem(last=False)
        else:
            self._files.move_to_end(identity)
            known = self._files[identity]
            if known is not None and isinstance(known.source, FileSource) and not known.source.is_open:
                known.source.reopen(descriptor)
            else:
                os.close(descriptor)
        image = self._files[identity]
        if image is not None:
            image.used_ns = self._clock_ns()
            self._images.move_to_end(image)
        return image

    def _read(self, source: FileSource) -> Image | None:
        try:
            layout = read_layout(source)
        except ImageError as error:
            self.failures.note(error.failure)
            return None
        content = (layout.build_id, source.size_bytes)
        known = self._contents.get(content)
        if known is not None:
            if isinstance(known.source, FileSource) and not known.source.is_open:
                known.source.reopen(source.release())
            return known
        image = Image(source, layout, self, self.failures)
        self._images[image] = 0
        if layout.build_id:
            self._contents[content] = image
        self._make_room(image)
        return image

    def load(self, image: Image) -> bool:
        """Have the image read its tables; False when this drain's time for it is used up."""
        if self._time_left_ns is not None and self._time_left_ns <= 0:
            return False
        since = self._cpu_ns()
        image.read_tables()
        if self._time_left_ns is not None:
            self._time_left_ns -= self._cpu_ns() - since
        self.note_growth(image)
        return True

    def note_growth(self, image: Image) -> None:
        """The image has come to hold more memory: others go if it is too much."""
        if image not in self._images:
            return  # dropped, and still in the hands of whoever opened it
        self._held_bytes += image.held_bytes - self._images[image]
        self._images[image] = image.held_bytes
        self._make_room(image)

    def _make_room(self, newest: Image) -> None:
        """Drop the least recently used; the newest stays, however large."""
        while len(self._images) > self._max_images or self._held_bytes > self._limit_bytes:
            oldest = next((each for each in self._images if each is not newest), None)
            if oldest is None:
                return
            self._drop(oldest)
            self.failures.note(SymbolFailure.IMAGE_EVICTED)

    def _drop(self, image: Image) -> None:
        """Forget it; its file closes once nobody holds it any more."""
        self._held_bytes -= self._images.pop(image)
        self._contents.pop((image.layout.build_id, image.source.size_bytes), None)
        for identity in [key for key, value in self._files.items() if value is image]:
            del self._files[identity]
