"""BPF maps: made, read and written by descriptor. A map lives as long as a descriptor or a program holds it."""

from __future__ import annotations

import ctypes
import os
import struct
from dataclasses import dataclass
from enum import IntEnum
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from producers.kernel.syscalls import bpf, unavailable

if TYPE_CHECKING:
    from numpy.typing import NDArray

_MAP_CREATE, _MAP_LOOKUP, _MAP_UPDATE = 0, 1, 2


class MapType(IntEnum):
    """``enum bpf_map_type``, as far as we use it."""

    ARRAY = 2
    PER_CPU_ARRAY = 6
    LRU_HASH = 9
    RING_BUFFER = 27


@dataclass(frozen=True, slots=True)
class MapSpec:
    """What a map is. Sizes in bytes; ``max_entries`` of a ring is its size in bytes, a power of two.

    Attributes:
        name: at most 15 characters, shown by ``bpftool map``.
        type: kind of map.
        key_size: bytes of a key, 0 for a ring.
        value_size: bytes of a value, 0 for a ring.
        max_entries: most entries it holds.
    """

    name: str
    type: MapType
    key_size: int
    value_size: int
    max_entries: int


class BpfMap:
    """An open map."""

    def __init__(self, spec: MapSpec) -> None:
        """Make the map.

        Raises:
            KernelUnavailableError: the kernel refuses.
        """
        self.spec = spec
        self._cpus_count = possible_cpus() if spec.type is MapType.PER_CPU_ARRAY else 1
        name = spec.name.encode()[:15]
        head = (int(spec.type), spec.key_size, spec.value_size, spec.max_entries)
        attributes = struct.pack("<4I3I16s", *head, 0, 0, 0, name)  # no flags, no inner map, any NUMA node
        try:
            self.fd = bpf(_MAP_CREATE, ctypes.create_string_buffer(attributes, 72))
        except OSError as error:
            raise unavailable(f"make the BPF map {spec.name}", error.errno or 0) from error

    def _element(self, command: int, index: int, value: ctypes.Array[ctypes.c_char]) -> None:
        key = ctypes.create_string_buffer(struct.pack("<I", index), 4)
        attributes = struct.pack("<IxxxxQQQ", self.fd, ctypes.addressof(key), ctypes.addressof(value), 0)
        bpf(command, ctypes.create_string_buffer(attributes, 32))

    def write(self, index: int, value: bytes) -> None:
        """Set the value at ``index`` of an array."""
        self._element(_MAP_UPDATE, index, ctypes.create_string_buffer(value, len(value)))

    def read(self, index: int) -> bytes:
        """The value at ``index`` of an array."""
        buffer = ctypes.create_string_buffer(self.spec.value_size)
        self._element(_MAP_LOOKUP, index, buffer)
        return buffer.raw

    def read_per_cpu(self, index: int) -> NDArray[np.uint64]:
        """All CPUs' values at ``index`` of a per-CPU array of u64 words; shape ``(possible CPUs, words)``."""
        buffer = ctypes.create_string_buffer(self.spec.value_size * self._cpus_count)
        self._element(_MAP_LOOKUP, index, buffer)
        return np.frombuffer(buffer.raw, dtype=np.uint64).reshape(-1, self.spec.value_size // 8)

    def locked_bytes(self) -> int:
        """Kernel memory the map is charged for, in bytes (``memlock`` of its fdinfo)."""
        for line in Path(f"/proc/self/fdinfo/{self.fd}").read_text(encoding="ascii").splitlines():
            if line.startswith("memlock:"):
                return int(line.split()[1])
        return 0

    def close(self) -> None:
        """Give the descriptor back."""
        os.close(self.fd)


def _cpu_list(text: str) -> list[int]:
    """``0-3,5`` as numbers."""
    ranges = [part.partition("-") for part in text.strip().split(",") if part]
    return [cpu for first, _, last in ranges for cpu in range(int(first), int(last or first) + 1)]


def possible_cpus() -> int:
    """How many CPUs the kernel may ever have: per-CPU maps hold a value for each."""
    return len(_cpu_list(Path("/sys/devices/system/cpu/possible").read_text(encoding="ascii")))


def online_cpus() -> list[int]:
    """Numbers of the CPUs that run now."""
    return _cpu_list(Path("/sys/devices/system/cpu/online").read_text(encoding="ascii"))
