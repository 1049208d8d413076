"""The mixed load under which the agent is measured: many languages at once, all CPUs busy, processes that come and go.

Each part is a service of its own (``OTEL_SERVICE_NAME=load-…``). Parts whose language is missing here are left out, and
said: figures of two machines compare only when the same parts ran.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Sequence

WORKLOADS = Path(__file__).parent / "workloads"
RESTLESS_PARTS = ("compiler", "short-lived")
"""Those that start processes all the time; the others are services as they run for days."""
_WITH_FRAME_POINTERS = ("-fno-omit-frame-pointer", "-fno-optimize-sibling-calls")
_STOP_GRACE_S = 5
_A_DAY_S = "86400"  # parts end when they are told to


@dataclass(frozen=True, slots=True)
class Programs:
    """What :func:`build` made."""

    known: Path
    known_bare: Path
    mixed_cpp: Path | None
    folder: Path


def build(folder: Path) -> Programs:
    """Compile the workloads into ``folder``: ``known`` with frame pointers, ``known_bare`` without.

    Raises:
        subprocess.CalledProcessError: there is a compiler, and it refuses.
        FileNotFoundError: there is no C compiler.
    """
    known, bare, cpp = folder / "known", folder / "known_bare", folder / "mixed_cpp"
    source = str(WORKLOADS / "known.c")
    subprocess.run(["gcc", "-O2", *_WITH_FRAME_POINTERS, "-o", known, source], check=True)
    subprocess.run(["gcc", "-O2", "-fomit-frame-pointer", "-o", bare, source], check=True)
    if shutil.which("g++"):
        subprocess.run(["g++", "-O2", *_WITH_FRAME_POINTERS, "-o", cpp, WORKLOADS / "mixed.cpp"], check=True)
    if shutil.which("javac"):
        subprocess.run(["javac", "-d", folder, WORKLOADS / "Mixed.java"], check=True)
    return Programs(known, bare, cpp if cpp.exists() else None, folder)


def _commands(programs: Programs) -> dict[str, Sequence[str] | None]:
    """Command of each part; None where its language is missing."""
    node, known, folder = shutil.which("node"), str(programs.known), programs.folder
    has_java = (folder / "Mixed.class").exists() and shutil.which("java")
    compile_again = f"while :; do gcc -O2 -c -o {folder}/compiled.o {WORKLOADS}/known.c; done"
    short_lived = f"while :; do {known} once 10 >/dev/null; sleep 0.05; done"
    return {
        "c-deep": [known, "spin", "40", _A_DAY_S],
        "c-shallow": [known, "spin", "6", _A_DAY_S],
        "c-kernel": [known, "kernel", "25", _A_DAY_S],
        "c-bare": [str(programs.known_bare), "spin", "25", _A_DAY_S],
        "c-naps": [known, "bursts", "1000000", "3", "11"],
        "cpp": [str(programs.mixed_cpp), _A_DAY_S] if programs.mixed_cpp else None,
        "python": [sys.executable, str(WORKLOADS / "mixed.py"), _A_DAY_S],
        "node": [node, str(WORKLOADS / "mixed.js"), _A_DAY_S] if node else None,
        "java": ["java", "-Xmx128m", "-cp", str(folder), "Mixed", _A_DAY_S] if has_java else None,
        "compiler": ["sh", "-c", compile_again],
        "short-lived": ["sh", "-c", short_lived],
    }


class Load:
    """The mixed load; runs between ``with`` and the end of its block."""

    def __init__(self, programs: Programs, *, without: Collection[str] = ()) -> None:
        """Nothing runs yet. Parts ``without`` are left out."""
        commands = {name: command for name, command in _commands(programs).items() if name not in without}
        self.missing = tuple(name for name, command in commands.items() if command is None)
        self._commands = {name: command for name, command in commands.items() if command is not None}
        self._running: list[subprocess.Popen[bytes]] = []

    @property
    def parts(self) -> tuple[str, ...]:
        """Names of the parts that run; their services are ``load-NAME``."""
        return tuple(self._commands)

    def __enter__(self) -> Self:
        """Start all parts, each in a session of its own that dies with it."""
        for name, command in self._commands.items():
            self._running.append(start(f"load-{name}", command))
        return self

    def __exit__(self, *_: object) -> None:
        """End all parts and what they started."""
        for process in self._running:
            end(process)
        self._running.clear()


def start(service: str, command: Sequence[str], output: int = subprocess.DEVNULL) -> subprocess.Popen[bytes]:
    """Start a program under a service name, in a session of its own; it dies with the thread that called this."""
    environment = {**os.environ, "OTEL_SERVICE_NAME": service}
    return subprocess.Popen(
        ["setpriv", "--pdeathsig", "KILL", "--", *command],
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=output,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )


def end(process: subprocess.Popen[bytes]) -> None:
    """End a program of :func:`start` with everything in its session."""
    if process.poll() is None or _group_lives(process.pid):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait(_STOP_GRACE_S)


def _group_lives(group: int) -> bool:
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return False
    return True


def run_known(service: str, command: Sequence[str], meanwhile: Callable[[], object] = lambda: None) -> dict[str, float]:
    """Run ``known`` to its end, calling ``meanwhile`` once a second; what it says that it did."""
    process = start(service, command, subprocess.PIPE)
    while True:
        try:
            output, _ = process.communicate(timeout=1)
        except subprocess.TimeoutExpired:
            meanwhile()
            continue
        did: dict[str, float] = json.loads(output.splitlines()[-1])
        return did
