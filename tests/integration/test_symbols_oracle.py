"""Names of the programs and libraries of this machine, compared with binutils'. Not one may differ."""

import os
import random
import shutil
import subprocess
import sys
from collections import defaultdict
from pathlib import Path

import numpy as np
import pytest

from producers.symbols.demangle import demangled, is_refused
from producers.symbols.expansion import is_bounded
from producers.symbols.image import Image
from producers.symbols.images import Images
from tests.support.built_elf import need

SAMPLE = 1_000  # addresses of one file
NAMES = 10_000
DEBUG_FOLDER = Path("/usr/lib/debug/.build-id")


def files() -> list[str]:
    """Of C, C++, Rust, Go and assembly; with and without a symbol table."""
    mapped = {line.split()[-1] for line in Path("/proc/self/maps").read_text().splitlines() if "-gnu/lib" in line}
    programs = {
        str(Path(found).resolve()) for name in ("node", "go", "java", "gcc", "perf") if (found := shutil.which(name))
    }
    libraries = {str(path.resolve()) for pattern in ("libstdc++.so.6", "libcrypto.so*", "libLLVM-*.so*")
                 for path in Path("/usr/lib/x86_64-linux-gnu").glob(pattern)}  # fmt: skip
    libraries |= {str(path) for path in Path("/usr/lib/jvm").glob("*/lib/server/libjvm.so")}
    # Wheels are linked elsewhere, by other tools, and patched: some carry compressed symbol tables.
    libraries |= {str(path) for path in Path(np.__file__).parents[1].glob("numpy.libs/*.so*")}
    rust = {str(path) for path in Path.home().glob(".rustup/toolchains/stable*/lib/librustc_driver*.so")}
    return sorted(rust | mapped | programs | libraries | {os.path.realpath(sys.executable)})


class Listing:
    """What nm says of a file: names and the largest size at each address."""

    def __init__(self, path: str, *, is_debug: bool = False) -> None:
        self.names: dict[int, set[bytes]] = defaultdict(set)
        self.sizes: dict[int, int] = defaultdict(int)
        for flag in ([], ["-D"]):
            command = ["nm", "-P", "--defined-only", *flag, path]
            for line in subprocess.run(command, capture_output=True, check=False).stdout.splitlines():
                fields = line.split()
                # w and W may be data too; in a debug file, whose code is empty, nm calls code b.
                if len(fields) >= 3 and fields[1] in {
                    b"t",
                    b"T",
                    b"w",
                    b"W",
                    b"i",
                    *([b"b", b"B"] if is_debug else []),
                }:
                    address = int(fields[2], 16)
                    self.names[address].add(fields[0].partition(b"@")[0])
                    self.sizes[address] = max(self.sizes[address], int(fields[3], 16) if len(fields) > 3 else 0)
            if self.names:
                return


def wrong_and_missing(image: Image, listing: Listing, seed: int) -> tuple[list[str], list[str]]:
    chooser = random.Random(seed)
    wrong, missing = [], []
    for start in chooser.sample(sorted(listing.sizes), min(SAMPLE, len(listing.sizes))):
        size = listing.sizes[start]
        in_code = any(s.vaddr <= start < s.vaddr + s.memsz for s in image.layout.executable())
        address = start + (chooser.randrange(size) if size else 0)
        found = image.function(address)
        if found is None:
            if size and in_code:
                missing.append(f"{address:#x} {sorted(listing.names[start])}")
            continue
        function, begin = found
        covers = begin <= address and (not listing.sizes[begin] or address < begin + listing.sizes[begin])
        if not covers or function not in {demangled(name) for name in listing.names[begin]}:
            wrong.append(f"{address:#x} is {function} from {begin:#x}, nm has {sorted(listing.names[start])}")
    return wrong, missing


@pytest.mark.parametrize("path", files())
def test_names_and_extents_agree_with_nm(path: str) -> None:
    need("nm")
    image = Images(1 << 30).open(path)
    assert image is not None
    image.function(0)
    listing = Listing(path)
    if image.needs_other_file:
        identity = image.layout.build_id
        listing = Listing(str(DEBUG_FOLDER / identity[:2] / f"{identity[2:]}.debug"), is_debug=True)
    assert bool(listing.names) == bool(image.function_count)
    wrong, missing = wrong_and_missing(image, listing, seed=7)
    assert not wrong
    # What nm marks weak may be an object, which C++ puts into code when it is constant: at most a few in a thousand.
    assert len(missing) <= SAMPLE // 100, missing[:5]


@pytest.mark.parametrize("path", files())
def test_build_ids_and_segments_agree_with_pyelftools(path: str) -> None:
    from elftools.elf.elffile import ELFFile

    image = Images().open(path)
    assert image is not None
    with Path(path).open("rb") as stream:
        elf = ELFFile(stream)
        note = elf.get_section_by_name(".note.gnu.build-id")
        assert image.layout.build_id == (next(note.iter_notes())["n_desc"] if note is not None else "")
        loaded = [s for s in elf.iter_segments() if s["p_type"] == "PT_LOAD"]
        assert [(s.offset, s.vaddr, s.filesz, s.memsz) for s in image.layout.segments] == [
            (s["p_offset"], s["p_vaddr"], s["p_filesz"], s["p_memsz"]) for s in loaded
        ]
        assert [s.name for s in image.layout.sections] == [s.name for s in elf.iter_sections()]


def test_cpp_and_rust_names_agree_with_cxxfilt() -> None:
    need("c++filt", "nm")
    names = []
    for path in files():
        if Path(path).name.startswith(("libstdc++", "libjvm", "node", "libLLVM-14")) or "rust" in path:
            groups = Listing(path).names.values()
            names += [name for group in groups for name in group if name.startswith((b"_Z", b"_R"))]
    names = random.Random(3).sample(sorted(set(names)), min(NAMES, len(set(names))))
    assert len(names) > 1_000
    out = subprocess.run(
        ["c++filt", "--no-verbose"], input=b"\n".join(names), capture_output=True, check=True
    ).stdout.split(b"\n")
    # Fewer than one in a thousand are refused. Names are cut at 512 characters; of legacy Rust names we drop the hash.
    refused = [name for name in names if is_refused(name)]
    assert len(refused) <= len(names) // 1_000
    differing = [
        (name, demangled(name), expected.decode())
        for name, expected in zip(names, out, strict=False)
        if is_bounded(name) and not same_name(demangled(name), expected.decode())
    ]
    assert not differing, (len(differing), differing[:3])


def same_name(ours: str, theirs: str) -> bool:
    if ours.endswith("…"):
        return theirs.startswith(ours[:-1])
    return ours == theirs or ours == theirs.partition("@")[0] or theirs.startswith(f"{ours}::h")
