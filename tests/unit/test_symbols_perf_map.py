"""Perf maps: lines good and bad, growing, beginning anew, far too long; and what runtimes write into them."""

import os
from pathlib import Path

import pytest

from flamebus.frames import FrameKind
from producers.symbols import perf_map
from producers.symbols.failures import FailureCounts, SymbolFailure
from producers.symbols.generated_code import GeneratedCode, ProcessKey
from producers.symbols.jit_names import JitName, jit_name
from producers.symbols.perf_map import PerfMap

SECOND = 1_000_000_000
KEY = ProcessKey(4711, 1)


class Clock:
    """Stands still unless told."""

    def __init__(self) -> None:
        self.now_ns = 0

    def __call__(self) -> int:
        return self.now_ns


@pytest.fixture
def counts() -> FailureCounts:
    return FailureCounts()


def read(path: Path, counts: FailureCounts) -> PerfMap:
    found = PerfMap(os.open(path, os.O_RDONLY), counts)
    found.read_more()
    return found


def test_the_latest_line_counts(tmp_path: Path, counts: FailureCounts) -> None:
    path = tmp_path / "perf.map"
    path.write_bytes(b"1000 100 old\n0x2000 0x10 with prefix\n1080 20 newer in the middle\n1000 10 \xff\n")
    found = read(path, counts)
    assert {a: found.name(a) for a in (0xFFF, 0x1000, 0x1010, 0x1080, 0x10A0, 0x1100, 0x200F, 0x2010)} == {
        0xFFF: "", 0x1000: "\ufffd", 0x1010: "old", 0x1080: "newer in the middle", 0x10A0: "old", 0x1100: "",
        0x200F: "with prefix", 0x2010: "",
    }  # fmt: skip
    assert not counts.by_reason()


def test_bad_lines_are_counted_and_the_others_kept(tmp_path: Path, counts: FailureCounts) -> None:
    path = tmp_path / "perf.map"
    bad = [
        b"",
        b"zz 10 a",
        b"10 zz a",
        b"10 0 empty",
        b"10 10",
        b"-10 10 a",
        b"ffffffffffffffff 10 a",
        b"10 1ffffffff a",
        b"\0",
    ]
    path.write_bytes(b"\n".join([b"1000 10 first", *bad, b"2000 10 last"]) + b"\n")
    found = read(path, counts)
    assert (len(found), found.name(0x1000), found.name(0x2000)) == (2, "first", "last")
    assert counts[SymbolFailure.PERF_MAP_BAD_LINE] == len(bad)


def test_a_line_that_is_still_being_written_waits(tmp_path: Path, counts: FailureCounts) -> None:
    path = tmp_path / "perf.map"
    path.write_bytes(b"1000 10 whole\n2000 10 ha")
    found = read(path, counts)
    assert found.name(0x2000) == ""
    with path.open("ab") as stream:
        stream.write(b"lf\n")
    assert found.has_more
    assert found.read_more()
    assert found.name(0x2000) == "half"
    assert not found.has_more
    assert not found.read_more()


def test_of_a_huge_file_the_end_is_read(tmp_path: Path, counts: FailureCounts, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(perf_map, "MAX_TAIL_BYTES", 1_000)
    path = tmp_path / "perf.map"
    with path.open("wb") as stream:
        stream.truncate(2 << 30)  # sparse: 2 GB of zeros
        stream.seek(0, os.SEEK_END)
        stream.write(b"\n1000 10 last\n")
    found = read(path, counts)
    assert (found.name(0x1000), len(found)) == ("last", 1)
    assert counts[SymbolFailure.PERF_MAP_TOO_LARGE] == 1


def test_a_file_without_lines_ends(tmp_path: Path, counts: FailureCounts) -> None:
    path = tmp_path / "perf.map"
    path.write_bytes(b"x" * (2 * perf_map.MAX_STEP_BYTES + 5))
    found = PerfMap(os.open(path, os.O_RDONLY), counts)
    assert [found.read_more() for _ in range(4)] == [False] * 4
    assert counts[SymbolFailure.PERF_MAP_BAD_LINE] == 2


def test_lines_are_bounded(tmp_path: Path, counts: FailureCounts, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(perf_map, "MAX_LINES", 100)
    path = tmp_path / "perf.map"
    path.write_bytes(b"".join(b"%x 10 f%d\n" % (0x1000 * i, i) for i in range(1, 201)))
    found = read(path, counts)
    assert len(found) <= 100
    assert (found.name(0x1000 * 200), found.name(0x1000)) == ("f200", "")


@pytest.mark.parametrize(
    ("text", "is_java", "name"),
    [
        ("JS:~fib /app/a.js:2:13", False, JitName("fib", "/app/a.js", 2, FrameKind.V8JS)),
        ("JS:*fib /app/a.js:2:13", False, JitName("fib", "/app/a.js", 2, FrameKind.V8JS)),
        ("LazyCompile:^get size node:url:7:1", False, JitName("get size", "node:url", 7, FrameKind.V8JS)),
        ("JS:~ /app/a.js:3:57", False, JitName("(anonymous) a.js:3", "/app/a.js", 3, FrameKind.V8JS)),
        ("Script:~ /app/a.js:1:1", False, JitName("(script) a.js:1", "/app/a.js", 1, FrameKind.V8JS)),
        ("Builtin:ArrayMap", False, JitName("Builtin:ArrayMap", kind=FrameKind.V8JS)),
        ("py::work:/app/job.py", False, JitName("work", "/app/job.py", 0, FrameKind.CPYTHON)),
        ("py::<module>:/app/job.py", False, JitName("<module>", "/app/job.py", 0, FrameKind.CPYTHON)),
        ("Ljava/util/HashMap;::get", False, JitName("java.util.HashMap.get", kind=FrameKind.JVM)),
        ("int java.lang.String.hashCode()", True, JitName("java.lang.String.hashCode", kind=FrameKind.JVM)),
        ("int java.lang.String.hashCode()", False, JitName("int java.lang.String.hashCode()")),
        ("StubRoutines (1)", True, JitName("StubRoutines (1)", kind=FrameKind.JVM)),
        ("instance void [app] Program::Main()", False, JitName("instance void [app] Program::Main()")),
        ("JS:", False, JitName("(anonymous)", kind=FrameKind.V8JS)),
        ("x" * 2_000, False, JitName("x" * 511 + "…")),
    ],
)  # fmt: skip
def test_what_runtimes_write(text: str, is_java: bool, name: JitName) -> None:
    assert jit_name(text, is_java=is_java) == name


@pytest.mark.parametrize("text", ["JS:~" + "a:1:" * 250, "py::" + ":" * 1_000, "a." * 500 + "(", "L" + "a/" * 500])
def test_hostile_names_take_no_time(text: str) -> None:
    for is_java in (True, False):
        assert jit_name(text, is_java=is_java).function


@pytest.fixture
def proc(tmp_path: Path) -> Path:
    """A procfs of one process, which is number 7 in its own namespace."""
    folder = tmp_path / "proc" / str(KEY.tgid)
    (folder / "root" / "tmp").mkdir(parents=True)
    (folder / "status").write_text(f"Name:\tapp\nUid:\t{os.getuid()}\t{os.getuid()}\t0\t0\nNSpid:\t4711\t7\n")
    (folder / "maps").write_text("")
    return tmp_path / "proc"


def map_of(proc: Path) -> Path:
    return proc / str(KEY.tgid) / "root/tmp/perf-7.map"


def test_names_follow_the_file(proc: Path, counts: FailureCounts) -> None:
    clock = Clock()
    code = GeneratedCode(counts, str(proc), clock)
    assert code.name(KEY, 0x1000) == (None, False), "it may still come"
    map_of(proc).write_text("1000 10 one\n")
    code.look_again()
    assert code.name(KEY, 0x1000) == (None, False), "not looked at again so soon"
    clock.now_ns += 2 * SECOND
    code.look_again()
    assert code.name(KEY, 0x1000) == (JitName("one"), False)
    with map_of(proc).open("a") as stream:
        stream.write("1000 10 two\n")
    clock.now_ns += 10 * SECOND
    code.look_again()
    assert code.name(KEY, 0x1000) == (JitName("two"), False), "code moved: never final"
    map_of(proc).write_text("1000 10 3\n")
    clock.now_ns += 30 * SECOND
    code.look_again()
    assert code.name(KEY, 0x1000) == (JitName("3"), False), "the file was begun anew"


def test_a_process_that_writes_none_is_settled_after_a_minute(proc: Path, counts: FailureCounts) -> None:
    clock = Clock()
    code = GeneratedCode(counts, str(proc), clock)
    assert code.name(KEY, 0x1000) == (None, False)
    clock.now_ns += 61 * SECOND
    assert code.name(KEY, 0x1000) == (None, True)


def test_names_outlive_the_process_and_are_let_go_in_the_end(proc: Path, counts: FailureCounts) -> None:
    clock = Clock()
    code = GeneratedCode(counts, str(proc), clock)
    map_of(proc).write_text("1000 10 one\n")
    assert code.name(KEY, 0x1000)[0] == JitName("one")
    (proc / str(KEY.tgid)).rename(proc / "gone")
    clock.now_ns += 60 * SECOND
    code.look_again()
    assert code.name(KEY, 0x1000)[0] == JitName("one")
    clock.now_ns += 121 * SECOND
    code.look_again()
    assert code.name(KEY, 0x1000)[0] is None


@pytest.mark.skipif(os.getuid() != 0, reason="needs a file of another user")
def test_a_map_of_another_user_is_refused(proc: Path, counts: FailureCounts) -> None:
    status = proc / str(KEY.tgid) / "status"
    status.write_text(status.read_text().replace("Uid:\t0\t0", "Uid:\t1000\t1000"))
    map_of(proc).write_text("1000 10 forged\n")
    os.chown(map_of(proc), 1001, 1001)
    assert GeneratedCode(counts, str(proc), Clock()).name(KEY, 0x1000)[0] is None
    assert counts[SymbolFailure.PERF_MAP_REFUSED] == 1


@pytest.mark.parametrize("kind", ["link", "folder", "fifo"])
def test_what_is_no_plain_file_is_refused(proc: Path, tmp_path: Path, counts: FailureCounts, kind: str) -> None:
    (tmp_path / "target").write_text("1000 10 forged\n")
    if kind == "link":
        map_of(proc).symlink_to(tmp_path / "target")
    elif kind == "folder":
        map_of(proc).mkdir()
    else:
        os.mkfifo(map_of(proc))
    assert GeneratedCode(counts, str(proc), Clock()).name(KEY, 0x1000)[0] is None
