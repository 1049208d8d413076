"""The formats that can be imported, and how one is known."""

from enum import StrEnum

from flamebus.errors import BadDataError, SetupError
from flamebus.folded import parse_folded_line
from flamebus.importing.folded_text import read_folded
from flamebus.importing.foreign import ForeignProfile, ReadOptions
from flamebus.importing.perf_records import is_perf_script
from flamebus.importing.perf_script import read_perf_script
from flamebus.importing.source import Source


class Format(StrEnum):
    """What can be imported; ``auto`` looks at the beginning."""

    AUTO = "auto"
    FOLDED = "folded"
    PERF_SCRIPT = "perf-script"
    PPROF = "pprof"


def detect(source: Source) -> Format:
    """The format, by the input's first 64 KiB.

    Raises:
        BadDataError: ``unknown_schema``: none of them.
    """
    if source.is_binary:
        return Format.PPROF
    head = source.head.decode(errors="replace")
    if is_perf_script(head):
        return Format.PERF_SCRIPT
    if _is_folded(head):
        return Format.FOLDED
    raise BadDataError(
        "unknown_schema",
        f"{source.name} is neither folded text nor perf script's text nor a pprof profile; it begins {head[:60]!r}",
    )


def _is_folded(head: str) -> bool:
    for line in head.splitlines():
        try:
            stack = parse_folded_line(line)
        except BadDataError as error:
            return error.reason != "malformed"  # a number is there, if one that is not allowed
        if stack:
            return True
    return False


def read(source: Source, form: Format, options: ReadOptions) -> ForeignProfile:
    """The profile in an input of a known format (not ``auto``).

    Raises:
        BadDataError: it cannot be read.
        UsageError: it does not have what the options ask for.
        SetupError: pprof without the library for it.
    """
    if form is Format.FOLDED:
        return read_folded(source, options)
    if form is Format.PERF_SCRIPT:
        return read_perf_script(source, options)
    try:
        from flamebus.importing.pprof import read_pprof
    except ImportError as error:
        raise SetupError("pprof profiles need the library protobuf: pip install 'flamebus[import]'") from error
    return read_pprof(source, options)
