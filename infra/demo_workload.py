"""The demonstration's small services: one C program, built here with frame pointers, that works in three ways."""

import shutil
import subprocess
from pathlib import Path

from flamebus.errors import SetupError

SERVICES = ("checkout", "search", "archive")
_SOURCE = Path(__file__).with_suffix(".c")
# Optimised code drops the frames of functions that call nothing, and with them their callers from the stacks.
_FLAGS = ("-O0", "-fno-omit-frame-pointer")


def build(folder: Path) -> Path | None:
    """Compile the workload into ``folder``; ``None`` where there is no C compiler.

    Raises:
        SetupError: the compiler refuses.
    """
    compiler = shutil.which("cc") or shutil.which("gcc")
    if compiler is None:
        return None
    program = folder / "demo_workload"
    command = [compiler, *_FLAGS, "-o", str(program), str(_SOURCE)]
    # A session of its own: Ctrl-C is for us to note, not for the compiler to fail on.
    done = subprocess.run(command, capture_output=True, text=True, check=False, start_new_session=True)
    if done.returncode != 0:
        raise SetupError(f"{compiler} cannot build the demonstration's workload:\n{done.stderr.strip()}")
    return program
