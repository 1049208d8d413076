"""Folded text, the edge format of flame-graph tools: ``root;caller;leaf value``, root first, one stack a line."""

from collections.abc import Iterable, Iterator, Sequence

from flamebus.errors import BadDataError

_MAX_VALUE = 2**62


def format_folded(stacks: Iterable[tuple[Sequence[str], int]]) -> Iterator[str]:
    """Lines of folded text.

    Args:
        stacks: function names leaf first, and a value. A ``;`` or a line break inside a name becomes ``:`` or a space,
            since the format cannot quote.
    """
    for functions, value in stacks:
        names = (name.replace(";", ":").replace("\n", " ").replace("\r", " ") for name in reversed(functions))
        yield f"{';'.join(names)} {value}"


def parse_folded(lines: Iterable[str]) -> Iterator[tuple[tuple[str, ...], int]]:
    """Stacks of folded text: function names leaf first, and the value. Blank lines and ``#`` comments are passed over.

    Raises:
        BadDataError: ``malformed``, naming the line.
    """
    for number, line in enumerate(lines, start=1):
        text = line.strip()
        if not text or text.startswith("#"):
            continue
        stack, _, value = text.rpartition(" ")
        if not stack or not value.isdecimal() or int(value) > _MAX_VALUE:
            raise BadDataError("malformed", f"line {number} is not 'root;…;leaf value': {text[:80]!r}")
        yield tuple(reversed(stack.split(";"))), int(value)
