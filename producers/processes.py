"""Who runs and who has run: a process is a row of images, each from one exec to the next, found by time.

Fed by the side-band (:mod:`producers.kernel.sideband`). Of processes that were there before, and of all after records
were lost, ``/proc`` is asked when they are sampled. A fork shares its parent's mappings, an exec begins without any, an
exit keeps everything until the samples taken before it have been resolved.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from typing import TYPE_CHECKING

from producers import agent_metrics as metrics
from producers.acquaintance import Acquaintance
from producers.address_space import MAX_MAPPINGS, Mapped, MappedFile
from producers.identity import Facts
from producers.image import Image
from producers.lives import Comm, EventsLost, Exit, Fork, Mmap, ProcessEvent

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from flamebus.profile import Resource
    from producers.procfs import ProcFs

MAX_PROCESSES = 8_192
"""About 1 kB each. The one that nothing was heard of for longest goes; when sampled it is read from ``/proc`` again."""
MAX_MAPPINGS_OF_ALL = 150_000
"""About 100 bytes each, if none were shared."""
_MAX_FILES = 4_096
_REREAD_NS = 10 * 10**9
_AFTERLIFE_NS = 10**9  # a thread may be sampled a little after its process was reported to have exited


class Processes:
    """All processes of the host that matter: born since the start, or sampled. One thread.

    Attributes:
        born_count: programs started since the beginning; a change says that some may have to be read while they live.
        mappings_count: mappings kept when :meth:`forget` was last called, those shared by forks counted once.
    """

    def __init__(self, proc: ProcFs, identify: Callable[[Facts], Resource], limit_count: int = MAX_PROCESSES) -> None:
        """Nothing is read yet.

        Args:
            proc: answers for the living.
            identify: who a process is.
            limit_count: most processes kept.
        """
        self._proc, self._limit_count = proc, limit_count
        self._images: OrderedDict[int, list[Image]] = OrderedDict()
        self._ended: deque[tuple[int, Image, int]] = deque()
        self._files: dict[tuple[str, int, bytes | None], MappedFile] = {}
        self._losses_count = 0
        self._lost_boot_nano = 0
        self._acquaintance = Acquaintance(proc, identify)
        self.born_count = 0
        self.mappings_count = 0

    def __len__(self) -> int:
        return len(self._images)

    def apply(self, events: Sequence[ProcessEvent]) -> None:
        """Follow what happened, in this order."""
        metrics.EVENTS.inc(len(events))
        for event in events:
            match event:
                case Mmap():
                    self._map(event)
                case Comm():
                    self._name(event)
                case Fork():
                    self._fork(event)
                case Exit():
                    self._exit(event)
                case EventsLost():
                    metrics.EVENTS_LOST.inc(event.count)
                    self._losses_count += 1
                    self._lost_boot_nano = event.time_boot_nano

    def _current(self, tgid: int) -> Image | None:
        images = self._images.get(tgid)
        return images[-1] if images else None

    def _add(self, image: Image) -> Image:
        image.losses_count = self._losses_count
        self._images.setdefault(image.tgid, []).append(image)
        self._images.move_to_end(image.tgid)
        if len(self._images) > self._limit_count:
            self._evict()
        return image

    def _evict(self) -> None:
        _, evicted = self._images.popitem(last=False)
        metrics.PROCESSES_EVICTED.inc()
        for each in evicted:
            self._release(each)

    def _close(self, image: Image | None, boot_nano: int) -> None:
        if image is not None and not image.is_over:
            image.until_boot_nano = boot_nano
            self._ended.append((boot_nano, image, 0))

    def _fork(self, event: Fork) -> None:
        now = event.time_boot_nano
        parent = self._current(event.parent_tgid) or self._add(Image(event.parent_tgid, 0, now))
        self._close(self._current(event.tgid), now)
        child = Image(event.tgid, now, now, parent.command, executable=parent.executable, space=parent.space)
        self._descend(child, parent)
        if child.space is not None:
            child.space.users_count += 1
        self._add(child)

    def _descend(self, image: Image, parent: Image) -> None:
        if parent.is_last_of_its_line():
            self._acquaintance.settle(parent)
            parent.begin_line()
        image.descend_from(parent)

    def _name(self, event: Comm) -> None:
        image = self._current(event.tgid)
        if event.is_exec:
            now = event.time_boot_nano
            self._close(image, now)
            started = Image(event.tgid, now, now, event.name, is_exec=True, space=self._acquaintance.new_space())
            if image is not None:
                self._descend(started, image)
            self._add(started)
            self.born_count += 1
        elif image is not None:
            image.name_thread(event.tid, event.name)
            if event.tid == event.tgid and image.facts is None:
                image.command = event.name

    def _exit(self, event: Exit) -> None:
        image = self._current(event.tgid)
        if image is None:
            return
        if event.tid == event.tgid:
            self._close(image, event.time_boot_nano)
        elif event.tid in image.threads:
            self._ended.append((event.time_boot_nano, image, event.tid))

    def _map(self, event: Mmap) -> None:
        image = self._current(event.tgid)
        if image is None or image.space is None or not event.is_executable:
            return  # nothing is known of its other mappings: all are read from /proc when it is met
        file = self._file(event)
        if image.is_exec and not image.executable and file.is_file:
            image.executable = event.path  # the program itself is mapped before its interpreter and libraries
        if len(image.space) >= MAX_MAPPINGS and not self._reread(image, event.time_boot_nano):
            metrics.MAPPINGS_DROPPED.inc()
            return
        space = image.space
        if space.users_count > 1:
            space.users_count -= 1
            space = image.space = space.copy(self._acquaintance.new_key())
        if space.add(Mapped(event.start, event.start + event.length, event.offset, file)):
            space.key = self._acquaintance.new_key()

    def _file(self, event: Mmap) -> MappedFile:
        """The same object for the same file: a host maps few, and many times."""
        key = (event.path, event.inode, event.build_id)
        file = self._files.get(key)
        if file is None:
            if len(self._files) >= _MAX_FILES:
                self._files.clear()
            file = MappedFile(event.path, event.inode, event.build_id.hex() if event.build_id else "")
            self._files[key] = file
        return file

    def image(self, tgid: int, boot_nano: int) -> Image:
        """What the process ran at a time; never fails: who has gone unread is ``unknown_service``.

        Args:
            tgid: the process of a sample.
            boot_nano: when the sample was taken.
        """
        images = self._images.get(tgid)
        if images:
            self._images.move_to_end(tgid)
            image = next((each for each in reversed(images) if each.since_boot_nano <= boot_nano), images[0])
            if image.losses_count != self._losses_count or boot_nano > image.until_boot_nano + _AFTERLIFE_NS:
                image = self._checked(image, boot_nano)
        else:
            image = self._adopt(tgid, boot_nano)
        self.meet(image)
        return image

    def meet(self, image: Image) -> bool:
        """Read who it is, if that has not been done; whether it was done now."""
        if image.facts is not None:
            return False
        self._acquaintance.meet(image)
        return True

    def unmet(self, tgid: int) -> list[Image]:
        """What the process runs and has run since the last drain, as far as it was not read yet."""
        return [image for image in self._images.get(tgid, ()) if image.facts is None]

    def _adopt(self, tgid: int, boot_nano: int) -> Image:
        """A process that no event has told of."""
        stat = self._proc.stat(tgid)
        if stat is not None and stat.start_boot_nano <= boot_nano + self._proc.tick_ns:
            return self._add(Image(tgid, stat.start_boot_nano, stat.start_boot_nano))
        gone = Image(tgid, 0, boot_nano)
        self._acquaintance.presume(gone, Facts(is_kernel_thread=tgid == 0))
        self._close(self._add(gone), boot_nano)
        metrics.PROCESSES_UNKNOWN.inc()
        return gone

    def _checked(self, image: Image, boot_nano: int) -> Image:
        """The image that runs now, after something may have been missed."""
        image.losses_count = self._losses_count
        stat = self._proc.stat(image.tgid)
        if stat is None:
            self._close(image, boot_nano)
            return image
        if stat.start_boot_nano > image.seen_boot_nano + self._proc.tick_ns:
            self._close(image, min(stat.start_boot_nano, boot_nano))
            return self._adopt(image.tgid, boot_nano)
        if image.is_over:
            return image  # its main thread has ended, others go on
        started = self._after_missed_exec(image)
        if started is None:
            self._acquaintance.read_mappings_again(image)
        return started or image

    def _after_missed_exec(self, image: Image) -> Image | None:
        # Base names only: a path depends on whose root it is told from.
        now = (self._proc.executable(image.tgid) or "").rpartition("/")[2]
        before = (image.facts.executable if image.facts else image.executable).rpartition("/")[2]
        if not now or not before or now == before:
            return None
        self._close(image, self._lost_boot_nano)
        started = Image(image.tgid, self._lost_boot_nano, image.seen_boot_nano)
        self._descend(started, image)
        return self._add(started)

    def _reread(self, image: Image, boot_nano: int) -> bool:
        """Get rid of what was unmapped, of which no event tells; whether there is room now."""
        if boot_nano - image.reread_boot_nano < _REREAD_NS:
            return False
        image.reread_boot_nano = boot_nano
        self._acquaintance.read_mappings_again(image)
        return image.space is not None and len(image.space) < MAX_MAPPINGS

    def _release(self, image: Image) -> None:
        """What descendants may still ask it for stays; the rest goes."""
        if image.space is not None:
            image.space.users_count -= 1
            image.space = None
        image.threads.clear()

    def forget(self, before_boot_nano: int) -> None:
        """Let go of images and threads that ended before; all samples taken until then have been resolved."""
        while self._ended and self._ended[0][0] < before_boot_nano:
            _, image, tid = self._ended.popleft()
            if tid:
                image.threads.pop(tid, None)
            elif not self._lives_on(image):
                images = self._images.get(image.tgid, [])
                if image in images:
                    images.remove(image)
                    self._release(image)
                if not images:
                    self._images.pop(image.tgid, None)
        self._count_mappings()

    def _count_mappings(self) -> None:
        spaces = {id(i.space): len(i.space) for images in self._images.values() for i in images if i.space is not None}
        self.mappings_count = sum(spaces.values())
        if self.mappings_count > MAX_MAPPINGS_OF_ALL:
            for _ in range(len(self._images) // 2):
                self._evict()

    def _lives_on(self, image: Image) -> bool:
        """Whether only the main thread of a process has ended; nobody asks for those that were never sampled."""
        if image.facts is None or self._current(image.tgid) is not image:
            return False
        stat = self._proc.stat(image.tgid)
        return (
            stat is not None
            and stat.threads_count > 1
            and stat.start_boot_nano <= image.seen_boot_nano + self._proc.tick_ns
        )
