"""The cache of images: copies read once, limits of memory, time and open files, and what is let go."""

import os
import shutil
import struct
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from producers.symbols import images as cache
from producers.symbols.failures import SymbolFailure
from producers.symbols.images import DRAIN_BUDGET_NS, IDLE_NS, Images
from tests.support.built_elf import C_SOURCE, TOOLS, compiled, need, run, symbols_of


class Clock:
    """Moves on by ``step_ns`` whenever it is asked."""

    def __init__(self, step_ns: int = 0) -> None:
        self.now_ns, self.step_ns = 0, step_ns

    def __call__(self) -> int:
        self.now_ns += self.step_ns
        return self.now_ns


@pytest.fixture(autouse=True)
def tools() -> None:
    need(*TOOLS)


@pytest.fixture
def program(tmp_path: Path) -> Path:
    return compiled(tmp_path, "program", C_SOURCE, "-Wl,--build-id=sha1")


def several(folder: Path, count: int) -> list[Path]:
    """Programs that differ."""
    return [compiled(folder, f"program{i}", C_SOURCE.replace("* 3", f"* {i + 5}")) for i in range(count)]


def open_count(path: Path) -> int:
    """How often this process has a file open."""
    found = 0
    for link in Path("/proc/self/fd").iterdir():
        try:
            found += link.readlink() == path
        except FileNotFoundError:
            continue  # the listing's own
    return found


def test_fifty_copies_are_one_image(tmp_path: Path, program: Path) -> None:
    images, start = Images(), symbols_of(program)["hidden"][0]
    first = images.open(str(program))
    assert first is not None
    assert first.function(start) == ("hidden", start)
    held = images.held_bytes
    for number in range(50):
        copy = shutil.copy(program, tmp_path / f"copy{number}")
        assert images.open(str(copy)) is first
    assert (len(images), images.held_bytes) == (1, held)
    assert sum(open_count(tmp_path / f"copy{number}") for number in range(50)) == 0


def test_another_size_under_the_same_build_id_is_another_image(tmp_path: Path, program: Path) -> None:
    images, start = Images(), symbols_of(program)["hidden"][0]
    stripped = Path(shutil.copy(program, tmp_path / "stripped"))
    run("strip", stripped)
    first, second = images.open(str(stripped)), images.open(str(program))
    assert first is not None
    assert second is not None
    assert (first.function(start), second.function(start)) == (None, ("hidden", start))


def test_a_file_that_is_written_anew_is_read_anew(program: Path) -> None:
    images = Images()
    assert images.open(str(program)) is not None
    other = compiled(program.parent, "other", C_SOURCE.replace("hidden", "renamed"))
    program.write_bytes(other.read_bytes())
    image, start = images.open(str(program)), symbols_of(program)["renamed"][0]
    assert image is not None
    assert image.function(start) == ("renamed", start)


def test_least_recently_used_goes_first(tmp_path: Path) -> None:
    files = several(tmp_path, 4)
    images = Images()
    for file in files[:3]:
        image = images.open(str(file))
        assert image is not None
        image.function(symbols_of(file)["hidden"][0])
    limited = Images(images.held_bytes)
    opened = {}
    for index in (0, 1, 2, 0, 3):
        image = opened[index] = limited.open(str(files[index]))
        assert image is not None
        start = symbols_of(files[index])["hidden"][0]
        assert image.function(start) == ("hidden", start)
    assert limited.failures[SymbolFailure.IMAGE_EVICTED] == 1
    assert limited.held_bytes <= images.held_bytes
    assert limited.open(str(files[0])) is opened[0]
    assert limited.open(str(files[1])) is not opened[1]


def test_one_that_was_dropped_while_in_use_still_answers(tmp_path: Path) -> None:
    files = several(tmp_path, 2)
    images = Images(1)
    first = images.open(str(files[0]))
    assert first is not None
    start = symbols_of(files[0])["hidden"][0]
    assert first.function(start) is not None
    second = images.open(str(files[1]))
    assert second is not None
    second.function(start)
    main = symbols_of(files[0])["main"][0]
    assert first.function(main) == ("main", main)
    del first
    assert open_count(files[0]) == 0


def test_files_not_used_are_closed_and_opened_again_without_reading_the_table_again(program: Path) -> None:
    clock = Clock()
    images, truth = Images(clock_ns=clock), symbols_of(program)
    images.begin_drain()
    image = images.open(str(program))
    assert image is not None
    image.function(truth["hidden"][0])
    assert open_count(program) == 1
    clock.now_ns += IDLE_NS
    images.begin_drain()
    assert open_count(program) == 0
    assert images.open(str(program)) is image
    assert image.is_loaded
    assert image.function(truth["exported"][0]) == ("exported", truth["exported"][0])


def test_a_separate_debug_file_is_closed_too(tmp_path: Path) -> None:
    program = compiled(tmp_path, "program", C_SOURCE)
    start, debug = symbols_of(program)["hidden"][0], tmp_path / "program.debug"
    run("objcopy", "--only-keep-debug", program, debug)
    run("strip", program)
    run("objcopy", f"--add-gnu-debuglink={debug}", program)
    clock = Clock()
    images = Images(clock_ns=clock)
    for _ in range(2):
        images.begin_drain()
        image = images.open(str(program))
        assert image is not None
        assert image.function(start) == ("hidden", start)
        assert (open_count(program), open_count(debug)) == (1, 1)
        del image
        clock.now_ns += IDLE_NS
        images.begin_drain()
        assert (open_count(program), open_count(debug)) == (0, 0)


def test_a_drain_has_a_budget_and_the_next_one_goes_on(tmp_path: Path) -> None:
    files = several(tmp_path, 3)
    clock = Clock(step_ns=DRAIN_BUDGET_NS * 2 // 3)  # of each table, as it seems
    images = Images(cpu_ns=clock)
    answers = []
    for _ in range(2):
        images.begin_drain()
        for file in files:
            image = images.open(str(file))
            assert image is not None
            answers.append((image.function(symbols_of(file)["hidden"][0]) is not None, image.is_loaded))
    assert answers == [(True, True), (True, True), (False, False), (True, True), (True, True), (True, True)]


def test_open_files_are_limited(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cache, "_MAX_IMAGES", 2)
    files, images = several(tmp_path, 4), Images()
    for file in files:
        images.open(str(file))
    assert len(images) == 2
    assert sum(map(open_count, files)) == 2


def test_files_that_are_no_images_are_remembered_by_content_not_by_path(tmp_path: Path, program: Path) -> None:
    images, path = Images(), tmp_path / "file"
    path.write_text("not ELF")
    assert [images.open(str(path)) for _ in range(3)] == [None] * 3
    assert images.failures[SymbolFailure.NOT_ELF] == 1
    shutil.copy(program, path)
    assert images.open(str(path)) is not None


def test_a_file_that_appears_later_is_found(tmp_path: Path, program: Path) -> None:
    images, path = Images(), tmp_path / "later"
    assert images.open(str(path)) is None
    shutil.copy(program, path)
    assert images.open(str(path)) is not None


MILLION = """
import resource, struct, sys, time
from producers.symbols.images import Images
images = Images()
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
begin = time.process_time()
image = images.open(sys.argv[1])
found = image.function(int(sys.argv[2]))
print(found[0], image.function_count, image.held_bytes, time.process_time() - begin)
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
"""


def test_a_million_functions_take_little_memory(tmp_path: Path) -> None:
    """As in Chromium with all its local symbols: 9 bytes each kept, twice that while it is read."""
    count = 1_000_000
    program = compiled(tmp_path, "program", C_SOURCE, "-static")
    table = np.zeros(
        count, [("name", "<u4"), ("info", "u1"), ("other", "u1"), ("index", "<u2"), ("at", "<u8"), ("size", "<u8")]
    )
    start, _ = symbols_of(program)["main"]
    table["name"], table["info"], table["index"], table["size"] = 1, 2, 1, 1
    table["at"] = start - count // 4 + np.random.default_rng(1).permutation(count) // 2
    (tmp_path / "million").write_bytes(with_symbols(program.read_bytes(), table.tobytes()))
    environment = {**os.environ, "OPENBLAS_NUM_THREADS": "1", "PYTHONPATH": str(Path(__file__).parents[2])}
    command = [sys.executable, "-c", MILLION, str(tmp_path / "million"), str(start)]
    out = subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout.split()
    assert out[0] == "a"
    assert int(out[1]) > 100_000
    assert int(out[2]) < 10 * count
    assert int(out[4]) * 1024 < 24 * count


def with_symbols(content: bytes, table: bytes) -> bytes:
    """The file with its symbol table and string table replaced by ones at its end."""
    data = bytearray(content)
    (headers,) = struct.unpack_from("<Q", data, 40)
    count = struct.unpack_from("<H", data, 60)[0]
    at = len(data)
    for row in range(count):
        place = headers + 64 * row
        kind, link = struct.unpack_from("<I", data, place + 4)[0], struct.unpack_from("<I", data, place + 40)[0]
        if kind == 2:
            struct.pack_into("<QQ", data, place + 24, at, len(table))
            struct.pack_into("<QQ", data, headers + 64 * link + 24, at + len(table), 3)
    return bytes(data) + table + b"\0a\0"
