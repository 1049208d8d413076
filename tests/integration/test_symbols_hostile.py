"""Files made to hurt: whatever bytes a container maps, the agent keeps its memory and its time."""

import os
import random
import resource
import struct
import time
import tracemalloc
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from producers.symbols.demangle import MAX_NAME_CHARACTERS, demangled
from producers.symbols.elf import read_layout
from producers.symbols.failures import ImageError
from producers.symbols.image import Image
from producers.symbols.images import Images
from producers.symbols.source import MemorySource
from tests.support.built_elf import C_SOURCE, TOOLS, compiled, need, run

SEED = 20_240_607
MUTATIONS = 500
ADDRESSES = (0, 0x1000, 0x1020, 0x1139, 0x401136, 1 << 32, (1 << 64) - 1)
LIMIT_BYTES = 24 << 20
LIMIT_SECONDS = 3.0


def ask(content: bytes, path: str = "") -> int:
    """Do everything that is done with a mapped file; how many functions it has."""
    images = Images()
    source = MemorySource(content)
    try:
        layout = read_layout(source)
    except ImageError:
        return 0
    image = Image(source, layout, images, images.failures)
    image.path, image.roots = path, ()
    for address in (*ADDRESSES, *(s.address for s in layout.sections[:64])):
        image.address_of(address)
        found = image.function(address)
        assert found is None or found[0].encode("utf-8"), "a name is valid text"
    return image.function_count


@contextmanager
def bounded() -> Iterator[None]:
    """Little memory and little CPU time; both far above what is needed, and far below what hurts."""
    tracemalloc.start()
    begin = time.process_time()
    try:
        yield
        spent, peak = time.process_time() - begin, tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < LIMIT_BYTES
    assert spent < LIMIT_SECONDS


@pytest.fixture(scope="module", params=[["-s"], ["-shared", "-fPIC"], ["-pie", "-fPIE"]], ids=str)
def small(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> bytes:
    need(*TOOLS)
    flags: list[str] = request.param
    path = compiled(tmp_path_factory.mktemp("small"), "small", C_SOURCE, *flags)
    if "-shared" in flags:
        run("objcopy", f"--add-section=.gnu_debugdata={path}", path)
    return path.read_bytes()


def interesting(content: bytes) -> list[int]:
    """Offsets where a change matters most: headers, sections' and segments' tables, notes, relocations, symbols."""
    layout = read_layout(MemorySource(content))
    (section_table,) = struct.unpack_from("<Q", content, 40)
    places = [*range(64), *range(64, 64 + 56 * 14), *range(section_table, min(len(content), section_table + 64 * 40))]
    for section in layout.sections:
        if section.name in {".dynsym", ".symtab", ".rela.plt", ".plt", ".gnu_debuglink", ".gnu_debugdata"}:
            places += range(section.offset, section.offset + min(section.size, 512))
    return [place for place in places if place < len(content)]


def test_mutations(small: bytes) -> None:
    chooser = random.Random(SEED)
    places = interesting(small)
    assert ask(small) >= 0
    begin = time.process_time()
    for _ in range(MUTATIONS):
        content = bytearray(small)
        for _ in range(chooser.choice((1, 1, 2, 8))):
            at = chooser.choice(places)
            width = chooser.choice((1, 2, 4, 8))
            value = chooser.choice(
                (0, 1, 0xFF, 0x7FFF_FFFF, 0xFFFF_FFFF, (1 << 63) - 1, (1 << 64) - 1, chooser.getrandbits(64))
            )
            content[at : at + width] = value.to_bytes(8, "little")[:width]
        ask(bytes(content))
    assert time.process_time() - begin < 30.0


def test_truncations(small: bytes) -> None:
    chooser = random.Random(SEED)
    for length in [*range(200), *(chooser.randrange(len(small)) for _ in range(200))]:
        ask(small[:length])


def header(**changes: int) -> bytes:
    """An ELF header of 64 bits; fields by name."""
    fields = {"phoff": 64, "shoff": 0, "phnum": 0, "shnum": 0, "shstrndx": 0} | changes
    return b"\x7fELF\x02\x01\x01".ljust(16, b"\0") + struct.pack(
        "<HHIQQQIHHHHHH", 2, 62, 1, 0, fields["phoff"], fields["shoff"], 0, 64, 56, fields["phnum"], 64,
        fields["shnum"], fields["shstrndx"],
    )  # fmt: skip


def section(kind: int, offset: int, size: int, link: int = 0, name: int = 0) -> bytes:
    return struct.pack("<IIQQQQIIQQ", name, kind, 4, 0, offset, size, link, 0, 0, 24)


def code(size: int = 1 << 40) -> bytes:
    """A program header of executable memory."""
    return struct.pack("<IIQQQQQQ", 1, 5, 0, 0, 0, size, size, 0)


def with_sections(*sections: bytes, body: bytes = b"") -> bytes:
    """A file of one segment of code, the sections, and a body at 64 KiB."""
    content = header(phnum=1, shoff=4096, shnum=len(sections)) + code()
    return content.ljust(4096, b"\0") + b"".join(sections).ljust((1 << 16) - 4096, b"\0") + body


def many_symbols(count: int) -> bytes:
    symbols = b"".join(struct.pack("<IBBHQQ", 1, 2, 0, 1, i // 100, 1 << 60) for i in range(count))
    at = 1 << 16
    return with_sections(
        section(0, 0, 0),
        section(2, at, len(symbols), 2),
        section(3, at + len(symbols), 100),
        body=symbols + b"\0a" * 50,
    )


GIANTS: dict[str, Callable[[], bytes]] = {
    "65,535 segments": lambda: header(phnum=65_535) + bytes(65_535 * 56),
    "65,535 notes that share 1 MB": lambda: (
        header(phnum=1000) + struct.pack("<IIQQQQQQ", 4, 4, 64, 0, 0, 1 << 20, 0, 0) * 1000 + bytes(1 << 20)
    ),
    "notes of 2^62 bytes": lambda: header(phnum=1) + struct.pack("<IIQQQQQQ", 4, 4, 0, 0, 0, 1 << 62, 0, 0),
    "a section count of 2^60": lambda: header(shoff=64) + section(0, 0, 1 << 60),
    "4,096 sections whose names never end": lambda: (
        header(shoff=64, shnum=4_096) + section(3, 64, 1 << 40, 0, 5) * 4_096 + b"n" * (1 << 20)
    ),
    "2^58 symbols": lambda: with_sections(section(0, 0, 0), section(2, 1 << 16, 24 << 58, 2), section(3, 0, 10)),
    "symbols behind the end": lambda: with_sections(section(0, 0, 0), section(2, 1 << 62, 2400, 2), section(3, 0, 10)),
    "a string table that is none": lambda: with_sections(section(0, 0, 0), section(2, 0, 2400, 99)),
    "200,000 symbols that cover everything": lambda: many_symbols(200_000),
    "one name of 60 MB": lambda: with_sections(
        section(0, 0, 0), section(2, 1 << 16, 24, 2), section(3, 1 << 16, 60 << 20),
        body=struct.pack("<IBBHQQ", 30, 2, 0, 1, 0, 1 << 60) + b"x" * (60 << 20),
    ),
}  # fmt: skip


@pytest.mark.parametrize("made", GIANTS.values(), ids=GIANTS.keys())
def test_giant_counts(made: Callable[[], bytes]) -> None:
    content = made()
    with bounded():
        ask(content)


def doubling(levels: int) -> bytes:
    """A template argument that is made of two of the one before."""
    digits = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ"
    name = "_Z1f1AIiiE"
    for level in range(1, levels + 1):
        number = "" if level == 0 else digits[level - 1]
        name += f"S_IS{number}_S{number}_E"
    return name.encode()


def pack(depth: int, width: int) -> bytes:
    pattern = "T_"
    for _ in range(depth):
        pattern = f"T_Dp1AI{pattern}E"
    return f"_Z1fIJ{'i' * width}EEvDp1AI{pattern}E".encode()


BOMBS = {
    "doubling": doubling(30),
    "pack of packs": pack(6, 40),
    "conversions parsed twice": b"_ZN1Acv" + b"T_I" * 40 + b"i" + b"E" * 40 + b"Ev",
    "16 kB of pointers": b"_Z1f" + b"P" * 16_000 + b"i",
    "16 kB of references": b"_Z1f1AIiE" + b"S_" * 8_000,
    "rust back references": b"_RIC1f" + b"TB3_B3_E" * 900 + b"E",
    "rust nesting": b"_R" + b"Nv" * 4_000 + b"C1a1b",
    "rust lifetimes": b"_RIC1aFG" + b"z" * 11 + b"_uE",
}


@pytest.mark.parametrize("name", BOMBS.values(), ids=BOMBS.keys())
def test_names_that_blow_up(name: bytes) -> None:
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with bounded():
        assert 0 < len(demangled(name)) <= MAX_NAME_CHARACTERS
    # What the C++ runtime takes is not traced, but is resident, in kB.
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < LIMIT_BYTES // 1024


def test_random_names_take_little_time() -> None:
    chooser = random.Random(SEED)
    pieces = b"_Z _R N I E S_ S0_ S1_ T_ T0_ Dp J 1A 3foo i v cv P K R X L F B_ B2_ C M Z St Ss 17h".split()
    begin = time.process_time()
    for _ in range(20_000):
        start = chooser.choice((b"_Z", b"_ZN", b"_R", b"_RNv"))
        demangled(start + b"".join(chooser.choices(pieces, k=chooser.randrange(1, 120))))
    assert time.process_time() - begin < 20.0


def test_what_is_no_plain_file_is_not_opened(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    for path in (str(tmp_path / "fifo"), str(tmp_path), "/dev/zero", "/dev/null", str(tmp_path / "absent")):
        assert Images().open(path) is None
