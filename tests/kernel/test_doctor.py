"""The doctor on the real kernel: as root, as nobody, with capabilities taken away; and the agent says the same."""

import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

from producers.kernel.programs import loaded_names
from producers.kernel.syscalls import RIGHTS

pytestmark = pytest.mark.kernel
ROOT = Path(__file__).parents[2]
FLAMEBUS = [sys.executable, "-m", "flamebus"]
DEADLINE_S = 60.0


@pytest.fixture(autouse=True)
def real(kernel: None) -> None:
    if shutil.which("setpriv") is None:
        pytest.skip("setpriv is not installed")


def without(*capabilities: str) -> list[str]:
    """Run what follows without some capabilities."""
    dropped = ",".join(f"-{capability}" for capability in capabilities)
    return ["setpriv", f"--bounding-set={dropped}", "--inh-caps=-all"]


def doctor(*prefix: str, arguments: tuple[str, ...] = ()) -> tuple[int, dict[str, dict[str, str]]]:
    """Exit code, and findings by name."""
    command = [*prefix, *FLAMEBUS, "doctor", "--json", *arguments]
    run = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=DEADLINE_S)
    assert run.stdout, run.stderr
    return run.returncode, {found["name"]: found for found in json.loads(run.stdout)}


def with_state(found: dict[str, dict[str, str]], state: str) -> set[str]:
    return {name for name, each in found.items() if each["state"] == state}


def test_everything_is_here_and_nothing_stays() -> None:
    code, found = doctor()
    assert (code, with_state(found, "missing")) == (0, set())
    assert "fb_doctor" not in loaded_names()


def test_without_the_right_to_load_programs() -> None:
    code, found = doctor(*without("bpf", "sys_admin"))
    assert code == 3
    assert {"cap_bpf", "bpf", "ring_buffer", "lru_map"} <= with_state(found, "missing")
    assert found["bpf"]["remedy"] == RIGHTS
    assert not {"cap_perfmon", "cpu_clock"} & with_state(found, "missing")


def test_without_the_right_to_sample() -> None:
    code, found = doctor(*without("perfmon", "sys_admin"))
    assert code == 3
    assert {"cap_perfmon", "cpu_clock", "process_events"} <= with_state(found, "missing")
    assert "cap_bpf" not in with_state(found, "missing")


def test_without_what_only_names_need() -> None:
    code, found = doctor(*without("sys_ptrace", "syslog", "sys_admin", "checkpoint_restore"))
    assert code == 0, "the agent works, with addresses for names"
    assert {"cap_sys_ptrace", "cap_syslog", "mapped_files"} <= with_state(found, "warning")


def test_in_a_container_of_its_own() -> None:
    code, found = doctor("unshare", "--pid", "--fork", "--mount-proc")
    assert (code, with_state(found, "missing")) == (3, {"pid_namespace"})


AS_NOBODY = """
import os, sys
from flamebus.cli import main
sys.argv = ["flamebus", "doctor", "--json"]
output, sys.stdout = sys.stdout, open(os.devnull, "w")
try:
    main()  # first as root: whoever nobody is may not be able to read where Python lies
except SystemExit:
    pass
sys.stdout = output
os.setgroups([])
os.setresgid(65534, 65534, 65534)
os.setresuid(65534, 65534, 65534)
main()
"""


def test_as_nobody() -> None:
    command = [sys.executable, "-c", AS_NOBODY]
    run = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=DEADLINE_S)
    found = {each["name"]: each for each in json.loads(run.stdout)}
    assert run.returncode == 3
    rights = {"cap_bpf", "cap_perfmon", "bpf", "ring_buffer", "cpu_clock", "process_events", "spool"}
    assert rights <= with_state(found, "missing") | ({"spool"} if os.access(ROOT, os.W_OK) else set())
    assert {"cap_sys_ptrace", "cap_syslog"} <= with_state(found, "warning")


def test_servers_that_do_not_answer_are_no_fault_of_the_host(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    arguments = (
        "--bus",
        "kafka://127.0.0.1:1",
        "--store",
        str(tmp_path / "file"),
        "--influx-url",
        "http://127.0.0.1:1",
    )
    code, found = doctor(arguments=arguments)
    assert code == 4
    assert with_state(found, "unreachable") == {"broker", "topics", "store", "influxdb", "influxdb_clock"}


def test_wrong_use_is_told(tmp_path: Path) -> None:
    for arguments in (("--bus", "http://x"), ("--store", "ftp://x"), ("--spool-bytes", "-1")):
        command = [*FLAMEBUS, "doctor", *arguments]
        run = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False, timeout=DEADLINE_S)
        assert (run.returncode, "Traceback" in run.stderr) == (2, False), (arguments, run.stderr)


@pytest.mark.parametrize(("capability", "doing"), [("bpf", "BPF"), ("perfmon", "")])
def test_the_agent_without_a_right_says_the_same(tmp_path: Path, capability: str, doing: str) -> None:
    command = [*without(capability, "sys_admin"), *FLAMEBUS, "agent", "--bus", "kafka://127.0.0.1:1"]
    command += ["--duration", "1s", "--spool", str(tmp_path / "spool")]
    deadline = time.monotonic() + DEADLINE_S
    while True:
        run = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=DEADLINE_S)
        if "another flamebus agent" not in run.stderr or time.monotonic() > deadline:
            break
        time.sleep(0.5)
    assert (run.returncode, RIGHTS in run.stderr, doing in run.stderr) == (3, True, True)
