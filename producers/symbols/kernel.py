"""Kernel functions from ``/proc/kallsyms``, modules and loaded BPF programs included."""

from __future__ import annotations

import time
from array import array
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from flamebus.frames import FrameKind, Line, Location, Mapping
from producers.symbols.failures import FailureCounts, SymbolFailure

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

KERNEL = "[kernel]"
_RANKS = {ord("T"): 0, ord("W"): 1, ord("w"): 1, ord("t"): 2}  # global, weak, local; other kinds are data
_PADDING = b"__pfx_"  # names what lies in front of each function, for patching, and never runs
_NAME_COLUMN, _KIND_COLUMN = 19, 17  # behind 16 hexadecimal digits and a blank; kind and a blank
_PIECE_BYTES = 1 << 18
_MAX_FUNCTION_BYTES = 1 << 20  # kallsyms has no sizes; real functions have at most tens of kilobytes
_MAX_TEXT_BYTES = 1 << 30  # the kernel's own part of the address space, on all architectures
_FIRST_PAUSE_NS, _LAST_PAUSE_NS = 60_000_000_000, 3_600_000_000_000


class KernelSymbols:
    """Functions sorted by address: 12 bytes each, and their names in one block of text.

    Locations of the kernel count from its first function (``_stext``), those of modules and BPF programs are known by
    name alone: where they were put at this boot is neither the same on two hosts nor anyone's business. Where the
    kernel hides addresses (``kptr_restrict``, no CAP_SYSLOG), every location is the one frame ``[kernel]``.

    Attributes:
        failures: addresses without a name, by reason.
    """

    def __init__(
        self, kallsyms: Path = Path("/proc/kallsyms"), clock_ns: Callable[[], int] = time.monotonic_ns
    ) -> None:
        """Read the table: 0.15 s of CPU time for 120,000 symbols.

        Args:
            kallsyms: the file.
            clock_ns: a clock that never goes back; says when to look for modules and programs loaded since.
        """
        self.failures = FailureCounts()
        self._kallsyms, self._clock_ns = kallsyms, clock_ns
        self._pause_ns = _FIRST_PAUSE_NS
        self._addresses: NDArray[np.uint64] = np.empty(0, np.uint64)
        self._begins: NDArray[np.uint32] = np.empty(0, np.uint32)
        self._names, self._base = b"", 0
        self._read()

    def __len__(self) -> int:
        return len(self._addresses)

    @property
    def is_visible(self) -> bool:
        """Whether the kernel shows its addresses."""
        return len(self) > 0 and int(self._addresses[-1]) > 0

    @property
    def held_bytes(self) -> int:
        """Memory of the table."""
        return self._addresses.nbytes + self._begins.nbytes + len(self._names)

    def location(self, address: int) -> Location:
        """The function around an address, with its module as mapping (``[xfs]``, ``[bpf]``, else ``[kernel]``)."""
        if not self.is_visible:
            self.failures.note(SymbolFailure.KERNEL_HIDDEN)
            return _named(KERNEL)
        found = self._find(address)
        if (found is None or found[1]) and self._clock_ns() >= self._look_ns:
            self._read_again()
            found = self._find(address)
        if found is not None:
            name, module, start = found
            lines = (Line(name),)
            return Location(Mapping(module or KERNEL), 0 if module else start - self._base, FrameKind.KERNEL, lines)
        self.failures.note(SymbolFailure.KERNEL_UNKNOWN)
        if 0 <= address - self._base < _MAX_TEXT_BYTES:
            return Location(Mapping(KERNEL), address - self._base, FrameKind.KERNEL)
        return _named(KERNEL)

    def _find(self, address: int) -> tuple[str, str, int] | None:
        """Name, module (empty for the kernel itself) and start of the function around an address."""
        end = int(np.searchsorted(self._addresses, np.uint64(address), side="right"))
        start = int(self._addresses[end - 1]) if end else 0
        if not end or address - start >= _MAX_FUNCTION_BYTES:
            return None
        first = int(np.searchsorted(self._addresses, np.uint64(start)))
        entries = [self._entry(row) for row in range(first, end)]
        text = min(entries, key=lambda entry: (_RANKS[entry[0]], len(entry), entry))[1:]
        name, _, module = text.decode("utf-8", "replace").partition("\t")
        return name, module, start

    def _entry(self, row: int) -> bytes:
        """A symbol's kind, name and, behind a tab, module."""
        begin = int(self._begins[row])
        return self._names[begin : self._names.index(b"\n", begin)]

    def _read_again(self) -> None:
        """Modules and BPF programs come and go; looked for ever more rarely while they do not."""
        before = self._addresses
        self._read()
        is_same = np.array_equal(before, self._addresses)
        self._pause_ns = min(2 * self._pause_ns, _LAST_PAUSE_NS) if is_same else _FIRST_PAUSE_NS

    def _read(self) -> None:
        addresses, begins, names = array("Q"), array("I"), bytearray()
        rest = b""
        try:
            with self._kallsyms.open("rb", buffering=0) as file:
                while piece := file.read(_PIECE_BYTES):
                    *lines, rest = (rest + piece).split(b"\n")
                    for line in lines:
                        self._take(line, addresses, begins, names)
        except OSError:
            addresses, begins = array("Q"), array("I")  # no kallsyms here: nothing is visible
        all_addresses = np.array(addresses, dtype=np.uint64)
        order = np.argsort(all_addresses, kind="stable")
        self._addresses, self._begins = all_addresses[order], np.array(begins, dtype=np.uint32)[order]
        self._names = bytes(names)
        self._look_ns = self._clock_ns() + self._pause_ns

    def _take(self, line: bytes, addresses: array[int], begins: array[int], names: bytearray) -> None:
        if line[_KIND_COLUMN : _KIND_COLUMN + 1] not in b"TtWw" or line.startswith(_PADDING, _NAME_COLUMN):
            return
        address = int(line[: _KIND_COLUMN - 1], 16)
        if line.endswith(b" _stext"):
            self._base = address
        addresses.append(address)
        begins.append(len(names))
        names += line[_KIND_COLUMN : _KIND_COLUMN + 1] + line[_NAME_COLUMN:] + b"\n"


def _named(name: str) -> Location:
    return Location(Mapping(name), 0, FrameKind.KERNEL, (Line(name),))
