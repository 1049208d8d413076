from __future__ import annotations

import platform
from typing import TYPE_CHECKING

import pytest

from flamebus.errors import KernelUnavailableError
from producers import _bcc
from producers.kernel.bytecode import Bytecode, load_bytecode, source_hash
from producers.kernel.programs import place_maps

if TYPE_CHECKING:
    from pathlib import Path

HELD = {"cpu_sample": bytes(range(16))}


def ship(folder: Path, *, source: str) -> Path:
    folder.mkdir()
    path = folder / f"cpu-{platform.machine()}.json"
    path.write_text(Bytecode(source, HELD).to_json())
    return path


def test_shipped_bytecode_of_this_source_is_taken_without_a_compiler(tmp_path: Path) -> None:
    ship(tmp_path / "shipped", source=source_hash("cpu"))
    found = load_bytecode("cpu", cache=tmp_path / "cache", shipped=tmp_path / "shipped")
    assert found.programs == HELD
    assert not (tmp_path / "cache").exists()


def test_an_unknown_program_is_no_kernel_problem(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        load_bytecode("nonsense", cache=tmp_path)


def test_maps_are_placed_where_the_code_names_them() -> None:
    load = bytes([0x18, 0x11, 0, 0, 3, 0, 0, 0]) + bytes(8)
    other = bytes([0x18, 0x01, 0, 0, 3, 0, 0, 0]) + bytes(8)  # an ordinary constant
    placed = place_maps(load + other, {3: 77})
    assert placed == bytes([0x18, 0x11, 0, 0, 77, 0, 0, 0]) + bytes(8) + other
    with pytest.raises(KeyError):
        place_maps(load, {4: 77})


def test_the_error_of_a_missing_compiler_says_what_to_install(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(_bcc, "DISTRIBUTION_PACKAGES", tmp_path)
    with pytest.raises(KernelUnavailableError, match="apt-get install python3-bpfcc"):
        load_bytecode("cpu", cache=tmp_path, shipped=tmp_path)
