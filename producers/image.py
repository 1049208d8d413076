"""A process between two execs: what samples of it refer to."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from flamebus.profile import SERVICE_ATTRIBUTE, UNKNOWN_SERVICE, Resource

if TYPE_CHECKING:
    from collections.abc import Iterator

    from producers.address_space import AddressSpace
    from producers.identity import Facts

NEVER = (1 << 63) - 1
MAX_ANCESTORS = 16
MAX_THREADS = 4_096
"""Names kept of one process; beyond it they are read again."""
UNKNOWN: Resource = ((SERVICE_ATTRIBUTE, UNKNOWN_SERVICE),)


@dataclass(slots=True, eq=False)
class Image:
    """One program in one process. It ends when the process execs or exits.

    Attributes:
        tgid: the process.
        since_boot_nano, until_boot_nano: when it ran, ns of the boot clock.
        seen_boot_nano: a time at which it certainly ran: a process made later is another one with the same id.
        command: name of the main thread.
        is_exec: whether it began with an exec that we saw; else with a fork, or before us.
        parent: whom it was forked from, or what ran before its exec; ``None`` when not known.
        space: its executable mappings; ``None`` until they are known.
        executable: path of the program in the mount namespace of the process, empty until known.
        facts: what was read of it, ``None`` until it is met; resource: the attributes of its samples.
        threads: names of threads by id.
        depth: how many ancestors hang on it, at most ``MAX_ANCESTORS``.
        losses_count: how many losses of side-band records it has been checked after.
        reread_boot_nano: when its mappings were last read because there were too many.
        attempts_count: how often it could not be read.
    """

    tgid: int
    since_boot_nano: int
    seen_boot_nano: int
    command: str = ""
    is_exec: bool = False
    parent: Image | None = None
    space: AddressSpace | None = None
    executable: str = ""
    until_boot_nano: int = NEVER
    facts: Facts | None = None
    resource: Resource = UNKNOWN
    threads: dict[int, str] = field(default_factory=dict)
    depth: int = 0
    losses_count: int = 0
    reread_boot_nano: int = 0
    attempts_count: int = 0

    @property
    def key(self) -> int:
        """Stands for what addresses mean in it; 0 while nothing is known. Forks may share it with their parent."""
        return self.space.key if self.space is not None else 0

    @property
    def is_over(self) -> bool:
        """Whether the process has exited or run another program since."""
        return self.until_boot_nano != NEVER

    def covers(self, boot_nano: int) -> bool:
        """Whether it ran at a time."""
        return self.since_boot_nano <= boot_nano < self.until_boot_nano

    def lineage(self) -> Iterator[Image]:
        """Its ancestors, nearest first."""
        image = self.parent
        while image is not None:
            yield image
            image = image.parent

    def descend_from(self, parent: Image) -> None:
        """Hang it below another."""
        self.parent, self.depth = parent, parent.depth + 1

    def is_last_of_its_line(self) -> bool:
        """Whether no more can hang below it: the dead above would pile up in memory."""
        return self.depth >= MAX_ANCESTORS - 1

    def begin_line(self) -> None:
        """Let go of its ancestors; it has facts of its own."""
        self.parent, self.depth = None, 0

    def name_thread(self, tid: int, name: str) -> None:
        """Keep the name of a thread."""
        if len(self.threads) >= MAX_THREADS:
            self.threads.clear()
        self.threads[tid] = name
