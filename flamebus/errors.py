"""The one error tree: every failure a person can meet has a class, an exit code, and says whether a retry may help."""


class FlamebusError(Exception):
    """Something failed; the message says what, where, and what to do.

    Attributes:
        exit_code: what the command line exits with.
        retriable: whether the same call may succeed later without a change by the caller.
    """

    exit_code = 1
    retriable = False


class UsageError(FlamebusError):
    """The caller asked for something that makes no sense (a reversed time range, an unknown service)."""

    exit_code = 2


class KernelUnavailableError(FlamebusError):
    """The kernel, its headers or our capabilities do not allow profiling here."""

    exit_code = 3


class UnavailableError(FlamebusError):
    """A server we depend on cannot be reached or refuses us."""

    exit_code = 4
    retriable = True


class BusUnavailableError(UnavailableError):
    """The Kafka cluster cannot be reached or refuses us."""


class StoreUnavailableError(UnavailableError):
    """The object store cannot be read or written."""


class InfluxUnavailableError(UnavailableError):
    """InfluxDB cannot be reached or refuses us."""


class SetupError(FlamebusError):
    """The installation is not what it should be (files in the wrong place, a library of the wrong version)."""


class BadDataError(FlamebusError):
    """Data that came from outside breaks the contract.

    Attributes:
        reason: short stable word for counters and dead-letter headers, such as ``truncated`` or ``unknown_version``.
    """

    exit_code = 5

    def __init__(self, reason: str, message: str) -> None:
        """Keep the stable ``reason`` apart from the ``message`` for people."""
        super().__init__(message)
        self.reason = reason
