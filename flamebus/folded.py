"""Folded text, the edge format of flame-graph tools: ``root;caller;leaf value``, root first, one stack a line."""

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from flamebus.errors import BadDataError

_COUNT = re.compile(r"[0-9]+(?:\.[0-9]*)?(?:[eE][+-]?[0-9]+)?")
_MAX_COUNT = 2**53
"""Counts are added up as float64, which holds every whole number up to here."""


def format_folded(stacks: Iterable[tuple[Sequence[str], int]]) -> Iterator[str]:
    """Lines of folded text.

    Args:
        stacks: function names leaf first, and a value. A ``;`` or a line break inside a name becomes ``:`` or a space,
            since the format cannot quote.
    """
    for functions, value in stacks:
        names = (name.replace(";", ":").replace("\n", " ").replace("\r", " ") for name in reversed(functions))
        yield f"{';'.join(names)} {value}"


@dataclass(frozen=True, slots=True)
class FoldedStack:
    """One line: function names leaf first, with their annotations such as ``_[k]``, and the count, ≥ 0."""

    functions: tuple[str, ...]
    count: int | float


def parse_folded_line(line: str) -> FoldedStack | None:
    """The stack of one line, ``None`` for a blank line or a ``#`` comment.

    The count is what follows the last space, so that names may hold spaces; it may have a fraction. Names without a
    character (``a;;b``) say nothing and are left out.

    Raises:
        BadDataError: ``malformed``, ``negative`` or ``overflow``, without the place, which the caller knows.
    """
    text = line.strip()
    if not text or text.startswith("#"):
        return None
    parts = text.rsplit(None, 1)
    functions = tuple(name for name in reversed(parts[0].split(";")) if name)
    if len(parts) < 2 or not functions or not _COUNT.fullmatch(parts[1].removeprefix("-")):
        raise BadDataError("malformed", f"not 'root;…;leaf count': {text[:80]!r}")
    if parts[1].startswith("-"):
        raise BadDataError("negative", f"the count is negative, as in a difference of two profiles: {parts[1][:40]}")
    count = int(parts[1]) if parts[1].isdigit() and len(parts[1]) < 20 else float(parts[1])
    if count > _MAX_COUNT:
        raise BadDataError("overflow", f"the count {parts[1][:40]} is above 2**53")
    return FoldedStack(functions, int(count) if count == int(count) else count)
