"""Functions of ELF files built here: every form of linking, every place of symbols, and who wins among names."""

import lzma
import os
import subprocess
from pathlib import Path

import pytest

from producers.symbols.failures import SymbolFailure
from producers.symbols.image import Image
from producers.symbols.images import Images
from tests.support.built_elf import ASSEMBLY, C_SOURCE, TOOLS, compiled, need, run, symbols_of


@pytest.fixture(autouse=True)
def tools() -> None:
    need(*TOOLS)


@pytest.fixture
def images() -> Images:
    return Images()


def opened(images: Images, path: Path, roots: tuple[str, ...] = ("",)) -> Image:
    image = images.open(str(path), roots=roots)
    assert image is not None
    return image


def name(image: Image, address: int) -> str | None:
    found = image.function(address)
    return found[0] if found else None


@pytest.mark.parametrize(
    ("flags", "is_library"),
    [
        (["-no-pie"], False),
        (["-pie", "-fPIE"], False),
        (["-shared", "-fPIC"], True),
        (["-static"], False),
        (["-pie", "-fPIE", "-fcf-protection=full", "-Wl,-z,ibtplt"], False),
        (["-no-pie", "-Wl,-z,noseparate-code"], False),
    ],
    ids=["fixed", "pie", "library", "static", "indirect-branch-tracking", "one-segment"],
)
def test_every_form_of_linking(tmp_path: Path, images: Images, flags: list[str], is_library: bool) -> None:
    path = compiled(tmp_path, "linked", C_SOURCE, *flags)
    image = opened(images, path)
    truth = symbols_of(path)
    for function in ("hidden", "exported", "main"):
        start, size = truth[function]
        assert {name(image, start), name(image, start + size - 1)} == {function}
        assert image.function(start) == (function, start)
    # What a sample has is an offset into the file: it leads to the same address.
    sections = [s for s in image.layout.sections if s.name == ".text"]
    offset = sections[0].offset + truth["hidden"][0] - sections[0].address
    assert image.address_of(offset) == truth["hidden"][0]
    if not is_library and "-static" not in flags:
        assert {"strlen@plt", "rand@plt"} & stubs(image) == {"strlen@plt", "rand@plt"}


def stubs(image: Image) -> set[str]:
    """Names at every byte of the sections of stubs."""
    return {
        found
        for section in image.layout.sections
        if section.name.startswith(".plt")
        for address in range(section.address, section.address + section.size)
        if (found := name(image, address))
    }


def test_stubs_agree_with_objdump(tmp_path: Path, images: Images) -> None:
    need("objdump")
    path = compiled(tmp_path, "linked", C_SOURCE, "-pie", "-fPIE")
    image = opened(images, path)
    listed = [
        (int(line.split()[0], 16), line.split("<")[1].split(">")[0])
        for line in run("objdump", "-d", path).splitlines()
        if line.endswith("@plt>:")
    ]
    assert len(listed) >= 3
    assert {(name(image, address), address) for address, _ in listed} == {(stub, address) for address, stub in listed}


def test_who_wins_among_names(tmp_path: Path, images: Images) -> None:
    path = compiled(tmp_path, "names.so", ASSEMBLY, "-shared", "-nostdlib", suffix=".s")
    image, truth = opened(images, path), symbols_of(path)
    assert name(image, truth["first"][0]) == "alias", "of equals the shortest, then the first in the alphabet"
    assert name(image, truth["inside_label"][0]) == "alias", "a label does not cut a function"
    assert name(image, truth["weak_name"][0]) == "strong_name_that_is_longer", "global before weak before local"
    assert name(image, truth["first"][0] + truth["first"][1]) is None, "padding belongs to no one"
    assert name(image, truth["without_size"][0] + 39) == "without_size", "no size: up to the next symbol"
    start, size = truth["inner"]
    assert [name(image, a) for a in (start - 1, start, start + size - 1, start + size)] == [
        "outer", "inner", "inner", "outer",
    ]  # fmt: skip
    assert name(image, truth["outer"][0] + truth["outer"][1]) is None


def test_without_a_size_a_function_ends_with_its_section_and_is_not_trusted_in_an_export_table(
    tmp_path: Path, images: Images
) -> None:
    assembly = '.text\n.globl last\n.type last, @function\nlast:\n.skip 20,0x90\n.section .other,"ax"\n.skip 64,0x90\n'
    path = compiled(tmp_path, "last.so", assembly, "-shared", "-nostdlib", suffix=".s")
    image, start = opened(images, path), symbols_of(path)["last"][0]
    other = next(s for s in image.layout.sections if s.name == ".other")
    assert name(image, start + 19) == "last"
    assert name(image, other.address + 3) is None
    run("strip", path)
    assert name(opened(Images(), path), start) is None


def test_stripped_the_exports_are_left(tmp_path: Path, images: Images) -> None:
    path = compiled(tmp_path, "stripped.so", C_SOURCE, "-shared", "-fPIC")
    truth = symbols_of(path)
    run("strip", path)
    image = opened(images, path)
    assert name(image, truth["exported"][0]) == "exported"
    assert name(image, truth["hidden"][0]) is None


def test_nothing_left_is_counted_once(tmp_path: Path, images: Images) -> None:
    path = compiled(tmp_path, "bare", C_SOURCE, "-static")
    run("strip", path)
    image = opened(images, path)
    assert [name(image, a) for a in (0x401000, 0x401800)] == [None, None]
    assert images.failures[SymbolFailure.NO_SYMBOL_TABLE] == 1


def split_debug(path: Path, debug: Path) -> None:
    """Move the symbol table into a file of its own, linked by name."""
    debug.parent.mkdir(parents=True, exist_ok=True)
    run("objcopy", "--only-keep-debug", path, debug)
    run("strip", path)
    run("objcopy", f"--add-gnu-debuglink={debug}", path)


def build_id(path: Path) -> str:
    return next(line.split()[-1] for line in run("readelf", "-n", path).splitlines() if "Build ID" in line)


@pytest.mark.parametrize("has_id", [True, False], ids=["build-id", "checksum"])
@pytest.mark.parametrize("place", ["", ".debug/", "root/usr/lib/debug/"], ids=["beside", "dot-debug", "debug-folder"])
def test_debug_file_by_link(tmp_path: Path, images: Images, place: str, has_id: bool) -> None:
    flag = "-Wl,--build-id=sha1" if has_id else "-Wl,--build-id=none"
    path = compiled(tmp_path, "linked", C_SOURCE, flag)
    truth = symbols_of(path)
    folder = tmp_path / place / str(tmp_path).lstrip("/") if place.startswith("root") else tmp_path / place
    split_debug(path, folder / "linked.debug")
    image = opened(images, path, roots=(str(tmp_path / "root"), ""))
    assert name(image, truth["hidden"][0]) == "hidden"


def test_debug_file_by_build_id_in_the_root_of_the_process(tmp_path: Path, images: Images) -> None:
    path = compiled(tmp_path, "linked", C_SOURCE, "-Wl,--build-id=sha1")
    truth, identity = symbols_of(path), build_id(path)
    debug = tmp_path / f"root/usr/lib/debug/.build-id/{identity[:2]}/{identity[2:]}.debug"
    split_debug(path, debug)
    assert name(opened(images, path), truth["hidden"][0]) is None, "not there on the host"
    assert name(opened(Images(), path, roots=(str(tmp_path / "root"), "")), truth["hidden"][0]) == "hidden"


@pytest.mark.parametrize("has_id", [True, False], ids=["build-id", "checksum"])
def test_a_debug_file_of_another_build_is_refused(tmp_path: Path, images: Images, has_id: bool) -> None:
    flag = "-Wl,--build-id=sha1" if has_id else "-Wl,--build-id=none"
    path = compiled(tmp_path, "linked", C_SOURCE, flag)
    start = symbols_of(path)["hidden"][0]
    split_debug(path, tmp_path / "linked.debug")
    other = compiled(tmp_path, "other", C_SOURCE.replace("* 3", "* 4"), flag)
    run("objcopy", "--only-keep-debug", other, tmp_path / "linked.debug")
    assert name(opened(images, path), start) is None
    assert images.failures[SymbolFailure.DEBUG_MISMATCH] >= 1


def test_symbols_compressed_inside(tmp_path: Path, images: Images) -> None:
    path = compiled(tmp_path, "small.so", C_SOURCE, "-shared", "-fPIC")
    truth = symbols_of(path)
    run("objcopy", "--only-keep-debug", path, tmp_path / "mini")
    run("strip", path)
    (tmp_path / "mini.xz").write_bytes(lzma.compress((tmp_path / "mini").read_bytes()))
    run("objcopy", f"--add-section=.gnu_debugdata={tmp_path / 'mini.xz'}", path)
    image = opened(images, path)
    assert [name(image, truth[function][0]) for function in ("hidden", "exported")] == ["hidden", "exported"]
    assert image.held_bytes >= (tmp_path / "mini").stat().st_size, "what is unpacked counts"


@pytest.mark.parametrize("content", [b"no xz at all", lzma.compress(b"x" * 5_000)[:-20], lzma.compress(bytes(9 << 20))])
def test_broken_and_huge_compressed_symbols(tmp_path: Path, images: Images, content: bytes) -> None:
    path = compiled(tmp_path, "small.so", C_SOURCE, "-shared", "-fPIC")
    start = symbols_of(path)["exported"][0]
    run("strip", path)
    (tmp_path / "data").write_bytes(content)
    run("objcopy", f"--add-section=.gnu_debugdata={tmp_path / 'data'}", path)
    assert name(opened(images, path), start) == "exported"
    assert images.failures[SymbolFailure.BAD_DEBUG_DATA] == 1


def test_a_function_chosen_at_load_time(tmp_path: Path, images: Images) -> None:
    source = "static int f(void){return 1;} static int (*choose(void))(void){return f;}\n"
    source += 'int chosen(void) __attribute__((ifunc("choose")));\n'
    path = compiled(tmp_path, "ifunc.so", source, "-shared", "-fPIC")
    image, truth = opened(images, path), symbols_of(path)
    assert name(image, truth["f"][0]) == "f"
    assert name(image, truth["choose"][0]) == "chosen", "the exported name of the function that chooses"


def test_names_that_are_no_utf8(tmp_path: Path, images: Images) -> None:
    path = compiled(tmp_path, "bytes.so", "void nameXXname(void) {}", "-shared", "-fPIC")
    start = symbols_of(path)["nameXXname"][0]
    path.write_bytes(path.read_bytes().replace(b"nameXXname", b"name\xff\xfename"))
    found = name(opened(images, path), start)
    assert found == "name\ufffd\ufffdname"


def test_go_without_a_symbol_table(tmp_path: Path, images: Images) -> None:
    need("go")
    source = 'package main\nimport "os"\n//go:noinline\nfunc work(n int) int { return n * 3 }\n'
    source += "func main() { os.Exit(work(len(os.Args))) }\n"
    (tmp_path / "main.go").write_text(source)
    environment = {**os.environ, "CGO_ENABLED": "0", "GO111MODULE": "off", "GOFLAGS": ""}
    for output, flags in (("full", []), ("stripped", ["-ldflags=-s -w"])):
        command = ["go", "build", *flags, "-o", str(tmp_path / output), str(tmp_path / "main.go")]
        subprocess.run(command, check=True, env=environment, capture_output=True)
    truth = {a: n for n, (a, size) in symbols_of(tmp_path / "full").items() if size and not n.endswith(".abi0")}
    full, stripped = opened(images, tmp_path / "full"), opened(images, tmp_path / "stripped")
    assert name(stripped, symbols_of(tmp_path / "full")["main.work"][0]) == "main.work"
    differing = [(name(full, a), name(stripped, a)) for a in truth if name(full, a) != name(stripped, a)]
    # Assembly functions: the symbol table calls them foo.abi0, Go itself foo.
    assert not [pair for pair in differing if not pair[0] or pair[0].removesuffix(".abi0") != pair[1]]
