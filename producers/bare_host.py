"""What ``/proc`` tells: commands, threads, mapped files, and with their symbols the functions of addresses."""

import bisect
import os
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from flamebus.frames import Line, Location, Mapping
from flamebus.profile import SERVICE_ATTRIBUTE, UNKNOWN_SERVICE, Resource
from producers.resolve import Image
from producers.symbols.images import Images
from producers.symbols.kernel import KernelSymbols

MAX_PROCESSES = 4_096
_MAX_THREADS = 4_096  # of one process; names are read again after that
_SERVICE_VARIABLE = b"OTEL_SERVICE_NAME="


@dataclass(slots=True)
class _Process:
    identity: tuple[int, str]
    image: Image
    threads: dict[int, str] = field(default_factory=dict)
    starts: list[int] = field(default_factory=list)
    mappings: list[Mapping] = field(default_factory=list)


class BareHost:
    """Reads a process when it is sampled; one that has gone by then is ``unknown_service``.

    Args:
        proc: where procfs is.
        service: overrides the service of every process when not empty.
    """

    def __init__(self, proc: Path = Path("/proc"), service: str = "") -> None:
        self._proc, self._service = proc, service
        self._processes: OrderedDict[int, _Process] = OrderedDict()
        self._next_key = 0
        self._images = Images()
        self._kernel = KernelSymbols()

    def image(self, tgid: int) -> Image:
        """The process as it is, or was when it was last seen."""
        return self._process(tgid).image

    def thread_name(self, tgid: int, tid: int) -> str:
        """Name of a thread when it was first sampled, empty when it had gone by then."""
        threads = self._process(tgid, look=False).threads
        name = threads.get(tid)
        if name is None:
            if len(threads) >= _MAX_THREADS:
                threads.clear()
            name = threads[tid] = self._text(tgid, f"task/{tid}/comm").rstrip("\n")
        return name

    def user_locations(self, image: Image, addresses: Sequence[int]) -> Sequence[Location]:
        """File and offset of each address; an address outside all files stands alone."""
        process = self._process(image.tgid, look=False)
        self._read_mappings(process)
        return [self._location(process, address) for address in addresses]

    def kernel_locations(self, addresses: Sequence[int]) -> Sequence[Location]:
        """The addresses as they are."""
        return [self._kernel.location(address) for address in addresses]

    def _process(self, tgid: int, *, look: bool = True) -> _Process:
        known = self._processes.get(tgid)
        if known is not None and not look:
            return known
        identity = self._identity(tgid)
        if known is not None and identity in {known.identity, None}:
            self._processes.move_to_end(tgid)
            return known
        self._next_key += 1
        image = Image(self._next_key, tgid, self._resource(tgid))
        process = self._processes[tgid] = _Process(identity or (0, ""), image)
        self._read_mappings(process)
        if len(self._processes) > MAX_PROCESSES:
            self._processes.popitem(last=False)
        return process

    def _identity(self, tgid: int) -> tuple[int, str] | None:
        """Start time and program: what changes when the id is used again or the process execs. None: it has gone."""
        stat = self._text(tgid, "stat")
        if not stat:
            return None
        start = int(stat.rpartition(")")[2].split()[19])
        try:
            return start, str((self._proc / str(tgid) / "exe").readlink())
        except OSError:
            return start, ""  # a kernel thread

    def _resource(self, tgid: int) -> Resource:
        command = self._text(tgid, "comm").rstrip("\n") or UNKNOWN_SERVICE
        return ((SERVICE_ATTRIBUTE, self._service or self._named(tgid) or command),)

    def _named(self, tgid: int) -> str:
        try:
            environment = (self._proc / str(tgid) / "environ").read_bytes()
        except OSError:
            return ""
        for variable in environment.split(b"\0"):
            if variable.startswith(_SERVICE_VARIABLE):
                return variable.removeprefix(_SERVICE_VARIABLE).decode(errors="replace")
        return ""

    def _text(self, tgid: int, name: str) -> str:
        try:
            return (self._proc / str(tgid) / name).read_text(errors="replace")
        except OSError:
            return ""

    def _read_mappings(self, process: _Process) -> None:
        found: list[Mapping] = []
        for line in self._text(process.image.tgid, "maps").splitlines():
            fields = line.split(maxsplit=5)
            if "x" in fields[1] and len(fields) == 6:
                start, _, limit = fields[0].partition("-")
                path = os.fsdecode(fields[5].encode()).removesuffix(" (deleted)")
                found.append(Mapping(path, "", int(start, 16), int(limit, 16), int(fields[2], 16)))
        if found:
            process.mappings, process.starts = found, [mapping.start for mapping in found]

    def _location(self, process: _Process, address: int) -> Location:
        index = bisect.bisect_right(process.starts, address) - 1
        if index < 0 or address >= process.mappings[index].limit:
            return Location(Mapping(), address)
        mapping = process.mappings[index]
        return self._resolved(process.image.tgid, mapping, address - mapping.start + mapping.offset)

    def _resolved(self, tgid: int, mapping: Mapping, file_offset: int) -> Location:
        """The function at an offset of a mapped file; its address in the file's own numbering when there is none."""
        image = self._images.open(f"{self._proc}/{tgid}/root{mapping.file}", mapping.file)
        # One mapping per file: where it lies in this process is no part of what a location is.
        file = Mapping(mapping.file, image.layout.build_id if image else "")
        if image is None:
            return Location(file, file_offset)
        address = image.address_of(file_offset)
        found = image.function(address)
        return Location(file, address) if found is None else Location(file, found[1], lines=(Line(found[0]),))
