"""What ``/proc`` tells of one process while it lives. Everything may be gone at any moment: then there is no answer."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from producers.address_space import Mapped, MappedFile
from producers.cgroup import cgroup_path
from producers.identity import VARIABLES, Facts

_TICK_NS = 10**9 // os.sysconf("SC_CLK_TCK")
_KERNEL_THREAD = 0x0020_0000  # PF_KTHREAD
_MAX_ENVIRONMENT_BYTES = 1 << 20
_MAX_ARGUMENT_BYTES = 4_096
_MAX_MAPS_BYTES = 16 << 20  # 150,000 mappings; the kernel's own ceiling is 65,530 by default
_DELETED = " (deleted)"
_DENIED = b"\0"  # an environment without variables
_ESCAPED_NEWLINE = "\\012"


@dataclass(frozen=True, slots=True)
class Stat:
    """From ``/proc/PID/stat``.

    Attributes:
        parent_tgid: who started it.
        start_boot_nano: when it was made, boot clock, rounded down to ``TICK_NS``.
        threads_count: threads left, the main one included.
        is_kernel_thread: whether it has no user side.
        is_dying: whether the main thread has ended.
    """

    parent_tgid: int
    start_boot_nano: int
    threads_count: int
    is_kernel_thread: bool
    is_dying: bool


class ProcFs:
    """Reads processes; 10 to 30 µs a question.

    Attributes:
        tick_ns: resolution of start times.
    """

    tick_ns = _TICK_NS

    def __init__(self, root: Path = Path("/proc")) -> None:
        """Args: root: where procfs of the host's process namespace is."""
        self.root = str(root)

    def stat(self, tgid: int) -> Stat | None:
        """How it stands; ``None`` when it has gone."""
        text = self._read(tgid, "stat", 4_096)
        if not text:
            return None
        fields = text.rpartition(b")")[2].split()  # the name before it may hold anything
        return Stat(
            parent_tgid=int(fields[1]),
            start_boot_nano=int(fields[19]) * _TICK_NS,
            threads_count=int(fields[17]),
            is_kernel_thread=bool(int(fields[6]) & _KERNEL_THREAD),
            is_dying=fields[0] in {b"Z", b"X"},
        )

    def facts(self, tgid: int, stat: Stat, *, is_patient: bool = False) -> Facts | None:
        """Who it is, ``None`` when it is gone or going; parts that may not be read are empty.

        Memory goes before the entry does, and comes after the program: of a process that ends or execs just now,
        arguments and environment read as empty. So they do, for as long as it lives, of one that has wiped them.

        Args:
            tgid: the process.
            stat: how it stands.
            is_patient: whether it has read as empty for long enough to be taken for one that is.
        """
        command = self._text(tgid, "comm").rstrip("\n")
        if stat.is_kernel_thread:
            return Facts(command=command, is_kernel_thread=True)
        arguments = self._read(tgid, "cmdline", _MAX_ARGUMENT_BYTES).split(b"\0")
        environment = self._read(tgid, "environ", _MAX_ENVIRONMENT_BYTES, denied=_DENIED)
        if not (any(arguments) and environment) and not is_patient:
            return None
        cgroup = cgroup_path(self._text(tgid, "cgroup"))
        executable = self.executable(tgid)  # last: if it is there now, all that was read was there
        if executable is None:
            return None
        return Facts(
            command=command,
            executable=executable,
            arguments=tuple(each.decode(errors="replace") for each in arguments[:-1] or arguments[:1]),
            environment=_picked(environment),
            cgroup=cgroup,
        )

    def executable(self, tgid: int) -> str | None:
        """Path of the program in its own mount namespace; empty when it may not be seen, ``None`` when it is gone."""
        try:
            return str(Path(f"{self.root}/{tgid}/exe").readlink()).removesuffix(_DELETED)
        except PermissionError:
            return ""
        except OSError:
            return None

    def thread_name(self, tgid: int, tid: int) -> str:
        """Name of a thread, empty when it has gone."""
        return self._text(tgid, f"task/{tid}/comm").rstrip("\n")

    def mapped(self, tgid: int) -> list[Mapped]:
        """Executable mappings by address."""
        found = []
        for line in self._read(tgid, "maps", _MAX_MAPS_BYTES).splitlines():
            fields = line.split(maxsplit=5)
            if len(fields) >= 5 and b"x" in fields[1]:
                start, _, limit = fields[0].partition(b"-")
                path = os.fsdecode(fields[5]).replace(_ESCAPED_NEWLINE, "\n") if len(fields) == 6 else "//anon"
                is_deleted = path.endswith(_DELETED)
                file = MappedFile(path.removesuffix(_DELETED), int(fields[4]), is_deleted=is_deleted)
                found.append(Mapped(int(start, 16), int(limit, 16), int(fields[2], 16), file))
        return found

    def _text(self, tgid: int, name: str) -> str:
        return self._read(tgid, name, 65_536).decode(errors="replace")

    def _read(self, tgid: int, name: str, limit_bytes: int, denied: bytes = b"") -> bytes:
        """At most so many bytes; empty when it has gone, ``denied`` when it may not be read."""
        try:
            descriptor = os.open(f"{self.root}/{tgid}/{name}", os.O_RDONLY | os.O_CLOEXEC)
        except PermissionError:
            return denied
        except OSError:
            return b""
        pieces: list[bytes] = []
        try:
            while limit_bytes > 0 and (piece := os.read(descriptor, min(limit_bytes, 1 << 16))):
                pieces.append(piece)
                limit_bytes -= len(piece)
        except OSError:
            return b""  # it died while being read
        finally:
            os.close(descriptor)
        return b"".join(pieces)


def _picked(environment: bytes) -> dict[str, str]:
    """Our variables of an environment block; the first of a name counts, as for getenv."""
    found: dict[str, str] = {}
    for name in VARIABLES:
        if name not in environment:
            continue
        for variable in environment.split(b"\0"):
            if variable.startswith(name + b"="):
                found[name.decode()] = variable[len(name) + 1 :].decode(errors="replace")
                break
    return found
