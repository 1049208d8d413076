"""Checks of what this process may do."""

from __future__ import annotations

from functools import partial
from pathlib import Path

from producers.doctor import Check, Finding, State
from producers.kernel.syscalls import RIGHTS
from producers.symbols.kernel import KernelSymbols

_PROC = Path("/proc")
_NUMBERS = {"CAP_SYS_PTRACE": 19, "CAP_SYS_ADMIN": 21, "CAP_SYSLOG": 34, "CAP_PERFMON": 38, "CAP_BPF": 39}
_INITIAL_PID_NAMESPACE = "pid:[4026531836]"  # PROC_PID_INIT_INO of include/linux/proc_ns.h
_LOCKDOWN = Path("/sys/kernel/security/lockdown")


def rights_checks(proc: Path = _PROC, lockdown: Path = _LOCKDOWN) -> tuple[Check, ...]:
    """All of them.

    Args:
        proc: where procfs is.
        lockdown: the file that says how far the kernel is locked down.
    """
    return (
        Check("cap_bpf", "loads programs and makes maps", partial(capability, "CAP_BPF", proc, State.MISSING)),
        Check("cap_perfmon", "samples all processes", partial(capability, "CAP_PERFMON", proc, State.MISSING)),
        Check("cap_sys_ptrace", "reads what other processes map", partial(capability, "CAP_SYS_PTRACE", proc)),
        Check("cap_syslog", "reads kernel addresses", partial(capability, "CAP_SYSLOG", proc)),
        Check("mapped_files", "opens deleted and replaced programs of others", partial(mapped_files, proc)),
        Check("kernel_symbols", "names kernel functions", partial(kernel_symbols, proc)),
        Check("pid_namespace", "recognises processes by their number", partial(pid_namespace, proc)),
        Check("perf_event_paranoid", "lets us sample", partial(perf_event_paranoid, proc)),
        Check("unprivileged_bpf", "lets us load programs", partial(unprivileged_bpf, proc)),
        Check("lockdown", "lets programs read stacks", partial(lockdown_mode, lockdown)),
    )


def capabilities(proc: Path) -> frozenset[str]:
    """Those of ours that matter here and are in force. CAP_SYS_ADMIN includes the two that are split off it."""
    status = (proc / "self" / "status").read_text()
    line = next((line for line in status.splitlines() if line.startswith("CapEff:")), "CapEff: 0")
    mask = int(line.split()[1], 16)
    held = {name for name, number in _NUMBERS.items() if mask >> number & 1}
    return frozenset(held | ({"CAP_BPF", "CAP_PERFMON", "CAP_SYSLOG"} if "CAP_SYS_ADMIN" in held else set()))


def capability(name: str, proc: Path, state: State = State.WARNING) -> Finding:
    """Whether we have a capability."""
    if name in capabilities(proc):
        return Finding(State.OK, "held")
    return Finding(state, "not held", RIGHTS)


def mapped_files(proc: Path) -> Finding:
    """Whether mapped files can be opened by mapping. Our own will do: it is no right that one has over oneself."""
    try:
        with next((proc / "self/map_files").iterdir()).open("rb"):
            return Finding(State.OK, "can be opened")
    except OSError as error:
        remedy = "run as root, or give CAP_CHECKPOINT_RESTORE; without it they keep addresses instead of names"
        return Finding(State.WARNING, f"cannot be opened: {error.strerror}", remedy)


def kernel_symbols(proc: Path) -> Finding:
    """Whether kallsyms shows addresses."""
    table = KernelSymbols(proc / "kallsyms")
    restrict = _number(proc / "sys/kernel/kptr_restrict")
    if table.is_visible:
        return Finding(State.OK, f"{len(table)} functions")
    if restrict == 2:
        return Finding(State.WARNING, "hidden: kernel.kptr_restrict is 2", "sysctl kernel.kptr_restrict=1")
    return Finding(State.WARNING, "hidden from us", "run as root, or give CAP_SYSLOG")


def pid_namespace(proc: Path) -> Finding:
    """Whether our process numbers are the kernel's own."""
    try:
        own = str((proc / "self/ns/pid").readlink())
    except OSError as error:
        return Finding(State.MISSING, f"procfs does not say: {error.strerror}", "mount procfs on /proc")
    if own == _INITIAL_PID_NAMESPACE:
        return Finding(State.OK, "the host's")
    return Finding(
        State.MISSING, f"a container's own, {own}", "start the agent in the host's: --pid=host, hostPID: true"
    )


def perf_event_paranoid(proc: Path) -> Finding:
    """Whether the setting keeps us from sampling; CAP_PERFMON stands above it."""
    value = _number(proc / "sys/kernel/perf_event_paranoid")
    if value is None:
        return Finding(State.MISSING, "no perf events in this kernel", "use a kernel with CONFIG_PERF_EVENTS")
    return _overridden(f"{value}", "CAP_PERFMON", proc, is_open=value < 0)


def unprivileged_bpf(proc: Path) -> Finding:
    """Whether the setting keeps us from loading programs; CAP_BPF stands above it."""
    value = _number(proc / "sys/kernel/unprivileged_bpf_disabled")
    # Even where it is allowed, programs without CAP_BPF may not see other processes.
    return _overridden("not restricted" if value is None else f"{value}", "CAP_BPF", proc, is_open=False)


def _overridden(value: str, name: str, proc: Path, *, is_open: bool) -> Finding:
    if is_open:
        return Finding(State.OK, value)
    if name in capabilities(proc):
        return Finding(State.OK, f"{value}, which {name} overrides")
    return Finding(State.MISSING, f"{value}, and we lack {name}", RIGHTS)


def lockdown_mode(path: Path) -> Finding:
    """Whether the kernel is locked down so far that programs may not read memory."""
    try:
        modes = path.read_text().split()
    except OSError:
        return Finding(State.OK, "not in this kernel, or not shown to us")
    mode = next((each.strip("[]") for each in modes if each.startswith("[")), "none")
    if mode == "confidentiality":
        return Finding(State.MISSING, mode, "boot with lockdown=integrity at most")
    return Finding(State.OK, mode)


def _number(path: Path) -> int | None:
    try:
        return int(path.read_text())
    except (OSError, ValueError):
        return None
