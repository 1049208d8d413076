"""Names in living processes: vdso, generated code, namespaces, files deleted, replaced or without a name."""

import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import pytest

from flamebus.frames import FrameKind, Location
from producers.address_space import AddressSpace
from producers.host import LiveHost
from producers.image import UNKNOWN, Image
from producers.mapped_files import MappedFiles
from producers.processes import Processes
from producers.procfs import ProcFs
from producers.symbols.failures import SymbolFailure
from producers.symbols.images import Images
from producers.symbols.kernel import KernelSymbols
from producers.symbols.user import UserSymbols
from tests.support.built_elf import compiled, need, symbols_of

DEADLINE_S = 20.0
SLEEPER = """
#include <unistd.h>
__attribute__((noinline)) void work(void) { pause(); }
int main(void) { write(1, "ready\\n", 6); for (;;) work(); }
"""
Starter = Callable[..., AbstractContextManager[int]]

needs_root = pytest.mark.skipif(os.getuid() != 0, reason="namespaces and map_files need root")


class Host:
    """The part of the agent that names addresses, on the real procfs."""

    def __init__(self) -> None:
        proc, self.images = ProcFs(), Images()
        files, user = MappedFiles(self.images, proc.root), UserSymbols(self.images, proc.root)
        self.proc = proc
        self.live = LiveHost(proc, Processes(proc, lambda _: UNKNOWN), files, user, KernelSymbols(Path("/nonexistent")))

    def image(self, tgid: int, key: int = 1) -> Image:
        return Image(tgid, 0, 0, space=AddressSpace(key, self.proc.mapped(tgid)))

    def location(self, image: Image, address: int) -> Location:
        return self.live.user_locations(image, [address])[0].location

    def function(self, image: Image, address: int) -> str:
        location = self.location(image, address)
        return location.lines[0].function if location.lines else location.frames()[0].function


@contextmanager
def started(command: Sequence[str | Path], says: str = "ready") -> Iterator[int]:
    """A process that has printed a line; its id, or that of the child which printed it."""
    with subprocess.Popen(
        [str(each) for each in command], stdout=subprocess.PIPE, text=True, start_new_session=True
    ) as child:
        try:
            assert child.stdout is not None
            line = child.stdout.readline()
            assert says in line
            yield child.pid
        finally:
            os.killpg(child.pid, signal.SIGKILL)


def descendant(tgid: int) -> int:
    """The last of a line of only children."""
    while children := Path(f"/proc/{tgid}/task/{tgid}/children").read_text().split():
        tgid = int(children[-1])
    return tgid


def loaded_address(tgid: int, program: str, function_start: int) -> int:
    """Where a function of a position-independent program lies in a process."""
    for line in Path(f"/proc/{tgid}/maps").read_text().splitlines():
        fields = line.split(maxsplit=5)
        if len(fields) == 6 and program in fields[5] and int(fields[2], 16) == 0:
            return int(fields[0].split("-")[0], 16) + function_start
    raise AssertionError(f"{program} is not mapped in {tgid}")


@pytest.fixture
def program(tmp_path: Path) -> tuple[Path, int]:
    """A program, and where ``work`` starts in it."""
    need("gcc", "nm")
    path = compiled(tmp_path, "sleeper", SLEEPER, "-pie", "-fPIE")
    return path, symbols_of(path)["work"][0]


def test_a_program_and_the_vdso(program: tuple[Path, int]) -> None:
    host = Host()
    with started([program[0]]) as tgid:
        image = host.image(tgid)
        assert host.function(image, loaded_address(tgid, "sleeper", program[1]) + 2) == "work"
        vdso = next(m for m in host.proc.mapped(tgid) if m.file.path == "[vdso]")
        names = {host.function(image, address) for address in range(vdso.start, vdso.limit, 8)}
        assert {"__vdso_clock_gettime", "__vdso_gettimeofday"} <= names
        assert not [name for name in names if "+0x" in name]


def test_addresses_outside_everything_are_one_location(program: tuple[Path, int]) -> None:
    host = Host()
    with started([program[0]]) as tgid:
        image = host.image(tgid)
        assert {host.location(image, address).frames()[0].function for address in (1, 0x1234, 1 << 46)} == {
            "[unmapped]"
        }
    assert host.images.failures[SymbolFailure.NO_MAPPING] == 3


@needs_root
def test_a_file_that_only_another_mount_namespace_has(program: tuple[Path, int], tmp_path: Path) -> None:
    need("unshare")
    folder = tmp_path / "only-there"
    folder.mkdir()
    script = f"mount -t tmpfs none {folder} && cp {program[0]} {folder}/hidden-away && {folder}/hidden-away"
    host = Host()
    with started(["unshare", "--mount", "--pid", "--fork", "sh", "-c", script]) as tgid:
        inner = descendant(tgid)
        assert not (folder / "hidden-away").exists()
        image, address = host.image(inner), loaded_address(inner, "hidden-away", program[1])
        assert host.function(image, address) == "work"
        host.live.forget(1)
    # Its last samples are resolved after its end; then the file is let go.
    image.until_boot_nano = 2
    assert host.function(image, address + 1) == "work"
    host.live.forget(3)
    assert host.function(image, address + 2) == f"hidden-away+{program[1] + 2:#x}"


@needs_root
def test_a_file_that_is_deleted(program: tuple[Path, int]) -> None:
    host = Host()
    with started([program[0]]) as tgid:
        program[0].unlink()
        assert host.function(host.image(tgid), loaded_address(tgid, "sleeper", program[1])) == "work"


@needs_root
def test_a_file_in_whose_place_is_another(program: tuple[Path, int], tmp_path: Path) -> None:
    other = compiled(
        tmp_path, "other", SLEEPER.replace("work", "lies").replace("pause", "(void)getpid"), "-pie", "-fPIE"
    )
    with started([program[0]]) as tgid:
        gone, host = Host().image(tgid), Host()
        other.replace(program[0])
        address = loaded_address(tgid, "sleeper", program[1])
        assert Host().function(Host().image(tgid), address) == "work", "by its mapping"
        gone.until_boot_nano = 1  # as if it had ended: only the path is left to look for it
        assert re.fullmatch(r"sleeper\+0x[0-9a-f]+", host.function(gone, address)), "a wrong name is worse than none"
        assert host.images.failures[SymbolFailure.FILE_REPLACED] == 1


def test_a_program_without_a_file(program: tuple[Path, int]) -> None:
    if os.getuid() != 0:
        pytest.skip("map_files needs root")
    script = f"""
import os
descriptor = os.memfd_create("random-{os.getpid()}")
os.write(descriptor, open({str(program[0])!r}, "rb").read())
os.execv(f"/proc/self/fd/{{descriptor}}", ["sleeper"])
"""
    host = Host()
    with started([sys.executable, "-c", script]) as tgid:
        location = host.location(host.image(tgid), loaded_address(tgid, "/memfd:", program[1]))
        assert (location.mapping.file, location.lines[0].function) == ("[memfd]", "work")


def wait_for(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + DEADLINE_S
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)


NODE = """
function fib(n) { return n < 2 ? n : fib(n - 1) + fib(n - 2) }
for (let i = 0; i < 20; i++) fib(22);
console.log("ready"); setInterval(() => fib(20), 50);
"""

NODE_FLAGS = ("--perf-basic-prof", "--interpreted-frames-native-stack", "--no-logfile-per-isolate")


def test_generated_code_of_node(tmp_path: Path) -> None:
    need("node")
    (tmp_path / "app.js").write_text(NODE)
    command = ["node", *NODE_FLAGS, f"--logfile={tmp_path}/v8.log", str(tmp_path / "app.js")]
    host = Host()
    with started(command) as tgid:
        lines = Path(f"/tmp/perf-{tgid}.map")
        wait_for(lambda: lines.exists() and "fib " in lines.read_text())
        try:
            image = host.image(tgid)
            compiled_code = [
                line.split(" ", 2) for line in lines.read_text().splitlines() if ":" in line and "fib " in line
            ]
            mapped = [int(start, 16) for start, _, _ in compiled_code if is_generated(image, int(start, 16))]
            found = {host.location(image, address) for address in mapped}
            assert len(found) == 1, "however it was compiled, one function is one location"
            frame = found.pop().frames()[0]
            place = (frame.function, frame.file, frame.line, frame.kind)
            assert place == ("fib", str(tmp_path / "app.js"), 2, FrameKind.V8JS)
        finally:
            lines.unlink()


def is_generated(image: Image, address: int) -> bool:
    mapped = image.space.find(address) if image.space is not None else None
    return mapped is not None and not mapped.file.is_file


JAVA = """
public class App {
    static long work(long n) { long s = 0; for (long i = 0; i < n; i++) s += i * i ^ s; return s; }
    public static void main(String[] a) throws Exception {
        long s = 0;
        for (int i = 0; i < 20000; i++) s += work(200);
        System.out.println("ready " + s);
        while (true) { s += work(1000); Thread.sleep(1); }
    }
}
"""


def test_generated_code_of_java(tmp_path: Path) -> None:
    need("java", "jcmd")
    (tmp_path / "App.java").write_text(JAVA)
    with started(["java", "-XX:TieredStopAtLevel=1", str(tmp_path / "App.java")]) as tgid:
        out = subprocess.run(
            ["jcmd", str(tgid), "Compiler.perfmap"], capture_output=True, text=True, check=True, timeout=60
        )
        lines = Path(f"/tmp/perf-{tgid}.map")
        if not lines.exists():
            pytest.skip(f"this Java writes no perf map: {out.stdout.strip()}")
        try:
            host = Host()
            image = host.image(tgid)
            starts = [int(line.split()[0], 16) for line in lines.read_text().splitlines() if "App.work" in line]
            assert starts
            frames = [host.location(image, start).frames()[0] for start in starts]
            assert {(frame.function, frame.kind) for frame in frames} == {("App.work", FrameKind.JVM)}
        finally:
            lines.unlink()


@needs_root
def test_a_perf_map_of_another_pid_and_mount_namespace(tmp_path: Path) -> None:
    need("unshare", "node")
    (tmp_path / "app.js").write_text(NODE)
    flags = " ".join([*NODE_FLAGS, "--logfile=/tmp/v8.log"])
    script = f"mount -t tmpfs none /tmp && exec node {flags} /run/app.js"
    shutil.copy(tmp_path / "app.js", "/run/app.js")
    try:
        with started(["unshare", "--mount", "--pid", "--fork", "--mount-proc", "sh", "-c", script]) as tgid:
            inner = descendant(tgid)
            lines = Path(f"/proc/{inner}/root", "tmp/perf-1.map")
            wait_for(lambda: lines.exists() and "fib " in lines.read_text())
            host = Host()
            image = host.image(inner)
            starts = [int(line.split()[0], 16) for line in lines.read_text().splitlines() if "fib " in line]
            assert "fib" in {host.function(image, start) for start in starts if is_generated(image, start)}
    finally:
        Path("/run/app.js").unlink()


MAPPER = """
import ctypes, mmap, signal
page = mmap.mmap(-1, 1 << 16, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC)
print("ready", ctypes.addressof(ctypes.c_char.from_buffer(page)), flush=True)
signal.pause()
"""


def test_generated_code_without_a_perf_map_is_one_location() -> None:
    command = [sys.executable, "-c", MAPPER]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as child:
        try:
            assert child.stdout is not None
            start = int(child.stdout.readline().split()[1])
            host = Host()
            image = host.image(child.pid)
            named = host.live.user_locations(image, range(start, start + (1 << 16), 64))
            assert {each.location.frames()[0].function for each in named} == {"[anon]"}
            assert not any(each.is_final for each in named), "a perf map may still come"
            assert len({each.location for each in named}) == 1
        finally:
            child.kill()
