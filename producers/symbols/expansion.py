"""How long a demangled C++ name can become at most: the C++ runtime would try it out, however long that takes.

A mangled name may refer back to its own parts, so that 200 bytes can stand for gigabytes. The runtime's demangler has
no limit of its own, and would take the agent's memory and time with it.
"""

import re

MAX_CHARACTERS = 4_000_000
"""Of 220,000 names of LLVM, V8, HotSpot, Arrow and DuckDB this refuses fewer than 1 in 1,000."""

_CHARACTERS_PER_BYTE = 8  # the longest builtin: "y" is unsigned long long, but most bytes are themselves
_STANDARD_CHARACTERS = 80  # "Ss" and its like
_MAX_REFERENCES = 256  # 1 name in 100,000 has more than 30
_MAX_REPARSED = 12  # each template parameter with arguments in a conversion operator is parsed twice: 2^12 times in all
_REFERENCE = re.compile(rb"S([0-9A-Z]*)_|(T)[0-9A-Z]*_|S[a-z]|(Dp)")
_REPARSED = re.compile(rb"T[0-9A-Z]*_I")


def is_bounded(name: bytes) -> bool:
    """Whether demangling ``name`` (Itanium C++ ABI) surely takes little time and memory.

    An upper bound is carried along the name. A back reference ``S4_`` costs at most what had been written when it, or
    any later part such as ``S7_``, was first referred to: parts are numbered in the order in which they end. A template
    parameter costs at most everything before it; a pack expansion multiplies what follows by the size of a pack.
    """
    if b"cv" in name and len(_REPARSED.findall(name)) > _MAX_REPARSED:
        return False
    written, factor, last, count = 0, 1, 0, 0
    parts: list[tuple[int, int]] = []
    for found in _REFERENCE.finditer(name):
        written += factor * _CHARACTERS_PER_BYTE * (found.start() - last)
        last, count = found.end(), count + 1
        number, parameter, pack = found.groups()
        if pack:
            factor *= max(1, len(name) // 8)
        elif parameter:
            written += factor * written
        elif number is None:
            written += factor * _STANDARD_CHARACTERS
        else:
            index = int(number, 36) + 1 if number else 0
            cost = min((bound for part, bound in parts if part >= index), default=written)
            parts.append((index, cost))
            written += factor * cost
        if written > MAX_CHARACTERS or count > _MAX_REFERENCES:
            return False
    return written + factor * _CHARACTERS_PER_BYTE * (len(name) - last) <= MAX_CHARACTERS
