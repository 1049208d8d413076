"""What a process has mapped executable: sorted, and shared with its forks until one of them maps more."""

from __future__ import annotations

import bisect
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

MAX_MAPPINGS = 2_048
"""Of one process. Chromium has about 250; what exceeds it is not named, and counted."""
_NAMES_OF_MEMORY = ("//", "/dev/zero", "/SYSV", "/anon_hugepage")


@dataclass(frozen=True, slots=True)
class MappedFile:
    """A file as the kernel described it at the time of mapping: enough to find it, and to know it when found.

    Attributes:
        path: in the mount namespace of the process; a name such as ``[vdso]`` or ``//anon`` where there is no file.
        inode: 0 when not known.
        build_id: lower-case hexadecimal, empty when not known or none.
        is_deleted: whether the path was already gone when it was read from ``/proc``.
    """

    path: str
    inode: int = 0
    build_id: str = ""
    is_deleted: bool = False

    @property
    def is_file(self) -> bool:
        """Whether there may be a file behind it: an absolute path that is not one of the kernel's own names."""
        return self.path.startswith("/") and not self.path.startswith(_NAMES_OF_MEMORY)

    def may_be(self, other: MappedFile) -> bool:
        """Whether nothing speaks against both being one file: ``/proc`` tells its inode, the side-band its build id."""
        return (
            self.path == other.path
            and (not self.inode or not other.inode or self.inode == other.inode)
            and (not self.build_id or not other.build_id or self.build_id == other.build_id)
        )


@dataclass(frozen=True, slots=True)
class Mapped:
    """One executable mapping: ``[start, limit)`` shows the file from ``offset`` on; all in bytes."""

    start: int
    limit: int
    offset: int
    file: MappedFile

    def part(self, start: int, limit: int) -> Mapped:
        """What is left of it between two addresses inside it."""
        return replace(self, start=start, limit=limit, offset=self.offset + start - self.start)

    def continues(self, other: Mapped) -> bool:
        """Whether both show the same file at the same distance: an address means the same in either."""
        is_near = not self.file.is_file or self.start - self.offset == other.start - other.offset
        return is_near and self.file.may_be(other.file)


class AddressSpace:
    """Mappings by address, none overlapping another.

    Attributes:
        key: stands for what addresses mean here; two images with one key may share resolved stacks.
        users_count: images that refer to this object.
    """

    __slots__ = ("_mapped", "_starts", "key", "users_count")

    def __init__(self, key: int, mapped: Iterable[Mapped] = ()) -> None:
        self.key = key
        self.users_count = 1
        self._mapped = sorted(mapped, key=lambda each: each.start)
        self._starts = [each.start for each in self._mapped]

    def __len__(self) -> int:
        return len(self._mapped)

    @property
    def mapped(self) -> tuple[Mapped, ...]:
        """All mappings by address."""
        return tuple(self._mapped)

    def copy(self, key: int) -> AddressSpace:
        """The same mappings under a key of their own."""
        return AddressSpace(key, self._mapped)

    def find(self, address: int) -> Mapped | None:
        """The mapping around an address."""
        row = bisect.bisect_right(self._starts, address) - 1
        return self._mapped[row] if row >= 0 and address < self._mapped[row].limit else None

    def add(self, new: Mapped) -> bool:
        """Map over whatever was there.

        Returns:
            Whether addresses that meant something else before now mean this: what was resolved must not be used again.
        """
        first = max(0, bisect.bisect_right(self._starts, new.start) - 1)
        last = bisect.bisect_left(self._starts, new.limit)
        hit = [each for each in self._mapped[first:last] if each.limit > new.start]
        first = last - len(hit)
        rest = [each.part(each.start, new.start) for each in hit if each.start < new.start]
        rest.append(new)
        rest += [each.part(new.limit, each.limit) for each in hit if each.limit > new.limit]
        self._mapped[first:last] = rest
        self._starts[first:last] = [each.start for each in rest]
        return not all(each.continues(new) for each in hit)
