"""Readable names: C++ through its runtime's demangler, Rust by :mod:`producers.symbols.rust`, others as they are."""

from __future__ import annotations

import ctypes
from ctypes.util import find_library
from functools import cache
from typing import TYPE_CHECKING

from producers.symbols.expansion import is_bounded
from producers.symbols.rust import demangle_rust

if TYPE_CHECKING:
    from collections.abc import Callable

MAX_NAME_CHARACTERS = 512
"""Longer names are cut and end in an ellipsis: C++ templates reach tens of kilobytes, and no one reads them."""


def demangled(name: bytes) -> str:
    """What people call the function that the linker calls ``name``.

    Template arguments are kept, Rust's hash is dropped. What no demangler understands, and what is made to blow up when
    demangled (:func:`is_refused`), stays as it is; invalid UTF-8 is replaced. At most ``MAX_NAME_CHARACTERS`` long.
    """
    text = name.decode("utf-8", "replace")
    # GCC marks clones with a dotted suffix (.cold, .part.0); the C++ demangler knows them, Rust has its own scheme.
    if name.startswith((b"_R", b"_ZN", b"__R", b"__ZN")):
        text = demangle_rust(text) or text
    if text.startswith("_Z") and is_bounded(name):
        text = _demangle_cpp(name) or text
    # The symbol version of a debug table (memcpy@@GLIBC_2.14) says nothing about where time goes.
    text = text.partition("@")[0] or text if not text.startswith("@") else text
    return bounded(text)


def is_refused(name: bytes) -> bool:
    """Whether ``name`` is left as it is because demangling it could take all memory."""
    return name.startswith(b"_Z") and not is_bounded(name)


def bounded(name: str) -> str:
    """``name`` cut to ``MAX_NAME_CHARACTERS``."""
    return name if len(name) <= MAX_NAME_CHARACTERS else name[: MAX_NAME_CHARACTERS - 1] + "…"


def _demangle_cpp(name: bytes) -> str | None:
    cxa = _runtime()
    return cxa(name) if cxa is not None else None


@cache
def _runtime() -> Callable[[bytes], str | None] | None:
    """``__cxa_demangle`` of the C++ runtime; None where there is none, and C++ names then stay mangled."""
    library = _load("libstdc++.so.6") or _load(find_library("stdc++")) or _load("libc++abi.so.1")
    if library is None:
        return None
    try:
        cxa_demangle = library.__cxa_demangle
        free = ctypes.CDLL(None).free
    except AttributeError:
        return None
    cxa_demangle.argtypes = [ctypes.c_char_p, ctypes.c_void_p, ctypes.c_void_p, ctypes.POINTER(ctypes.c_int)]
    cxa_demangle.restype = ctypes.c_void_p
    free.argtypes = [ctypes.c_void_p]
    free.restype = None

    def call(name: bytes) -> str | None:
        status = ctypes.c_int()
        address = cxa_demangle(name, None, None, ctypes.byref(status))
        if not address:
            return None
        try:
            return ctypes.string_at(address).decode("utf-8", "replace")
        finally:
            free(address)

    return call


def _load(name: str | None) -> ctypes.CDLL | None:
    if name is None:
        return None
    try:
        return ctypes.CDLL(name)
    except OSError:
        return None
