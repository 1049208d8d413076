"""Kernel symbols from text: aliases, modules, gaps, hidden addresses, and looking again."""

from pathlib import Path

import pytest

from flamebus.frames import FrameKind, Line, Location, Mapping
from producers.symbols.failures import SymbolFailure
from producers.symbols.kernel import KernelSymbols

TEXT = """\
ffffffff81000000 T _stext
ffffffff81000000 T startup
ffffffff81000100 t local_name
ffffffff81000100 W weak_name
ffffffff81000200 t __pfx_function
ffffffff81000210 T function
ffffffff81000210 D data_is_no_function
ffffffff81000300 T a_longer_alias
ffffffff81000300 T alias
ffffffff81000310 D data
ffffffffc0001000 t xfs_read\t[xfs]
ffffffffc0900000 t bpf_prog_41027592c7817a6c_cpu_sample\t[bpf]
"""


@pytest.fixture
def kallsyms(tmp_path: Path) -> Path:
    path = tmp_path / "kallsyms"
    path.write_text(TEXT)
    return path


def resolved(mapping: str, address: int, name: str) -> Location:
    return Location(Mapping(mapping), address, FrameKind.KERNEL, (Line(name),))


@pytest.mark.parametrize(
    ("address", "location"),
    [
        (0xFFFFFFFF81000001, resolved("[kernel]", 0, "_stext")),
        (0xFFFFFFFF81000100, resolved("[kernel]", 0x100, "weak_name")),
        (0xFFFFFFFF81000205, resolved("[kernel]", 0x100, "weak_name")),
        (0xFFFFFFFF81000212, resolved("[kernel]", 0x210, "function")),
        (0xFFFFFFFF810FFFFF, resolved("[kernel]", 0x300, "alias")),
        (0xFFFFFFFF82000000, Location(Mapping("[kernel]"), 0x1000000, FrameKind.KERNEL)),
        (0xFFFFFFFFC0001FFF, resolved("[xfs]", 0, "xfs_read")),
        (0xFFFFFFFFC0900010, resolved("[bpf]", 0, "bpf_prog_41027592c7817a6c_cpu_sample")),
        (0xFFFFFFFFFFFFFFFF, resolved("[kernel]", 0, "[kernel]")),
        (0x1000, resolved("[kernel]", 0, "[kernel]")),
    ],
)
def test_locations(kallsyms: Path, address: int, location: Location) -> None:
    assert KernelSymbols(kallsyms).location(address) == location


def test_the_unknown_is_counted_and_shows_no_address_of_this_boot(kallsyms: Path) -> None:
    symbols = KernelSymbols(kallsyms)
    symbols.location(0xFFFFFFFF82000000)
    symbols.location(0x1000)
    assert symbols.failures[SymbolFailure.KERNEL_UNKNOWN] == 2


@pytest.mark.parametrize("content", [None, "", "0000000000000000 T _stext\n0000000000000000 t other\n"])
def test_hidden_addresses_are_one_frame(tmp_path: Path, content: str | None) -> None:
    path = tmp_path / "kallsyms"
    if content is not None:
        path.write_text(content)
    symbols = KernelSymbols(path)
    assert not symbols.is_visible
    assert {symbols.location(address) for address in (0xFFFFFFFF81000001, 0xFFFFFFFF82000000)} == {
        resolved("[kernel]", 0, "[kernel]")
    }
    assert symbols.failures[SymbolFailure.KERNEL_HIDDEN] == 2


def test_modules_loaded_later_are_found_but_not_looked_for_all_the_time(kallsyms: Path) -> None:
    now = [0]
    symbols = KernelSymbols(kallsyms, lambda: now[0])
    late = 0xFFFFFFFFC2000010
    with kallsyms.open("a") as stream:
        stream.write("ffffffffc2000000 t late_function\t[late]\n")
    assert symbols.location(late).mapping.file != "[late]"
    now[0] += 61_000_000_000
    assert symbols.location(late) == resolved("[late]", 0, "late_function")
    before = len(symbols)
    with kallsyms.open("a") as stream:
        stream.write("ffffffffc4000000 t later\t[later]\n")
    symbols.location(0xFFFFFFFFC4000000)
    assert len(symbols) == before, "not so soon again"


def test_the_real_table() -> None:
    symbols = KernelSymbols()
    if not symbols.is_visible:
        pytest.skip("this kernel hides its addresses from us")
    truth: dict[int, set[str]] = {}
    for line in Path("/proc/kallsyms").read_text().splitlines():
        address, kind, name = line.split(maxsplit=2)
        if kind in "TtWw" and not name.startswith("__pfx_"):
            truth.setdefault(int(address, 16), set()).add(name.split("\t")[0])
    for start in sorted(truth)[:: len(truth) // 2_000 or 1]:
        location = symbols.location(start)
        assert location.lines[0].function in truth[start]
    assert symbols.held_bytes < 8_000_000
