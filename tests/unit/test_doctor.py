"""What the doctor makes of what it finds, on hosts made of files."""

import time
from pathlib import Path

import pytest

from flamebus.cli.doctor import exit_code, text
from flamebus.cli.doctor_servers import influxdb_clock, server_checks, store
from flamebus.config import load
from flamebus.errors import StoreUnavailableError
from producers import doctor_host, doctor_kernel, doctor_rights
from producers.doctor import Check, Finding, Result, State, examine, host_checks

DOCUMENT = Path(__file__).parents[2] / "docs" / "operations.md"
EVERYTHING = {"bus": "kafka://127.0.0.1:1", "store": "there", "influx_url": "http://127.0.0.1:1"}


def all_checks() -> tuple[Check, ...]:
    found = load(EVERYTHING, environment={})
    return (*host_checks("spool", 1), *server_checks(found.settings, found.origins))


def test_every_check_is_documented_and_nothing_else() -> None:
    section = DOCUMENT.read_text().split("\n## Doctor\n")[1].split("\n## ")[0]
    rows = [line.split("|") for line in section.splitlines() if line.startswith("| `")]
    assert [row[1].strip().strip("`") for row in rows] == [check.name for check in all_checks()]


def test_names_are_unique() -> None:
    names = [check.name for check in all_checks()]
    assert len(names) == len(set(names))


def test_servers_are_asked_only_when_named() -> None:
    found = load({}, environment={})
    assert server_checks(found.settings, found.origins) == ()


@pytest.mark.parametrize(
    ("states", "code"),
    [
        ([State.OK], 0),
        ([State.OK, State.WARNING, State.ABSENT], 0),
        ([State.OK, State.UNREACHABLE], 4),
        ([State.UNREACHABLE, State.MISSING], 3),
    ],
)
def test_exit_codes(states: list[State], code: int) -> None:
    assert exit_code([Result("name", "why", state, "found", "") for state in states]) == code


def test_text_says_what_why_and_what_to_do_only_where_something_is_wrong() -> None:
    checks = [
        Check("fine", "is fine", lambda: Finding(State.OK, "here")),
        Check("gone", "samples", lambda: Finding(State.MISSING, "not there", "put it there")),
        Check("later", "heaps", lambda: Finding(State.ABSENT, "none")),
    ]
    lines = [line.split() for line in text(examine(checks)).splitlines()]
    assert lines == [
        ["ok", "fine", "here"],
        ["missing", "gone", "not", "there"],
        ["samples"],
        ["→", "put", "it", "there"],
        ["absent", "later", "none"],
        ["for", "later", "kinds:", "heaps"],
        ["1", "ok,", "1", "missing,", "1", "absent"],
    ]


@pytest.mark.parametrize(
    ("release", "state"),
    [
        ("6.18.44", State.OK),
        ("5.8.0-1", State.OK),
        ("5.7.19", State.MISSING),
        ("4.19", State.MISSING),
        ("?", State.MISSING),
    ],
)
def test_kernel_version(release: str, state: State) -> None:
    assert doctor_kernel.kernel_version(release).state is state


def test_architecture() -> None:
    states = [doctor_kernel.architecture(machine).state for machine in ("x86_64", "aarch64", "riscv64")]
    assert states == [State.OK, State.OK, State.MISSING]


def test_type_information(tmp_path: Path) -> None:
    path = tmp_path / "vmlinux"
    assert [doctor_kernel.btf(path).state, doctor_kernel.tp_btf(path).state] == [State.ABSENT, State.ABSENT]
    path.write_bytes(b"\0other\0")
    assert [doctor_kernel.btf(path).state, doctor_kernel.tp_btf(path).state] == [State.OK, State.ABSENT]
    path.write_bytes(b"\0btf_trace_sched_switch\0")
    assert doctor_kernel.tp_btf(path).state is State.OK


def test_tracepoints_and_event_sources(tmp_path: Path) -> None:
    assert doctor_kernel.tracepoint((tmp_path / "none",)).state is State.ABSENT
    (tmp_path / "events/sched/sched_switch").mkdir(parents=True)
    (tmp_path / "events/sched/sched_switch/id").write_text("372\n")
    assert doctor_kernel.tracepoint((tmp_path / "none", tmp_path)).state is State.OK
    assert doctor_kernel.event_source("kprobe", tmp_path).state is State.ABSENT


@pytest.fixture
def proc(tmp_path: Path) -> Path:
    """A procfs of a process without rights, in a container."""
    (tmp_path / "self/ns").mkdir(parents=True)
    (tmp_path / "sys/kernel").mkdir(parents=True)
    (tmp_path / "self/ns/pid").symlink_to("pid:[4026532222]")
    (tmp_path / "kallsyms").write_text("0000000000000000 T _stext\n")
    give(tmp_path, 0)
    for name, value in (("perf_event_paranoid", 2), ("unprivileged_bpf_disabled", 2), ("kptr_restrict", 1)):
        (tmp_path / "sys/kernel" / name).write_text(f"{value}\n")
    return tmp_path


def give(proc: Path, *numbers: int) -> None:
    """Put capabilities in force."""
    mask = sum(1 << number for number in set(numbers) - {0})
    (proc / "self/status").write_text(f"Name:\tdoctor\nCapEff:\t{mask:016x}\n")


def states(proc: Path) -> dict[str, State]:
    checks = doctor_rights.rights_checks(proc, proc / "lockdown")
    return {result.name: result.state for result in examine(checks)}


def test_without_any_right(proc: Path) -> None:
    found = states(proc)
    missing = {"cap_bpf", "cap_perfmon", "pid_namespace", "perf_event_paranoid", "unprivileged_bpf"}
    assert {name for name, state in found.items() if state is State.MISSING} == missing
    warned = {"cap_sys_ptrace", "cap_syslog", "mapped_files", "kernel_symbols"}
    assert {name for name, state in found.items() if state is State.WARNING} == warned


def test_the_two_capabilities_are_enough_to_sample(proc: Path) -> None:
    give(proc, 38, 39)
    assert {name for name, state in states(proc).items() if state is State.MISSING} == {"pid_namespace"}


def test_sys_admin_includes_what_was_split_off_it(proc: Path) -> None:
    give(proc, 21)
    found = states(proc)
    assert {found[name] for name in ("cap_bpf", "cap_perfmon", "cap_syslog")} == {State.OK}


@pytest.mark.parametrize(
    ("content", "state"),
    [
        ("[none] integrity confidentiality", State.OK),
        ("none [integrity] confidentiality", State.OK),
        ("none integrity [confidentiality]", State.MISSING),
    ],
)
def test_lockdown(proc: Path, content: str, state: State) -> None:
    (proc / "lockdown").write_text(content)
    assert states(proc)["lockdown"] is state


def test_kernel_symbols_say_which_setting_hides_them(proc: Path) -> None:
    (proc / "sys/kernel/kptr_restrict").write_text("2\n")
    assert "kptr_restrict" in doctor_rights.kernel_symbols(proc).remedy
    (proc / "kallsyms").write_text("ffffffff81000000 T _stext\n")
    assert doctor_rights.kernel_symbols(proc).state is State.OK


def test_spool(tmp_path: Path) -> None:
    deep = tmp_path / "a" / "b"
    assert doctor_host.spool_folder(deep, 1).state is State.OK
    assert not deep.exists(), "looking makes nothing"
    assert doctor_host.spool_folder(tmp_path, 1 << 60).state is State.WARNING
    (tmp_path / "file").write_text("")
    for folder in (tmp_path / "file", tmp_path / "file" / "below"):
        assert doctor_host.spool_folder(folder, 1).state is State.MISSING


@pytest.mark.parametrize(
    ("status", "error_us", "state"),
    [(0, 5_000, State.OK), (0x2001, 5_000, State.OK), (0x40, 5_000, State.WARNING), (0, 3_000_000, State.WARNING)],
)
def test_clock(status: int, error_us: int, state: State) -> None:
    assert doctor_host.clock_state(status, error_us).state is state


def test_another_agent_is_no_fault(tmp_path: Path) -> None:
    import fcntl

    path = tmp_path / "lock"
    assert doctor_host.other_agent(path).state is State.OK
    with path.open("w+") as holder:
        holder.write("4711\n")
        holder.flush()
        assert doctor_host.other_agent(path).found == "none runs"
        fcntl.flock(holder, fcntl.LOCK_EX)
        assert doctor_host.other_agent(path) == Finding(
            State.OK, "an agent runs, pid 4711; a second one would be refused"
        )


def test_a_file_where_the_store_should_be(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    found = load({"store": str(tmp_path / "file")}, environment={})
    (result,) = examine(server_checks(found.settings, found.origins))
    assert (result.name, result.state) == ("store", State.UNREACHABLE)
    assert "--store" in result.remedy
    with pytest.raises(StoreUnavailableError):
        store(found.settings)


def test_a_store_that_can_be_written_is_left_as_it_was(tmp_path: Path) -> None:
    found = load({"store": str(tmp_path)}, environment={})
    assert [result.state for result in examine(server_checks(found.settings, found.origins))] == [State.OK]
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("offset_s", "state"), [(0, State.OK), (1, State.OK), (60, State.WARNING), (-60, State.WARNING)]
)
def test_the_clock_of_the_database(offset_s: float, state: State) -> None:
    from http.server import BaseHTTPRequestHandler, HTTPServer
    from threading import Thread

    class Ping(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(204)  # adds the date
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    with HTTPServer(("127.0.0.1", 0), Ping) as server:
        Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
        found = influxdb_clock(f"http://127.0.0.1:{server.server_port}", lambda: time.time() + offset_s)
        server.shutdown()
    assert found.state is state
