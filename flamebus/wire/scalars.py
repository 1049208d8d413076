"""The kinds of single values that records hold, and the one way to read each."""

import math
import re
from collections.abc import Callable, Mapping
from enum import StrEnum

from flamebus.errors import BadDataError

MAX_COUNT = 2**63 - 1
MAX_HASH = 2**64 - 1
ID_BYTES = 16
WORD = r"^[a-z][a-z0-9_]{0,63}$"
"""Words become parts of topics, paths, labels and tags, so they hold nothing that any of those would have to escape."""

_WORD = re.compile(WORD.removeprefix("^").removesuffix("$"))


class Scalar(StrEnum):
    """What a field may hold.

    Attributes:
        TEXT: any string.
        WORD: lower-case ASCII letters, digits and ``_``, a letter first, at most 64.
        COUNT: whole number in [0, 2**63): counts, sums, and times in ns.
        HASH: whole number in [0, 2**64).
        NUMBER: finite number ≥ 0.
        FRACTION: number in [0, 1].
        ID: 16 bytes.
    """

    TEXT = "text"
    WORD = "word"
    COUNT = "count"
    HASH = "hash"
    NUMBER = "number"
    FRACTION = "fraction"
    ID = "id"


def read_scalar(key: str, value: object, kind: Scalar) -> object:
    """The value as its kind says; whole numbers are taken for NUMBER and FRACTION, as other languages write 1.0 as 1.

    Raises:
        BadDataError: ``wrong_type``, ``negative``, ``overflow`` or ``not_finite``.
    """
    return _READERS[kind](key, value)


def read_text(key: str, value: object) -> str:
    """A string.

    Raises:
        BadDataError: ``wrong_type``.
    """
    if not isinstance(value, str):
        raise BadDataError("wrong_type", f"{key} is {_name(value)}, not a string")
    return value


def read_count(key: str, value: object, maximum: int = MAX_COUNT) -> int:
    """A whole number in [0, maximum]; a boolean is none.

    Raises:
        BadDataError: ``wrong_type``, ``negative`` or ``overflow``.
    """
    if not isinstance(value, int) or isinstance(value, bool):
        raise BadDataError("wrong_type", f"{key} is {_name(value)}, not a whole number")
    if value < 0:
        raise BadDataError("negative", f"{key} is negative: {value}")
    if value > maximum:
        raise BadDataError("overflow", f"{key} is {value}; the largest is {maximum}")
    return value


def _read_word(key: str, value: object) -> str:
    word = read_text(key, value)
    if not _WORD.fullmatch(word):
        raise BadDataError("wrong_type", f"{key} is {_shown(word)}, not a word of a to z, 0 to 9 and _")
    return word


def _read_hash(key: str, value: object) -> int:
    return read_count(key, value, MAX_HASH)


def _read_number(key: str, value: object, maximum: float = math.inf) -> float:
    if not isinstance(value, int | float) or isinstance(value, bool):
        raise BadDataError("wrong_type", f"{key} is {_name(value)}, not a number")
    if not math.isfinite(value):
        raise BadDataError("not_finite", f"{key} is {value}")
    if value < 0:
        raise BadDataError("negative", f"{key} is negative: {value}")
    if value > maximum:
        raise BadDataError("overflow", f"{key} is {value}; the largest is {maximum}")
    return float(value)


def _read_fraction(key: str, value: object) -> float:
    return _read_number(key, value, 1.0)


def _read_id(key: str, value: object) -> bytes:
    if not isinstance(value, bytes) or len(value) != ID_BYTES:
        raise BadDataError("wrong_type", f"{key} is {_name(value)}, not {ID_BYTES} bytes")
    return value


_READERS: dict[Scalar, Callable[[str, object], object]] = {
    Scalar.TEXT: read_text,
    Scalar.WORD: _read_word,
    Scalar.COUNT: read_count,
    Scalar.HASH: _read_hash,
    Scalar.NUMBER: _read_number,
    Scalar.FRACTION: _read_fraction,
    Scalar.ID: _read_id,
}


def check_schema(record: Mapping[str, object], schema: str, version: int) -> None:
    """Check what a record says it is.

    Raises:
        BadDataError: ``unknown_schema`` or ``unknown_version``.
    """
    found = record.get("schema")
    if found != schema:
        raise BadDataError("unknown_schema", f"schema is {_shown(found)}, not {schema!r}")
    number = record.get("schema_version")
    if type(number) is not int or number != version:  # True and 1.0 equal 1
        raise BadDataError("unknown_version", f"schema_version is {_shown(number)}; we read {version}")


def check_complete(record: Mapping[str, object], *names: str) -> None:
    """Check that nothing is missing.

    Raises:
        BadDataError: ``missing_field``.
    """
    missing = [name for name in names if name not in record]
    if missing:
        raise BadDataError("missing_field", f"the record lacks {', '.join(missing)}")


def _shown(value: object) -> str:
    """A value from outside, short enough for a message."""
    return repr(value)[:80]


def _name(value: object) -> str:
    return "nil" if value is None else type(value).__name__
