"""Lives of processes: which image a sample belongs to, and what it can still be asked."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import pytest

from flamebus.profile import attribute
from producers.identity import identify
from producers.image import MAX_ANCESTORS
from producers.lives import Comm, EventsLost, Exit, Fork, Mmap, ProcessEvent
from producers.processes import Processes
from producers.procfs import ProcFs
from producers.service_rules import ServiceRules

if TYPE_CHECKING:
    from pathlib import Path

    from producers.image import Image

SECOND = 10**9
TICK = ProcFs.tick_ns
SHELL, CHILD, OTHER = 100, 200, 300
LIBC = "/usr/lib/libc.so.6"


class Proc:
    """A folder that looks like /proc."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def lives(
        self,
        tgid: int,
        *,
        start: int = 0,
        command: str = "sh",
        executable: str = "/bin/sh",
        variables: str = "",
        cgroup: str = "0::/",
        maps: str = "",
        threads: int = 1,
        state: str = "S",
        flags: int = 0,
    ) -> None:
        folder = self.root / str(tgid)
        folder.mkdir(parents=True, exist_ok=True)
        fields = [state, "1", *["0"] * 4, str(flags), *["0"] * 10, str(threads), "0", str(start // TICK), "0"]
        (folder / "stat").write_text(f"{tgid} (a) b) {' '.join(fields)}\n")
        for comm in (folder / "comm", folder / "task" / str(tgid) / "comm"):
            comm.parent.mkdir(parents=True, exist_ok=True)
            comm.write_text(f"{command}\n")
        (folder / "cmdline").write_bytes(executable.encode() + b"\0")
        (folder / "environ").write_bytes((variables or "A=1").replace(";", "\0").encode())
        (folder / "cgroup").write_text(f"{cgroup}\n")
        (folder / "maps").write_text(maps)
        if executable:
            (folder / "exe").unlink(missing_ok=True)
            (folder / "exe").symlink_to(executable)

    def dies(self, tgid: int) -> None:
        (self.root / str(tgid)).rename(self.root / f"gone-{tgid}-{len(list(self.root.iterdir()))}")

    def processes(self, limit_count: int = 1_000) -> Processes:
        return Processes(ProcFs(self.root), partial(identify, rules=ServiceRules()), limit_count)


@pytest.fixture
def proc(tmp_path: Path) -> Proc:
    return Proc(tmp_path)


def service(image: Image) -> str:
    return attribute(image.resource, "service.name")


def program(tgid: int, name: str, at: int, base: int = 0x1000) -> list[ProcessEvent]:
    return [
        Comm(tgid, tgid, name, is_exec=True, time_boot_nano=at),
        mmap(tgid, f"/bin/{name}", base, at + 1),
        mmap(tgid, LIBC, base + 0x10000, at + 2),
    ]


def mmap(tgid: int, path: str, start: int, at: int, length: int = 0x1000) -> Mmap:
    return Mmap(tgid, start, length, 0, 7, 1, path, b"\xab" * 20, at, is_executable=True)


def where(image: Image, address: int) -> str:
    mapped = image.space.find(address) if image.space else None
    return mapped.file.path if mapped else ""


def test_a_process_that_was_there_before_is_read_when_it_is_sampled(proc: Proc) -> None:
    maps = (
        "1000-2000 r--p 00000000 08:01 7 /bin/sh\n"
        "2000-3000 r-xp 00001000 08:01 7 /bin/sh\n"
        "4000-5000 r-xp 00000000 08:01 8 /opt/with space.so (deleted)\n"
        "6000-7000 rwxp 00000000 00:00 0 \n"
        "8000-9000 r-xp 00000000 00:00 0 [vdso]\n"
    )
    proc.lives(SHELL, start=SECOND, variables="A=1;OTEL_SERVICE_NAME=shop;SECRET=x", maps=maps)
    image = proc.processes().image(SHELL, 5 * SECOND)
    assert service(image) == "shop"
    assert image.facts is not None
    assert image.facts.environment == {"OTEL_SERVICE_NAME": "shop"}
    assert [where(image, address) for address in (0x1000, 0x2FFF, 0x3000, 0x4000, 0x6000, 0x8000)] == [
        "", "/bin/sh", "", "/opt/with space.so", "//anon", "[vdso]",
    ]  # fmt: skip
    assert image.space is not None
    deleted = image.space.find(0x4000)
    assert deleted is not None
    assert (deleted.file.is_deleted, deleted.file.inode, deleted.offset) == (True, 8, 0)


def test_a_program_that_has_gone_unread_keeps_its_name_and_mappings(proc: Proc) -> None:
    proc.lives(SHELL, variables="OTEL_SERVICE_NAME=batch", cgroup="0::/system.slice/batch.service")
    processes = proc.processes()
    processes.apply([Fork(CHILD, SHELL, SECOND), *program(CHILD, "short", SECOND + 10), Exit(CHILD, CHILD, 2 * SECOND)])
    image = processes.image(CHILD, SECOND + 500)
    assert dict(image.resource) == {
        "process.executable.name": "short",
        "service.name": "batch",
        "systemd.unit": "batch.service",
    }
    assert where(image, 0x1800) == "/bin/short"
    assert where(image, 0x11800) == LIBC
    processes.forget(3 * SECOND)
    assert len(processes) == 1  # the shell, which was asked for its environment


def test_each_sample_goes_to_the_program_that_ran_at_its_time(proc: Proc) -> None:
    processes = proc.processes()
    processes.apply(
        [
            Fork(CHILD, SHELL, SECOND),
            *program(CHILD, "first", 2 * SECOND),
            *program(CHILD, "second", 3 * SECOND),
            Exit(CHILD, CHILD, 4 * SECOND),
            Fork(CHILD, OTHER, 5 * SECOND),
            *program(CHILD, "third", 6 * SECOND),
        ]
    )
    found = [service(processes.image(CHILD, int(at * SECOND))) for at in (2.5, 3.5, 4.2, 6.5)]
    assert found == ["first", "second", "second", "third"]
    keys = {processes.image(CHILD, int(at * SECOND)).key for at in (1.5, 2.5, 3.5, 6.5)}
    assert len(keys) == 4


def test_a_fork_shares_what_addresses_mean_until_one_of_the_two_maps_more(proc: Proc) -> None:
    processes = proc.processes()
    processes.apply([*program(SHELL, "server", SECOND), Fork(CHILD, SHELL, 2 * SECOND)])
    parent, child = processes.image(SHELL, 3 * SECOND), processes.image(CHILD, 3 * SECOND)
    assert parent.key == child.key
    assert service(child) == "server"
    processes.apply([mmap(CHILD, "/lib/plugin.so", 0x90000, 4 * SECOND)])
    assert parent.key != child.key
    assert (where(parent, 0x90000), where(child, 0x90000)) == ("", "/lib/plugin.so")
    key = parent.key
    processes.apply([mmap(SHELL, "/lib/other.so", 0x90000, 5 * SECOND)])
    assert parent.key == key, "nothing that had a meaning has another one now"
    assert where(parent, 0x90000) == "/lib/other.so"


@pytest.mark.parametrize("name", ["cmdline", "environ"])
def test_a_program_read_in_the_middle_of_its_exec_is_read_again(proc: Proc, name: str) -> None:
    proc.lives(SHELL, variables="OTEL_SERVICE_NAME=late")
    path = proc.root / str(SHELL) / name
    whole = path.read_bytes()
    path.write_bytes(b"")
    processes = proc.processes()
    processes.apply(program(SHELL, "early", SECOND))
    assert service(processes.image(SHELL, 2 * SECOND)) == "early"
    path.write_bytes(whole)
    assert service(processes.image(SHELL, 3 * SECOND)) == "late"
    path.write_bytes(b"")
    assert service(processes.image(SHELL, 4 * SECOND)) == "late"


def test_a_program_that_has_wiped_its_arguments_is_read_in_the_end(proc: Proc) -> None:
    proc.lives(SHELL, variables="OTEL_SERVICE_NAME=wiped")
    (proc.root / str(SHELL) / "cmdline").write_bytes(b"")
    processes = proc.processes()
    found = [service(processes.image(SHELL, at * SECOND)) for at in range(1, 12)]
    assert (found[0], found[-1]) == ("sh", "wiped")


def test_a_file_mapped_over_another_gives_addresses_a_new_meaning(proc: Proc) -> None:
    processes = proc.processes()
    processes.apply(program(SHELL, "server", SECOND))
    image = processes.image(SHELL, 2 * SECOND)
    key = image.key
    processes.apply([mmap(SHELL, "/bin/server", 0x1000, 2 * SECOND)])
    assert image.key == key, "the same again"
    processes.apply([mmap(SHELL, "/lib/plugin.so", 0x1800, 3 * SECOND, length=0x400)])
    assert image.key != key
    assert [where(image, at) for at in (0x17FF, 0x1800, 0x1BFF, 0x1C00)] == [
        "/bin/server", "/lib/plugin.so", "/lib/plugin.so", "/bin/server",
    ]  # fmt: skip
    assert image.space is not None
    rest = image.space.find(0x1C00)
    assert rest is not None
    assert rest.offset == 0xC00


def test_a_process_id_used_again_is_not_taken_for_the_one_before(proc: Proc) -> None:
    proc.lives(SHELL, start=SECOND, command="old", executable="/bin/old")
    processes = proc.processes()
    assert service(processes.image(SHELL, 2 * SECOND)) == "old"
    proc.dies(SHELL)
    proc.lives(SHELL, start=10 * SECOND, command="new", executable="/bin/new")
    assert service(processes.image(SHELL, 11 * SECOND)) == "old", "no event, so nothing has changed"
    processes.apply([EventsLost(3, 12 * SECOND)])
    assert service(processes.image(SHELL, 13 * SECOND)) == "new"


def test_a_newcomer_is_not_asked_about_the_samples_of_one_that_has_gone(proc: Proc) -> None:
    proc.lives(SHELL, start=10 * SECOND, variables="OTEL_SERVICE_NAME=newcomer")
    processes = proc.processes()
    assert service(processes.image(SHELL, 5 * SECOND)) == "unknown_service"
    processes.apply([*program(CHILD, "gone", 5 * SECOND)])
    proc.lives(CHILD, start=10 * SECOND, variables="OTEL_SERVICE_NAME=newcomer")
    assert service(processes.image(CHILD, 6 * SECOND)) == "gone"


def test_after_lost_records_the_living_are_read_again(proc: Proc) -> None:
    proc.lives(SHELL, executable="/bin/one", command="one", maps="1000-2000 r-xp 0 08:01 7 /bin/one\n")
    processes = proc.processes()
    first = processes.image(SHELL, SECOND)
    proc.lives(
        SHELL,
        executable="/bin/one",
        command="one",
        maps="1000-2000 r-xp 0 08:01 7 /bin/one\n3000-4000 r-xp 0 08:01 9 /lib/x.so\n",
    )
    processes.apply([EventsLost(1, 2 * SECOND)])
    assert processes.image(SHELL, 3 * SECOND) is first
    assert where(first, 0x3000) == "/lib/x.so", "a mapping was missed"
    proc.lives(SHELL, executable="/bin/two", command="two")
    processes.apply([EventsLost(1, 4 * SECOND)])
    second = processes.image(SHELL, 5 * SECOND)
    assert service(second) == "two", "an exec was missed"
    assert processes.image(SHELL, 3 * SECOND) is first
    proc.dies(SHELL)
    processes.apply([EventsLost(1, 6 * SECOND)])
    assert service(processes.image(SHELL, 7 * SECOND)) == "two", "an exit was missed"
    processes.forget(8 * SECOND)
    assert len(processes) == 0


def test_a_process_whose_main_thread_ended_lives_on_with_the_others(proc: Proc) -> None:
    proc.lives(SHELL, maps="1000-2000 r-xp 0 08:01 7 /bin/sh\n")
    processes = proc.processes()
    image = processes.image(SHELL, SECOND)
    proc.lives(SHELL, state="Z", threads=3)
    processes.apply([Exit(SHELL, SHELL, 2 * SECOND)])
    processes.forget(3 * SECOND)
    assert processes.image(SHELL, 9 * SECOND) is image
    assert where(image, 0x1000) == "/bin/sh"


def test_names_of_threads_are_followed_and_forgotten_with_them(proc: Proc) -> None:
    proc.lives(SHELL)
    processes = proc.processes()
    image = processes.image(SHELL, SECOND)
    processes.apply([Comm(SHELL, 101, "pool-1", is_exec=False, time_boot_nano=SECOND), Exit(SHELL, 101, 2 * SECOND)])
    assert image.threads == {101: "pool-1"}
    processes.forget(2 * SECOND)
    assert image.threads == {101: "pool-1"}, "its samples may not have been resolved yet"
    processes.forget(3 * SECOND)
    assert image.threads == {}


def test_kernel_threads_are_one_service_and_what_they_exec_is_not(proc: Proc) -> None:
    proc.lives(2, command="kthreadd", executable="", flags=0x200000)
    processes = proc.processes()
    processes.apply([Fork(CHILD, 2, SECOND), Fork(OTHER, 2, SECOND), *program(OTHER, "modprobe", 2 * SECOND)])
    assert [service(processes.image(tgid, 3 * SECOND)) for tgid in (0, 2, CHILD, OTHER)] == [
        "kernel", "kernel", "kernel", "modprobe",
    ]  # fmt: skip


def test_the_number_of_processes_is_bounded_and_the_least_recent_go_first(proc: Proc) -> None:
    processes = proc.processes(limit_count=10)
    for number in range(1_000, 1_050):
        processes.apply([*program(number, f"p{number}", SECOND)])
    assert len(processes) == 10
    assert service(processes.image(1_049, 2 * SECOND)) == "p1049"
    assert service(processes.image(1_001, 2 * SECOND)) == "unknown_service"


def test_a_line_of_dead_ancestors_is_cut(proc: Proc) -> None:
    processes = proc.processes()
    processes.apply(program(1_000, "daemon", SECOND))
    for number in range(1_001, 1_100):
        processes.apply([Fork(number, number - 1, number * SECOND), Exit(number - 1, number - 1, number * SECOND)])
        processes.forget((number + 1) * SECOND)
    image = processes.image(1_099, 2_000 * SECOND)
    assert len(list(image.lineage())) <= MAX_ANCESTORS
    assert service(image) == "daemon"
    assert where(image, 0x1000) == "/bin/daemon"


def test_a_deep_tree_inherits_all_the_way_down(proc: Proc) -> None:
    proc.lives(1_000, variables="OTEL_SERVICE_NAME=build")
    processes = proc.processes()
    for number in range(1_001, 1_040):
        processes.apply(
            [Fork(number, number - 1, number * SECOND), *program(number, f"p{number}", number * SECOND + 9)]
        )
    image = processes.image(1_039, 2_000 * SECOND)
    assert service(image) == "build"
    assert len(list(image.lineage())) <= MAX_ANCESTORS


def test_one_that_has_gone_is_met_while_its_parent_lives(proc: Proc) -> None:
    proc.lives(SHELL, variables="OTEL_SERVICE_NAME=loop")
    processes = proc.processes()
    processes.apply([Fork(CHILD, SHELL, SECOND), *program(CHILD, "short", SECOND + 9), Exit(CHILD, CHILD, 2 * SECOND)])
    for image in processes.unmet(CHILD):
        processes.meet(image)
    proc.dies(SHELL)
    processes.apply([Exit(SHELL, SHELL, 3 * SECOND)])
    assert service(processes.image(CHILD, SECOND + 500)) == "loop"


def test_more_mappings_than_fit_are_read_again_and_else_dropped(proc: Proc) -> None:
    processes = proc.processes()
    processes.apply(program(SHELL, "jit", SECOND))
    image = processes.image(SHELL, 2 * SECOND)
    for number in range(3_000):
        processes.apply([mmap(SHELL, f"/tmp/{number}", 0x100000 + number * 0x1000, 3 * SECOND)])
    assert image.space is not None
    assert len(image.space) == 2_048
    proc.lives(SHELL, maps="1000-2000 r-xp 0 08:01 7 /bin/jit\n")
    processes.apply([mmap(SHELL, "/tmp/last", 0x5000, 20 * SECOND)])
    assert [each.file.path for each in image.space.mapped] == ["/bin/jit", "/tmp/last"]
    processes.forget(21 * SECOND)
    assert processes.mappings_count == 2
