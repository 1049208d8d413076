"""Symbol tables that were taken out of an image: separate files by build id or debug link, or compressed inside it."""

from __future__ import annotations

import lzma
import os
import zlib
from typing import TYPE_CHECKING

from producers.symbols.elf import SHT_SYMTAB, ElfLayout, read_layout
from producers.symbols.failures import ImageError, SymbolFailure
from producers.symbols.source import FileSource, MemorySource, open_regular

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from producers.symbols.failures import FailureCounts
    from producers.symbols.source import ByteSource

_DEBUG_FOLDER = "/usr/lib/debug"
_MAX_LINK_BYTES = 4_096
_CRC_PIECE_BYTES = 1 << 20
_MAX_CRC_BYTES = 256 << 20  # 0.2 s; files with a build id need no checksum
_MAX_COMPRESSED_BYTES = 4 << 20
_MAX_UNPACKED_BYTES = 8 << 20  # Fedora's largest are about 2 MB
_UNPACKER_BYTES = 16 << 20  # xz -6, the default, needs 9 MB


def separate_debug_file(
    source: ByteSource, layout: ElfLayout, path: str, roots: Sequence[str], failures: FailureCounts
) -> tuple[FileSource, ElfLayout] | None:
    """The file that holds the symbol table of an image.

    Args:
        source: the image.
        layout: of the image.
        path: of the image as its process sees it; absolute.
        roots: where to look, in this order: the process's root, then the host's (the empty string).
        failures: counts files of another build, and broken ones.
    """
    link, checksum = _debug_link(source, layout)
    for root in roots:
        for candidate in _candidates(layout.build_id, link, path):
            try:
                debug = FileSource(open_regular(root + candidate))
            except OSError:
                continue
            try:
                found = read_layout(debug)
                if not _belongs(debug, found, layout, checksum):
                    failures.note(SymbolFailure.DEBUG_MISMATCH)
                elif found.first_of_type(SHT_SYMTAB) is not None:
                    return debug, found
            except ImageError as error:
                failures.note(error.failure)
            debug.close()
    return None


def _debug_link(source: ByteSource, layout: ElfLayout) -> tuple[str, int | None]:
    """Name and CRC-32 in ``.gnu_debuglink``; an empty name when there is none, or one that leaves the folder."""
    section = layout.section(".gnu_debuglink")
    if section is None:
        return "", None
    content = source.read_up_to(section.offset, min(section.size, _MAX_LINK_BYTES))
    name, end, _ = content.partition(b"\0")
    at = len(name) + 4 & ~3
    if not end or not name or b"/" in name or name in {b".", b".."} or at + 4 > len(content):
        return "", None
    return os.fsdecode(name), int.from_bytes(content[at : at + 4], "little")


def _candidates(build_id: str, link: str, path: str) -> Iterator[str]:
    """Where gdb looks too: by build id, then by link beside the image, in ``.debug`` there, and below the folder."""
    if len(build_id) > 2:
        yield f"{_DEBUG_FOLDER}/.build-id/{build_id[:2]}/{build_id[2:]}.debug"
    if link and path.startswith("/"):
        folder = os.path.dirname(path)  # noqa: PTH120 - a path of another mount namespace, which is text to us
        for place in (folder, f"{folder}/.debug", f"{_DEBUG_FOLDER}{folder}"):
            if f"{place}/{link}" != path:
                yield f"{place}/{link}"


def _belongs(debug: FileSource, found: ElfLayout, layout: ElfLayout, checksum: int | None) -> bool:
    """Whether a debug file is of the same build: by build id where the image has one, else by the link's CRC."""
    if found.is_64 != layout.is_64:
        return False
    if layout.build_id:
        return found.build_id == layout.build_id
    if checksum is None or debug.size_bytes > _MAX_CRC_BYTES:
        return False
    actual = 0
    for offset in range(0, debug.size_bytes, _CRC_PIECE_BYTES):
        actual = zlib.crc32(debug.read_up_to(offset, _CRC_PIECE_BYTES), actual)
    return actual == checksum


def embedded_debug_data(source: ByteSource, layout: ElfLayout) -> tuple[MemorySource, ElfLayout] | None:
    """The small ELF file, compressed by xz, that some distributions put into ``.gnu_debugdata``.

    Raises:
        ImageError: it is broken, or larger than our limits.
    """
    section = layout.section(".gnu_debugdata")
    if section is None:
        return None
    if section.size > _MAX_COMPRESSED_BYTES:
        raise ImageError(SymbolFailure.TOO_LARGE, f"{section.size} bytes of compressed symbols")
    try:
        unpacker = lzma.LZMADecompressor(lzma.FORMAT_XZ, _UNPACKER_BYTES)
        content = unpacker.decompress(source.read(section.offset, section.size), _MAX_UNPACKED_BYTES)
    except lzma.LZMAError as error:
        raise ImageError(SymbolFailure.BAD_DEBUG_DATA, f"compressed symbols: {error}") from error
    if not unpacker.eof:
        raise ImageError(SymbolFailure.BAD_DEBUG_DATA, "compressed symbols end early or exceed our limit")
    memory = MemorySource(content)
    return memory, read_layout(memory)
