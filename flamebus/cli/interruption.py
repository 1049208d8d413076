"""Ctrl-C and SIGTERM as something that a verb asks about, never as an exception."""

import select
import signal
import socket
from types import TracebackType
from typing import Self

_ALWAYS = (signal.SIGINT, signal.SIGTERM)


class Interruption:
    """Notes the signals that ask a verb to end; use it as a context manager around all that the verb does.

    An exception out of a signal handler may land anywhere: in a clean-up, which is then not finished, or inside a
    library's ``exec()``, after which Python ends by SIGINT even though the exception was caught. Here nothing lands
    anywhere: the verb looks when it is ready to, and a second signal changes nothing.
    """

    def __init__(self) -> None:
        self._reader, self._writer = socket.socketpair()
        self._writer.setblocking(False)  # noqa: FBT003 - how sockets spell it
        self._has_come = False

    def __enter__(self) -> Self:
        # Who started us under nohup wants us to outlive the terminal.
        may_hang_up = signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN
        for number in (*_ALWAYS, *([signal.SIGHUP] if may_hang_up else [])):
            signal.signal(number, self._note)
        signal.set_wakeup_fd(self._writer.fileno(), warn_on_full_buffer=False)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """The verb has ended; a signal that comes while Python shuts down must not make a failure of it."""
        for number in (*_ALWAYS, signal.SIGHUP):
            signal.signal(number, signal.SIG_IGN)
        signal.set_wakeup_fd(-1)
        self._reader.close()
        self._writer.close()

    def _note(self, _number: int, _frame: object) -> None:
        self._has_come = True

    def has_come(self) -> bool:
        """Whether the verb has been asked to end."""
        return self._has_come

    def wait(self, seconds: float) -> bool:
        """Sleep for so long, or until asked to end; whether that was asked."""
        if not self._has_come:
            select.select([self._reader], [], [], max(0.0, seconds))
        return self._has_come
