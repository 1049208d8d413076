"""One agent per host: a second one would take every sample twice."""

import fcntl
import os
from pathlib import Path

from flamebus.errors import UsageError

DEFAULT_LOCK = Path("/run/lock/flamebus-agent.lock")


class HostLock:
    """Held from construction until :meth:`release` or the end of the process, however it ends."""

    def __init__(self, path: Path = DEFAULT_LOCK) -> None:
        """Take the lock.

        Raises:
            UsageError: another agent holds it, or the file cannot be made.
        """
        try:
            self._descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
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
