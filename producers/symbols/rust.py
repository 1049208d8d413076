"""Rust's two schemes of mangling, read as the compiler's own tools print them, without hashes.

*Legacy*: ``_ZN`` + path elements with their lengths + ``17h`` + 16 hexadecimal digits + ``E``, special characters
written as
``$LT$``. *v0*: RFC 2603, names that begin ``_R``. Input is hostile: length, depth and steps are bounded, because back
references can double the output at every step.
"""

from __future__ import annotations

import re
from collections.abc import Callable

_Reader = Callable[[], object]
# One run of characters, not a group that repeats: the lengths in it are read one by one afterwards.
_LEGACY = re.compile(r"_?_ZN(\d\S*)17h[0-9a-f]{16}E(?:\.[\w.@]+)?", re.ASCII)
_ESCAPE = re.compile(r"\$(SP|BP|RF|LT|GT|LP|RP|C|u[0-9a-f]{1,6})\$", re.ASCII)
_ESCAPES = {"SP": "@", "BP": "*", "RF": "&", "LT": "<", "GT": ">", "LP": "(", "RP": ")", "C": ","}
_BASIC_TYPES = {
    "a": "i8", "b": "bool", "c": "char", "d": "f64", "e": "str", "f": "f32", "h": "u8", "i": "isize", "j": "usize",
    "l": "i32", "m": "u32", "n": "i128", "o": "u128", "p": "_", "s": "i16", "t": "u16", "u": "()", "v": "...",
    "x": "i64", "y": "u64", "z": "!",
}  # fmt: skip
_DIGITS = frozenset("0123456789")
_MAX_INPUT_CHARACTERS = 8192
_MAX_OUTPUT_CHARACTERS = 2048
_MAX_DEPTH = 150
_MAX_STEPS = 20_000


class _NotRustError(Exception):
    """The name follows neither scheme."""


class _LongEnoughError(Exception):
    """Enough has been printed; the rest would be cut."""


def demangle_rust(name: str) -> str | None:
    """The Rust path that ``name`` stands for, or None when it is not a Rust name."""
    if len(name) > _MAX_INPUT_CHARACTERS:
        return None
    if name.startswith(("_R", "__R")):
        return _demangle_v0(name[2:] if name[1] == "R" else name[3:])
    match = _LEGACY.fullmatch(name)
    return _demangle_legacy(match.group(1)) if match else None


def _demangle_legacy(elements: str) -> str | None:
    parts = []
    position = 0
    while position < len(elements):
        digits = re.match(r"\d{1,4}", elements[position:], re.ASCII)
        if digits is None:
            return None
        position += digits.end()
        length = int(digits.group())
        part = elements[position : position + length]
        if len(part) != length:
            return None
        parts.append(_unescaped(part))
        position += length
    return "::".join(parts) or None


def _unescaped(part: str) -> str:
    if part.startswith("_$"):
        part = part[1:]
    return _ESCAPE.sub(_unescape, part.replace("..", "::"))


def _unescape(match: re.Match[str]) -> str:
    code = match.group(1)
    if code in _ESCAPES:
        return _ESCAPES[code]
    value = int(code[1:], 16)
    return chr(value) if 0x20 <= value < 0x11_0000 and not 0xD800 <= value < 0xE000 else match.group()


def _demangle_v0(mangled: str) -> str | None:
    printer = _V0(mangled.partition(".")[0])
    try:
        printer.path(in_value=True)
    except _LongEnoughError:
        pass
    except (_NotRustError, IndexError, ValueError):
        return None
    return "".join(printer.out) or None


class _V0:
    """A recursive-descent reader of v0 names that prints while it reads."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.at = 0
        self.out: list[str] = []
        self._length = 0
        self._depth = 0
        self._steps = 0
        self._silent = 0
        self._lifetimes = 0

    # -- reading -----------------------------------------------------------------------------------------------------

    def _peek(self) -> str:
        return self.text[self.at] if self.at < len(self.text) else ""

    def _next(self) -> str:
        character = self.text[self.at]
        self.at += 1
        return character

    def _eat(self, character: str) -> bool:
        if self._peek() != character:
            return False
        self.at += 1
        return True

    def _emit(self, text: str) -> None:
        if self._silent:
            return
        self.out.append(text)
        self._length += len(text)
        if self._length > _MAX_OUTPUT_CHARACTERS:
            raise _LongEnoughError

    def _enter(self) -> None:
        self._depth += 1
        self._steps += 1
        if self._depth > _MAX_DEPTH or self._steps > _MAX_STEPS:
            raise _NotRustError

    def _base62(self) -> int:
        if self._eat("_"):
            return 0
        value = 0
        while not self._eat("_"):
            character = self._next()
            digit = "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ".find(character)
            if digit < 0 or value > 1 << 64:  # crates are told apart by 64-bit hashes
                raise _NotRustError
            value = value * 62 + digit
        return value + 1

    def _optional_base62(self, tag: str) -> int:
        return self._base62() + 1 if self._eat(tag) else 0

    def _identifier(self) -> str:
        is_punycode = self._eat("u")
        start = self.at
        # A number has no leading zero, so that "00" is two identifiers without a name.
        while self._peek() in _DIGITS and not (self.at > start and self.text[start] == "0"):
            self.at += 1
        length = int(self.text[start : self.at][:6])
        self._eat("_")
        content = self.text[self.at : self.at + length]
        if len(content) != length:
            raise _NotRustError
        self.at += length
        return _from_punycode(content) if is_punycode else content

    def _backref(self) -> int:
        start = self.at - 1
        target = self._base62()
        if target >= start:
            raise _NotRustError
        return target

    # -- paths -------------------------------------------------------------------------------------------------------

    def path(self, *, in_value: bool) -> None:
        """Print the path at the current position; ``in_value`` writes generics with a turbofish."""
        self._enter()
        tag = self._next()
        if tag == "C":
            self._optional_base62("s")
            self._emit(self._identifier())
        elif tag == "N":
            self._nested(in_value=in_value)
        elif tag in "MX":
            self._optional_base62("s")
            self._silently_path()
            self._qualified(has_trait=tag == "X")
        elif tag == "Y":
            self._qualified(has_trait=True)
        elif tag == "I":
            self.path(in_value=in_value)
            self._emit("::<" if in_value else "<")
            self._separated(self._generic_argument)
            self._emit(">")
        elif tag == "B":
            self._at_backref(lambda: self.path(in_value=in_value))
        else:
            raise _NotRustError
        self._depth -= 1

    def _nested(self, *, in_value: bool) -> None:
        namespace = self._next()
        self.path(in_value=in_value)
        number = self._optional_base62("s")
        name = self._identifier()
        if namespace.isupper():
            word = {"C": "closure", "S": "shim"}.get(namespace, namespace)
            self._emit(f"::{{{word}{':' + name if name else ''}#{number}}}")
        elif name:
            self._emit(f"::{name}")

    def _qualified(self, *, has_trait: bool) -> None:
        self._emit("<")
        self._type()
        if has_trait:
            self._emit(" as ")
            self.path(in_value=False)
        self._emit(">")

    def _silently_path(self) -> None:
        self._silent += 1
        self.path(in_value=False)
        self._silent -= 1

    def _at_backref(self, read: _Reader) -> None:
        target = self._backref()
        if self._silent:
            return
        here, self.at = self.at, target
        read()
        self.at = here

    def _separated(self, read: _Reader) -> int:
        """Print elements up to ``E`` with commas between; their number."""
        count = 0
        while not self._eat("E"):
            if count:
                self._emit(", ")
            read()
            count += 1
        return count

    def _generic_argument(self) -> None:
        if self._eat("L"):
            self._lifetime(self._base62())
        elif self._eat("K"):
            self._const()
        else:
            self._type()

    def _lifetime(self, index: int) -> None:
        depth = self._lifetimes - index
        self._emit("'_" if index == 0 or depth < 0 else f"'{chr(ord('a') + depth % 26)}")

    # -- types -------------------------------------------------------------------------------------------------------

    def _type(self) -> None:
        self._enter()
        tag = self._next()
        if tag in _BASIC_TYPES:
            self._emit(_BASIC_TYPES[tag])
        elif tag in "RQ":
            self._reference(is_mutable=tag == "Q")
        elif tag in "PO":
            self._emit("*const " if tag == "P" else "*mut ")
            self._type()
        elif tag in "AS":
            self._emit("[")
            self._type()
            if tag == "A":
                self._emit("; ")
                self._const()
            self._emit("]")
        elif tag == "T":
            self._emit("(")
            self._emit(",)" if self._separated(self._type) == 1 else ")")
        elif tag == "F":
            self._with_binder(self._function)
        elif tag == "D":
            self._dyn()
        elif tag == "B":
            self._at_backref(self._type)
        else:
            self.at -= 1
            self.path(in_value=False)
        self._depth -= 1

    def _reference(self, *, is_mutable: bool) -> None:
        self._emit("&")
        if self._eat("L"):
            index = self._base62()
            if index:
                self._lifetime(index)
                self._emit(" ")
        if is_mutable:
            self._emit("mut ")
        self._type()

    def _with_binder(self, read: _Reader) -> None:
        count = self._optional_base62("G")
        if count > 64:
            raise _NotRustError
        before = self._lifetimes
        if count:
            names = []
            for _ in range(count):
                names.append(f"'{chr(ord('a') + self._lifetimes % 26)}")
                self._lifetimes += 1
            self._emit(f"for<{', '.join(names)}> ")
        read()
        self._lifetimes = before

    def _function(self) -> None:
        if self._eat("U"):
            self._emit("unsafe ")
        if self._eat("K"):
            abi = "C" if self._eat("C") else self._identifier().replace("_", "-")
            self._emit(f'extern "{abi}" ')
        self._emit("fn(")
        self._separated(self._type)
        self._emit(")")
        if not self._eat("u"):
            self._emit(" -> ")
            self._type()

    def _dyn(self) -> None:
        self._emit("dyn ")
        self._with_binder(self._traits)
        if not self._eat("L"):
            raise _NotRustError
        index = self._base62()
        if index:
            self._emit(" + ")
            self._lifetime(index)

    def _traits(self) -> None:
        first = True
        while not self._eat("E"):
            if not first:
                self._emit(" + ")
            first = False
            is_open = self._trait_path()
            while self._eat("p"):
                self._emit(", " if is_open else "<")
                is_open = True
                self._emit(f"{self._identifier()} = ")
                self._type()
            if is_open:
                self._emit(">")

    def _trait_path(self) -> bool:
        """Print a trait; whether its list of generic arguments was left open for associated types."""
        self._enter()
        is_open = False
        if self._eat("B"):
            target = self._backref()
            if not self._silent:
                here, self.at = self.at, target
                is_open = self._trait_path()
                self.at = here
        elif self._eat("I"):
            self.path(in_value=False)
            self._emit("<")
            self._separated(self._generic_argument)
            is_open = True
        else:
            self.path(in_value=False)
        self._depth -= 1
        return is_open

    def _const(self) -> None:
        self._enter()
        if self._eat("B"):
            self._at_backref(self._const)
        elif self._eat("p"):
            self._emit("_")
        else:
            kind = self._next()
            if kind not in _BASIC_TYPES:
                raise _NotRustError  # structures, strings and references as constants: rare, and shown mangled
            sign = "-" if self._eat("n") else ""
            end = self.text.index("_", self.at)
            value = int(self.text[self.at : end] or "0", 16)
            self.at = end + 1
            self._emit(_constant(kind, value, sign))
        self._depth -= 1


def _constant(kind: str, value: int, sign: str) -> str:
    if kind == "b":
        return "true" if value else "false"
    if kind == "c":
        return repr(chr(value)) if value < 0x11_0000 else hex(value)
    return f"{sign}{value}"


def _from_punycode(content: str) -> str:
    head, underscore, tail = content.rpartition("_")
    return (f"{head}-{tail}" if underscore else tail).encode("ascii").decode("punycode")
