"""Mutates MessagePack records, knowing where their values begin and how long they say they are."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING

import msgpack

if TYPE_CHECKING:
    import random
    from collections.abc import Callable, Sequence

GIGABYTE = 2**30
_WIDE_HEADERS = b"\xc6\xc9\xdb\xdd\xdf"  # bin, ext, str, array and map with four bytes of length
_VALUES: tuple[object, ...] = (
    None, True, -1, 0, 1, 2**31, 2**32, 2**63 - 1, 2**63, 2**64 - 1, -(2**63), 0.5, float("nan"), float("inf"),
    "", "a", "\0", "ä" * 40, b"", b"\xff" * 15, b"\0" * 16, msgpack.ExtType(1, b"xx"), msgpack.Timestamp(1, 2),
    [], [1], ["", ""], [[[]]], {}, {"a": 1}, {"schema": 1}, {"reason": "a", "samples": 1, "value": 1},
)  # fmt: skip
_NUMBERS = tuple(
    struct.pack(form, number)
    for form, number in (
        ("<I", 0), ("<I", 1), ("<I", 2**31), ("<I", 2**32 - 1), ("<q", -1), ("<q", 2**63 - 1), ("<q", -(2**63)),
        ("<f", float("nan")), ("<f", float("inf")), ("<f", -1.0), ("<f", 1e-45), ("<f", 3e38), ("<Q", 2**64 - 1),
    )
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Token:
    """A value of a record: its bytes are ``[start, end)``, of which those before ``body`` are its header."""

    start: int
    body: int
    end: int


def tokens(data: bytes) -> list[Token]:
    """Every value of a valid record, containers and what is in them included, in order of their start."""
    found: list[Token] = []

    def walk(start: int) -> int:
        kind, body, length = _header(data, start)
        place = len(found)
        found.append(Token(start, body, body))
        end = body
        if kind == "items":
            for _ in range(length):
                end = walk(end)
        else:
            end = body + length
        found[place] = Token(start, body, end)
        return end

    walk(0)
    return found


_FIXED = {**dict.fromkeys((*range(128), *range(224, 256), 192, 194, 195), 0),
          0xCA: 4, 0xCB: 8, 0xCC: 1, 0xCD: 2, 0xCE: 4, 0xCF: 8, 0xD0: 1, 0xD1: 2, 0xD2: 4, 0xD3: 8,
          **{0xA0 + length: length for length in range(32)}}  # fmt: skip
"""Bytes behind a header of one byte."""
_LENGTH_BYTES = {0xC4: 1, 0xC5: 2, 0xC6: 4, 0xD9: 1, 0xDA: 2, 0xDB: 4, 0xDC: 2, 0xDD: 4, 0xDE: 2, 0xDF: 4}


def _header(data: bytes, at: int) -> tuple[str, int, int]:
    """Kind, end of the header, and items or bytes that follow it. Extensions are not in our records."""
    first = data[at]
    if first in _FIXED:
        return "bytes", at + 1, _FIXED[first]
    if first < 0xA0:
        return "items", at + 1, (first & 15) * (2 if first < 0x90 else 1)
    body = at + 1 + _LENGTH_BYTES[first]
    length = int.from_bytes(data[at + 1 : body], "big")
    return ("items", body, length * (2 if first >= 0xDE else 1)) if first >= 0xDC else ("bytes", body, length)


@dataclass(frozen=True, slots=True)
class Seed:
    """A valid record and where its values are."""

    data: bytes
    tokens: tuple[Token, ...]


def flip_bits(rng: random.Random, seed: Seed, _: Sequence[Seed]) -> bytes:
    """One to eight bits."""
    data = bytearray(seed.data)
    for _number in range(rng.randint(1, 8)):
        data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
    return bytes(data)


def truncate(rng: random.Random, seed: Seed, _: Sequence[Seed]) -> bytes:
    """Cut off the end."""
    return seed.data[: rng.randrange(len(seed.data))]


def insert(rng: random.Random, seed: Seed, _: Sequence[Seed]) -> bytes:
    """Put random bytes somewhere."""
    at = rng.randrange(len(seed.data) + 1)
    return seed.data[:at] + rng.randbytes(rng.randint(1, 40)) + seed.data[at:]


def remove(rng: random.Random, seed: Seed, _: Sequence[Seed]) -> bytes:
    """Take some bytes out."""
    at = rng.randrange(len(seed.data))
    return seed.data[:at] + seed.data[at + rng.randint(1, 40) :]


def tamper_length(rng: random.Random, seed: Seed, _: Sequence[Seed]) -> bytes:
    """A header says a little more or less than follows."""
    token = rng.choice([t for t in seed.tokens if t.end > t.start + 1])
    data = bytearray(seed.data)
    data[token.body - 1] = (data[token.body - 1] + rng.choice((-2, -1, 1, 2, 3, 16, 128))) % 256
    return bytes(data)


def declare_gigabytes(rng: random.Random, seed: Seed, _: Sequence[Seed]) -> bytes:
    """A header says a gigabyte, or a billion elements."""
    token = rng.choice(seed.tokens)
    length = rng.choice((GIGABYTE, 2**32 - 1, 2**31, 10**6)).to_bytes(4, "big")
    return seed.data[: token.start] + bytes((rng.choice(_WIDE_HEADERS),)) + length + seed.data[token.body :]


def nest(rng: random.Random, seed: Seed, _: Sequence[Seed]) -> bytes:
    """A value becomes the innermost of many containers."""
    token = rng.choice(seed.tokens)
    return seed.data[: token.start] + rng.choice((b"\x91", b"\x92", b"\x81\xa1a", b"\x81")) * rng.choice(
        (1, 2, 30, 600, 2_000)
    ) + seed.data[token.start :]  # fmt: skip


def swap_type(rng: random.Random, seed: Seed, _: Sequence[Seed]) -> bytes:
    """A value becomes one of another type."""
    token = rng.choice(seed.tokens)
    value: bytes = msgpack.packb(rng.choice(_VALUES))
    return seed.data[: token.start] + value + seed.data[token.end :]


def swap_values(rng: random.Random, seed: Seed, _: Sequence[Seed]) -> bytes:
    """A value becomes another one of the same record."""
    token, other = rng.choice(seed.tokens), rng.choice(seed.tokens)
    return seed.data[: token.start] + seed.data[other.start : other.end] + seed.data[token.end :]


def splice(rng: random.Random, seed: Seed, seeds: Sequence[Seed]) -> bytes:
    """The beginning of one record and the end of another."""
    other = rng.choice(seeds)
    return seed.data[: rng.choice(seed.tokens).start] + other.data[rng.choice(other.tokens).start :]


def set_number(rng: random.Random, seed: Seed, _: Sequence[Seed]) -> bytes:
    """An element of a column becomes extreme."""
    columns = [t for t in seed.tokens if seed.data[t.start] in b"\xc4\xc5\xc6" and t.end > t.body]
    if not columns:
        return flip_bits(rng, seed, ())
    token, number = rng.choice(columns), rng.choice(_NUMBERS)
    at = token.body + rng.randrange((token.end - token.body + 3) // 4) * 4
    end = min(token.end, at + len(number))
    return seed.data[:at] + number[: end - at] + seed.data[end:]


MUTATIONS: tuple[Callable[[random.Random, Seed, Sequence[Seed]], bytes], ...] = (
    flip_bits, truncate, insert, remove, tamper_length, declare_gigabytes, nest, swap_type, swap_values, splice,
    set_number,
)  # fmt: skip


def mutant(rng: random.Random, seeds: Sequence[Seed]) -> tuple[str, bytes]:
    """A mutated record and the name of its mutation; bits are flipped on top in one of four."""
    mutation = rng.choice(MUTATIONS)
    data = mutation(rng, rng.choice(seeds), seeds)
    if data and rng.random() < 0.25:
        data = flip_bits(rng, Seed(data, ()), ())
    return mutation.__name__, data
