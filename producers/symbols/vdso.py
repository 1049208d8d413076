"""The functions that the kernel maps into every process (``clock_gettime`` and its like), read from our own memory."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from producers.symbols.elf import read_layout
from producers.symbols.failures import ImageError
from producers.symbols.image import Image
from producers.symbols.source import MemorySource

if TYPE_CHECKING:
    from producers.symbols.images import Images

VDSO = "[vdso]"
_MAX_BYTES = 1 << 20  # two or three pages


def vdso_image(images: Images, process: Path = Path("/proc/self")) -> Image | None:
    """The vdso of this process, which is that of every process with 64-bit addresses; ``None`` when there is none.

    Args:
        images: counts what fails.
        process: folder of this process in procfs.
    """
    source = MemorySource(_read(process))
    try:
        image = Image(source, read_layout(source), images, images.failures)
    except ImageError as error:
        images.failures.note(error.failure)
        return None
    image.read_tables()  # a dozen functions: not worth asking for time
    return image


def _read(process: Path) -> bytes:
    try:
        for line in (process / "maps").read_text(errors="replace").splitlines():
            if line.endswith(VDSO):
                start, limit = (int(part, 16) for part in line.split(maxsplit=1)[0].split("-"))
                with (process / "mem").open("rb", buffering=0) as memory:
                    memory.seek(start)
                    return memory.read(min(limit - start, _MAX_BYTES))
    except OSError:
        return b""  # no procfs, or one that hides memory
    return b""
