"""Kernel functions from ``/proc/kallsyms``, modules and loaded BPF programs included."""

import bisect
from array import array
from pathlib import Path

from flamebus.frames import FrameKind, Line, Location, Mapping

_KERNEL = Mapping("[kernel]")
_CODE = frozenset("tTwW")


class KernelSymbols:
    """Functions sorted by address: 8 bytes each, and their names in one block of text.

    Where the kernel hides addresses (``kptr_restrict``, no CAP_SYSLOG) they are all zero, and every location stays
    unresolved.
    """

    def __init__(self, kallsyms: Path = Path("/proc/kallsyms")) -> None:
        rows: list[tuple[int, str]] = []
        with kallsyms.open() as lines:
            for line in lines:
                address, kind, name = line.split(maxsplit=2)
                if kind in _CODE:
                    rows.append((int(address, 16), name.rstrip("\n")))
        rows.sort()
        self._addresses = array("Q", (address for address, _ in rows))
        self._names = "\n".join(name for _, name in rows).encode()
        ends = array("I")
        position = 0
        for _, name in rows:
            position += len(name.encode()) + 1
            ends.append(position)
        self._ends = ends
        self.is_visible = bool(rows) and rows[-1][0] > 0

    def location(self, address: int) -> Location:
        """The function around an address, with the module's name as its file; unresolved when there is none."""
        row = bisect.bisect_right(self._addresses, address) - 1
        if row < 0 or not self.is_visible:
            return Location(_KERNEL, address, FrameKind.KERNEL)
        begin = self._ends[row - 1] if row else 0
        name, _, module = self._names[begin : self._ends[row] - 1].decode().partition("\t")
        mapping = Mapping(module) if module else _KERNEL
        return Location(mapping, self._addresses[row], FrameKind.KERNEL, (Line(name),))
