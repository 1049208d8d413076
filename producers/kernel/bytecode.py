"""Where a program's bytecode comes from: shipped with the wheel, else the user's cache, else compiled now."""

from __future__ import annotations

import base64
import hashlib
import json
import os
import platform
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import bpf
from flamebus.errors import KernelUnavailableError
from producers import _bcc

if TYPE_CHECKING:
    from collections.abc import Mapping


@dataclass(frozen=True, slots=True)
class Bytecode:
    """A compiled C file.

    Attributes:
        source_hash: SHA-256 of its text, our headers and the architecture.
        programs: instructions of each program by name, maps still by number.
    """

    source_hash: str
    programs: Mapping[str, bytes]

    def to_json(self) -> str:
        """As files hold it."""
        code = {name: base64.b64encode(each).decode() for name, each in self.programs.items()}
        return json.dumps({"source_hash": self.source_hash, "programs": code})

    @classmethod
    def from_json(cls, text: str) -> Bytecode:
        """Read what :meth:`to_json` wrote.

        Raises:
            ValueError: it did not.
        """
        try:
            held = json.loads(text)
            programs = {str(name): base64.b64decode(code) for name, code in held["programs"].items()}
            return cls(source_hash=str(held["source_hash"]), programs=programs)
        except (KeyError, TypeError, AttributeError) as error:
            raise ValueError(f"not bytecode: {error}") from error


def source_hash(name: str) -> str:
    """What a change of makes stored bytecode stale. The kernel is not among it: the code reads none of its headers."""
    parts = (bpf.source(name), bpf.source("freestanding.h"), platform.machine())
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()


def cache_directory() -> Path:
    """The user's cache folder: ``$XDG_CACHE_HOME/flamebus/bytecode``, by default under ``~/.cache``."""
    base = os.environ.get("XDG_CACHE_HOME") or Path("~/.cache").expanduser()
    return Path(base, "flamebus", "bytecode")


def compile_program(name: str) -> Bytecode:
    """Compile with bcc in a child process: 0.3 s, no privileges needed.

    Raises:
        KernelUnavailableError: no compiler here, or the program does not compile.
    """
    if _bcc.bcc_version() is None:
        raise KernelUnavailableError(
            f"no bytecode of {name!r} is shipped and bcc, which compiles it, is not installed: "
            "apt-get install python3-bpfcc (kernel headers are not needed)"
        )
    try:
        programs = _bcc.run_compiler(bpf.source(name), bpf.source("freestanding.h"))
    except (RuntimeError, OSError, subprocess.TimeoutExpired) as error:
        raise KernelUnavailableError(f"the BPF program {name!r} does not compile here: {error}") from error
    return Bytecode(source_hash=source_hash(name), programs=programs)


def _read(path: Path, wanted: str) -> Bytecode | None:
    """The bytecode at ``path`` if it is whole and of the wanted source; a damaged file counts as absent."""
    try:
        held = Bytecode.from_json(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return held if held.source_hash == wanted else None


def load_bytecode(name: str, cache: Path | None = None, shipped: Path = bpf.BYTECODE_DIRECTORY) -> Bytecode:
    """The bytecode of ``bpf/NAME.bpf.c`` for this machine.

    Args:
        name: stem of the program.
        cache: folder for what is compiled here; by default the user's. One that cannot be written is done without.
        shipped: folder of what was compiled when the wheel or image was built.

    Raises:
        KernelUnavailableError: it is neither shipped nor cached, and cannot be compiled.
    """
    wanted = source_hash(name)
    compiler = _bcc.bcc_version() or "none"
    cached = (cache or cache_directory()) / f"{name}-{platform.machine()}-{compiler}-{wanted[:16]}.json"
    found = _read(shipped / f"{name}-{platform.machine()}.json", wanted) or _read(cached, wanted)
    if found is None:
        found = compile_program(name)
        _store(cached, found)
    return found


def _store(path: Path, bytecode: Bytecode) -> None:
    """Write whole or not at all."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile("w", dir=path.parent, delete=False, encoding="utf-8") as file:
            file.write(bytecode.to_json())
        Path(file.name).replace(path)
    except OSError:
        return  # a read-only home: the next start compiles again
