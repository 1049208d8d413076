"""One agent per host: a second one would take every sample twice."""

import fcntl
import os
from pathlib import Path

from flamebus.errors import KernelUnavailableError, UsageError
from producers.kernel.syscalls import RIGHTS

DEFAULT_LOCK = Path("/run/lock/flamebus-agent.lock")


class HostLock:
    """Held from construction until :meth:`release` or the end of the process, however it ends."""

    def __init__(self, path: Path = DEFAULT_LOCK) -> None:
        """Take the lock.

        Raises:
            KernelUnavailableError: we may not write it.
            UsageError: another agent holds it, or the file cannot be made.
        """
        try:
            self._descriptor = _open(path)
        except PermissionError as error:
            raise KernelUnavailableError(f"cannot open the agent's lock {path}: {error.strerror}; {RIGHTS}") from error
        except OSError as error:
            raise UsageError(f"cannot open the agent's lock {path}: {error.strerror}") from error
        try:
            fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            holder = os.read(self._descriptor, 20).decode(errors="replace").strip() or "unknown"
            os.close(self._descriptor)
            raise UsageError(
                f"another flamebus agent (pid {holder}) runs on this host and samples all its processes: stop it first"
            ) from error
        os.ftruncate(self._descriptor, 0)
        os.pwrite(self._descriptor, f"{os.getpid()}\n".encode(), 0)

    def release(self) -> None:
        """Let the next agent start."""
        os.close(self._descriptor)


def _open(path: Path) -> int:
    """Opens what is there before it makes anything: where /tmp is protected, root may not make another's file anew."""
    try:
        return os.open(path, os.O_RDWR | os.O_CLOEXEC)
    except FileNotFoundError:
        return os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
