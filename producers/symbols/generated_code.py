"""Names of generated code, process by process, from the perf maps that some of them write."""

from __future__ import annotations

import os
import stat
from collections import OrderedDict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

from producers.symbols.failures import FailureCounts, SymbolFailure
from producers.symbols.jit_names import JitName, jit_name
from producers.symbols.perf_map import MAX_STEP_BYTES, MAX_TAIL_BYTES, PerfMap

if TYPE_CHECKING:
    from collections.abc import Callable

MAX_PROCESSES = 256
MAX_LINES = 400_000
"""Of all processes, 8 MB; the maps of those asked for least recently go first."""
_FIRST_PAUSE_NS, _LAST_PAUSE_NS = 1_000_000_000, 30_000_000_000
_SETTLED_NS = 60_000_000_000
_IDLE_NS = 120_000_000_000
_MAX_NAMES = 10_000  # of one process, 100 bytes each
_MAX_MAPS_BYTES = 1 << 20


class ProcessKey(NamedTuple):
    """A process between two execs.

    Attributes:
        tgid: the process.
        space: a number that changes when it execs, and when its id is used again.
    """

    tgid: int
    space: int


@dataclass(slots=True)
class _Process:
    """A process that runs generated code; its perf map is looked at ever more rarely.

    Attributes:
        since_ns: when it was first asked for; used_ns: when last; look_ns: when to look again.
        names: by address, until the map changes.
    """

    since_ns: int
    used_ns: int
    look_ns: int
    pause_ns: int
    is_java: bool
    map: PerfMap | None = None
    names: dict[int, JitName | None] = field(default_factory=dict)
    quick_looks_count: int = MAX_TAIL_BYTES // MAX_STEP_BYTES
    """Left, of those that take in a long file that was there already: one a drain."""


class GeneratedCode:
    """Perf maps of the processes that were asked for."""

    def __init__(self, failures: FailureCounts, proc: str, clock_ns: Callable[[], int]) -> None:
        """Nothing is read yet.

        Args:
            failures: counts lines and files that cannot be used.
            proc: where procfs is.
            clock_ns: a clock that never goes back.
        """
        self._failures, self._proc, self._clock_ns = failures, proc, clock_ns
        self._processes: OrderedDict[ProcessKey, _Process] = OrderedDict()

    def name(self, key: ProcessKey, address: int) -> tuple[JitName | None, bool]:
        """What is known of the code at an address of a process, and whether that stays so.

        Generated code moves, so nothing stays in a process with a perf map. Without one after ``_SETTLED_NS``, it is
        taken to write none.
        """
        now = self._clock_ns()
        process = self._processes.get(key)
        if process is None:
            pause_ns, is_java = _FIRST_PAUSE_NS, self._is_java(key.tgid)
            process = self._processes[key] = _Process(now, now, now + pause_ns, pause_ns, is_java)
            self._look(key.tgid, process)
            self._make_room(process)
        self._processes.move_to_end(key)
        process.used_ns = now
        if process.map is None:
            return None, now - process.since_ns >= _SETTLED_NS
        if address not in process.names:
            if len(process.names) >= _MAX_NAMES:
                process.names.clear()
            text = process.map.name(address)
            process.names[address] = jit_name(text, is_java=process.is_java) if text else None
        return process.names[address], False

    def look_again(self) -> None:
        """Take in what perf maps have grown by, where a look is due; let go of processes not asked for lately."""
        now = self._clock_ns()
        for key in [key for key, process in self._processes.items() if now - process.used_ns >= _IDLE_NS]:
            del self._processes[key]
        for key, process in self._processes.items():
            if now < process.look_ns:
                continue
            if self._look(key.tgid, process):
                process.names.clear()
            if process.map is not None and process.map.has_more and process.quick_looks_count:
                process.quick_looks_count -= 1
                continue
            process.pause_ns = min(2 * process.pause_ns, _LAST_PAUSE_NS)
            process.look_ns = now + process.pause_ns

    def _look(self, tgid: int, process: _Process) -> bool:
        descriptor = self._open(tgid)
        if descriptor is None:
            return False  # none, or the process has gone: what was read of it stays
        kept = process.map
        if kept is not None and not kept.was_cut and _device_and_inode(descriptor) == kept.device_and_inode:
            os.close(descriptor)
            return kept.read_more()
        process.map = PerfMap(descriptor, self._failures)
        process.map.read_more()
        return True

    def _open(self, tgid: int) -> int | None:
        """The perf map of a process: in its own root, and named after its id in its own namespace."""
        status = self._status(tgid)
        if "NSpid" not in status or "Uid" not in status:
            return None
        root, own_tgid = f"{self._proc}/{tgid}/root", status["NSpid"].split()[-1]
        path = f"{root}/tmp/perf-{own_tgid}.map"  # noqa: S108 - where the runtimes write it; what is there is checked
        try:
            descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_NOCTTY)
        except OSError:
            return None
        found = os.fstat(descriptor)
        # /tmp belongs to all: whoever may not change the process may not name its code.
        if stat.S_ISREG(found.st_mode) and str(found.st_uid) in {"0", *status["Uid"].split()}:
            return descriptor
        os.close(descriptor)
        self._failures.note(SymbolFailure.PERF_MAP_REFUSED)
        return None

    def _status(self, tgid: int) -> dict[str, str]:
        try:
            with open(f"{self._proc}/{tgid}/status", errors="replace") as lines:  # noqa: PTH123 - once per process
                return {key: value for key, _, value in (line.partition(":") for line in lines)}
        except OSError:
            return {}

    def _is_java(self, tgid: int) -> bool:
        try:
            with open(f"{self._proc}/{tgid}/maps", "rb") as maps:  # noqa: PTH123 - once per process
                return b"/libjvm.so" in maps.read(_MAX_MAPS_BYTES)
        except OSError:
            return False

    def _make_room(self, newest: _Process) -> None:
        def lines() -> int:
            return sum(len(each.map) for each in self._processes.values() if each.map is not None)

        while len(self._processes) > MAX_PROCESSES or lines() > MAX_LINES:
            key, oldest = next(iter(self._processes.items()))
            if oldest is newest:
                return
            del self._processes[key]


def _device_and_inode(descriptor: int) -> tuple[int, int]:
    found = os.fstat(descriptor)
    return found.st_dev, found.st_ino
