"""Every way in which an address can stay without a name, as a closed set that is counted."""

from collections import Counter
from enum import StrEnum

from flamebus.errors import BadDataError
from producers import agent_metrics as metrics


class SymbolFailure(StrEnum):
    """Why something was not resolved; also the ``reason`` label of the agent's metric.

    The first group counts addresses, the others count files, entries or names.
    """

    NO_MAPPING = "no_mapping"  # outside everything the process has mapped executable
    ANONYMOUS = "anonymous"  # generated code that no perf map names
    NO_IMAGE = "no_image"  # the mapped file could not be read, for one of the reasons below
    NO_SYMBOL = "no_symbol"  # the file was read but names nothing there
    POSTPONED = "postponed"  # this drain's time for reading tables was used up; the next one names it
    KERNEL_HIDDEN = "kernel_hidden"  # kallsyms shows zeros: kptr_restrict or no CAP_SYSLOG
    KERNEL_UNKNOWN = "kernel_unknown"  # kallsyms names nothing near

    FILE_MISSING = "file_missing"  # neither the process's view nor the host's has the path any more
    FILE_DENIED = "file_denied"  # permission refused
    FILE_REPLACED = "file_replaced"  # the path now holds another file than the one mapped
    NOT_ELF = "not_elf"  # a mapped file that is no ELF file (a .jar, a database)
    UNSUPPORTED_ELF = "unsupported_elf"  # big endian, or a class other than 32 and 64 bits
    TRUNCATED = "truncated"  # a header points outside the file
    TOO_LARGE = "too_large"  # a table that exceeds a limit of ours
    NO_SYMBOL_TABLE = "no_symbol_table"  # fully stripped, without separate debug information
    BAD_DEBUG_DATA = "bad_debug_data"  # the compressed symbol table inside the file is broken
    DEBUG_MISMATCH = "debug_mismatch"  # the debug file on disk belongs to another build

    PERF_MAP_REFUSED = "perf_map_refused"  # no regular file, or one that neither the process's user nor root owns
    PERF_MAP_TOO_LARGE = "perf_map_too_large"  # the part beyond the limit is not read
    PERF_MAP_BAD_LINE = "perf_map_bad_line"
    NAME_REFUSED = "name_refused"  # a C++ name made to blow up when it is demangled
    IMAGE_EVICTED = "image_evicted"  # the cache was full


class FailureCounts:
    """Counts by reason, here and in the agent's metric."""

    def __init__(self) -> None:
        self._counts: Counter[SymbolFailure] = Counter()

    def __getitem__(self, failure: SymbolFailure) -> int:
        """How often since the start."""
        return self._counts[failure]

    def note(self, failure: SymbolFailure, count: int = 1) -> None:
        """Count ``count`` more."""
        self._counts[failure] += count
        metrics.SYMBOL_FAILURES.labels(failure.value).inc(count)

    def by_reason(self) -> dict[SymbolFailure, int]:
        """All that have occurred."""
        return dict(self._counts)


class ImageError(BadDataError):
    """A file cannot be used as a source of symbols; ``reason`` is a :class:`SymbolFailure`."""

    def __init__(self, failure: SymbolFailure, message: str) -> None:
        """Keep the countable ``failure`` apart from the ``message`` for people."""
        super().__init__(failure.value, message)
        self.failure = failure
