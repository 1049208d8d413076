"""Every way in which an address can stay without a name, as a closed set that is counted."""

from collections import Counter
from enum import StrEnum

from flamebus.errors import BadDataError


class SymbolFailure(StrEnum):
    """Why something was not resolved; also the ``reason`` label of the agent's metric.

    Members that count addresses: ``NO_MAPPING``, ``ANONYMOUS``, ``NO_IMAGE``, ``NO_SYMBOL``, ``UNKNOWN_PROCESS``,
    ``KERNEL_HIDDEN``, ``KERNEL_UNKNOWN``. The others count files, lines or cache entries.
    """

    NO_MAPPING = "no_mapping"  # outside everything the process has mapped executable
    ANONYMOUS = "anonymous"  # generated code that no perf map names
    NO_IMAGE = "no_image"  # the mapped file could not be read
    NO_SYMBOL = "no_symbol"  # the file was read but names nothing there
    UNKNOWN_PROCESS = "unknown_process"  # nothing is known of the process, and it has gone
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

    PERF_MAP_TOO_LARGE = "perf_map_too_large"
    PERF_MAP_BAD_LINE = "perf_map_bad_line"
    IMAGE_EVICTED = "image_evicted"  # the cache was full
    ADDRESSES_EVICTED = "addresses_evicted"  # the remembered addresses of one process were dropped to stay in bounds


FailureCounts = Counter[SymbolFailure]


class ImageError(BadDataError):
    """A file cannot be used as a source of symbols; ``reason`` is a :class:`SymbolFailure`."""

    def __init__(self, failure: SymbolFailure, message: str) -> None:
        """Keep the countable ``failure`` apart from the ``message`` for people."""
        super().__init__(failure.value, message)
        self.failure = failure
