"""The only importer of bcc: compiles C into bytecode, in a process of its own.

A child is needed: bcc with LLVM costs 170 MB of memory, and some C makes LLVM abort the whole process. The child makes
no maps and needs no privileges and no kernel headers: our programs name their maps by number
(``bpf/records.h``) and read no kernel structures, so bcc is given a folder of (empty) headers of ours.

Run as a program it fills ``bpf/bytecode/`` for a wheel or image: ``python -m producers._bcc --out bpf/bytecode``.
"""

from __future__ import annotations

import argparse
import base64
import json
import os
import platform
import re
import subprocess
import sys
import tempfile
from pathlib import Path

DISTRIBUTION_PACKAGES = Path("/usr/lib/python3/dist-packages")
"""Where Debian and Ubuntu put bcc; pure Python over a shared library, so any CPython can load it."""

_HEADERS = (
    "linux/kconfig.h",  # included before everything else, hence the one that holds our text
    "linux/types.h",
    "linux/version.h",
    "linux/bpf_common.h",
    "linux/log2.h",
    "asm/page.h",
    "uapi/linux/bpf.h",
    "uapi/linux/if_packet.h",
)
_COMPILE_SECONDS = 120  # 0.3 s on an idle machine


def bcc_version() -> str | None:
    """The version of the installed bcc, None when there is none. Loads nothing."""
    path = DISTRIBUTION_PACKAGES / "bcc" / "version.py"
    if not path.is_file():
        return None
    found = re.search(r"['\"](.+?)['\"]", path.read_text(encoding="utf-8"))
    return found.group(1) if found else "unknown"


def run_compiler(text: str, headers: str) -> dict[str, bytes]:
    """Compile C in a child process; returns the instructions of each of its programs by name.

    Args:
        text: the whole program, local includes already in place.
        headers: what stands in place of kernel headers (``bpf/freestanding.h``).

    Raises:
        RuntimeError: it does not compile, or the compiler crashed; the message holds the compiler's own.
    """
    with tempfile.TemporaryDirectory(prefix="flamebus-headers-") as folder:
        for name in _HEADERS:
            path = Path(folder, "include", name)
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(headers if name == _HEADERS[0] else "", encoding="utf-8")
        child = subprocess.run(
            [sys.executable, "-I", __file__, "--child"],
            input=text.encode(),
            capture_output=True,
            timeout=_COMPILE_SECONDS,
            check=False,
            # bcc changes into this folder; PATH is for its attempts to load kernel modules, which may fail.
            env={"BCC_KERNEL_SOURCE": folder, "PATH": os.environ.get("PATH", "")},
        )
    if child.returncode:
        raise RuntimeError(f"the compiler ended with {child.returncode}:\n{child.stderr.decode(errors='replace')}")
    return {name: base64.b64decode(code) for name, code in json.loads(child.stdout).items()}


def _compile_here(text: bytes) -> dict[str, str]:
    """What the child does: the only place where bcc is loaded."""
    # In front of everything: PyPI's "bcc" is a different thing altogether.
    sys.path.insert(0, str(DISTRIBUTION_PACKAGES))
    import bcc

    compiled = bcc.BPF(text=text)
    names = [
        bcc.lib.bpf_function_name(compiled.module, index) for index in range(bcc.lib.bpf_num_functions(compiled.module))
    ]
    return {name.decode(): base64.b64encode(compiled.dump_func(name)).decode() for name in names}


def _write_shipped(out: Path) -> None:
    """What a build does: compile every program of ``bpf/`` for this architecture."""
    import bpf
    from producers.kernel.bytecode import compile_program

    out.mkdir(parents=True, exist_ok=True)
    for path in sorted(Path(bpf.__file__).parent.glob("*.bpf.c")):
        name = path.name.removesuffix(".bpf.c")
        target = out / f"{name}-{platform.machine()}.json"
        target.write_text(compile_program(name).to_json(), encoding="utf-8")
        sys.stdout.write(f"{target}\n")


def main() -> None:
    """Entry point of the child and of the build step."""
    parser = argparse.ArgumentParser(description="Compile the BPF programs.")
    parser.add_argument("--child", action="store_true", help="compile standard input, print JSON (internal)")
    parser.add_argument("--out", type=Path, help="folder to write the bytecode of every program to")
    arguments = parser.parse_args()
    if arguments.child:
        sys.stdout.write(json.dumps(_compile_here(sys.stdin.buffer.read())))
    elif arguments.out:
        _write_shipped(arguments.out)
    else:
        parser.error("--out is needed")


if __name__ == "__main__":
    main()
