"""Where the kernel, the rights or the compiler do not allow profiling, the agent ends with 3 and says what to do."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from producers.kernel.programs import loaded_names

pytestmark = [pytest.mark.kernel, pytest.mark.usefixtures("kernel")]
_ROOT = Path(__file__).resolve().parents[2]
_REFUSAL = Path(__file__).with_name("refusal.py")
_MAP_CREATE, _PROGRAM_LOAD = "0", "5"


def agent(
    folder: Path, *, before: str = "", hide: tuple[str, ...] = (), cache: str | None = None
) -> subprocess.CompletedProcess[str]:
    """Run the agent behind another command, in a mount namespace of its own where some folders are empty.

    The host's lock is hidden too: whether another agent runs here is no matter of these tests. The bytecode is the
    user's, compiled once, unless the test has a cache of its own.
    """
    home = {"HOME": os.environ["HOME"]}
    words = ["-m", "flamebus", "agent", "--duration", "1s", "--spool", str(folder / "spool")]
    command = f"{before} {shlex.join([sys.executable, *words])}"
    mounts = "".join(f"mount -t tmpfs none {path} && " for path in ("/run/lock", *hide))
    return subprocess.run(
        ["unshare", "--mount", "sh", "-c", f"{mounts} exec {command}"],
        cwd=_ROOT,
        env={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", **home, **({"XDG_CACHE_HOME": cache} if cache else {})},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def is_told(done: subprocess.CompletedProcess[str], *words: str) -> None:
    assert done.returncode == 3, done.stderr
    assert "Traceback" not in done.stderr
    missing = [word for word in words if word not in done.stderr]
    assert not missing, done.stderr


def test_without_compiler_and_bytecode_it_says_what_to_install(tmp_path: Path) -> None:
    done = agent(tmp_path, hide=("/usr/lib/python3/dist-packages",), cache=str(tmp_path))
    is_told(done, "bytecode", "apt-get install python3-bpfcc")


@pytest.mark.parametrize("capabilities", ["-bpf,-sys_admin", "-perfmon,-sys_admin", "-all"])
def test_without_a_capability_it_says_which_are_needed(tmp_path: Path, capabilities: str) -> None:
    before = f"setpriv --bounding-set={capabilities} --inh-caps={capabilities}"
    is_told(agent(tmp_path, before=before), "CAP_BPF", "CAP_PERFMON")


@pytest.mark.parametrize(
    ("call", "command", "error", "remedy"),
    [
        ("bpf", _MAP_CREATE, "EINVAL", "Linux 5.8"),  # a kernel that knows no ring buffer
        ("bpf", _PROGRAM_LOAD, "EINVAL", "Linux 5.8"),
        ("bpf", "any", "ENOSYS", "seccomp"),
        ("bpf", _MAP_CREATE, "ENOMEM", "memory"),
        ("perf_event_open", "any", "EACCES", "CAP_PERFMON"),  # kernel.perf_event_paranoid, or a container's filter
        ("perf_event_open", "any", "ENOENT", "does not offer"),
    ],
)
def test_a_kernel_that_refuses_is_told_with_what_to_do(
    tmp_path: Path, call: str, command: str, error: str, remedy: str
) -> None:
    before = shlex.join([sys.executable, str(_REFUSAL), call, command, error])
    is_told(agent(tmp_path, before=before), "cannot", remedy)


def test_a_refused_start_leaves_no_program(tmp_path: Path) -> None:
    before = loaded_names()
    refused = shlex.join([sys.executable, str(_REFUSAL), "perf_event_open", "any", "EACCES"])
    agent(tmp_path, before=refused)
    assert len(loaded_names()) <= len(before)
