"""BPF programs in C and the reader that hands their text to a compiler."""

import re
from pathlib import Path

_HERE = Path(__file__).parent
_INCLUDE = re.compile(r'^#include "([a-z_]+\.h)"$', re.MULTILINE)

BYTECODE_DIRECTORY = _HERE / "bytecode"
"""Where a wheel or image carries programs compiled at build time, one JSON file per program and architecture."""


def source(name: str) -> str:
    """The C text of a program or header of this folder, with its own ``#include "…"`` lines replaced by their text.

    Args:
        name: the stem of a program (``cpu`` for ``cpu.bpf.c``) or the whole name of a header (``records.h``).

    Raises:
        FileNotFoundError: no such file, or the installation is incomplete.
    """
    path = _HERE / (name if name.endswith(".h") else f"{name}.bpf.c")
    return _INCLUDE.sub(lambda match: source(match.group(1)), path.read_text(encoding="utf-8"))
