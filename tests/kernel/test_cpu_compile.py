"""From C to bytecode with the real compiler, which no kernel and no privilege is needed for."""

from __future__ import annotations

import platform
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

import bpf
from producers import _bcc
from producers.kernel.bytecode import Bytecode, compile_program, load_bytecode

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = [pytest.mark.kernel, pytest.mark.skipif(_bcc.bcc_version() is None, reason="bcc is not installed")]


def ship(folder: Path, programs: dict[str, bytes], *, source: str) -> Path:
    folder.mkdir()
    path = folder / f"cpu-{platform.machine()}.json"
    path.write_text(Bytecode(source, programs).to_json())
    return path


def test_stale_or_damaged_bytecode_is_compiled_anew(tmp_path: Path) -> None:
    path = ship(tmp_path / "shipped", {"cpu_sample": b"old code"}, source="of another source")
    fresh = load_bytecode("cpu", cache=tmp_path / "cache", shipped=tmp_path / "shipped")
    assert fresh.programs["cpu_sample"] != b"old code"
    (cached,) = (tmp_path / "cache").iterdir()
    for rubbish in ("", "{", '{"source_hash": 1}', '{"source_hash": "x", "programs": 3}', "[]", "\udcff"):
        path.write_bytes(rubbish.encode(errors="surrogateescape"))
        cached.write_bytes(rubbish.encode(errors="surrogateescape"))
        again = load_bytecode("cpu", cache=tmp_path / "cache", shipped=tmp_path / "shipped")
        assert again == fresh
    assert len(list((tmp_path / "cache").iterdir())) == 1


def test_what_a_build_ships_is_what_a_fresh_compile_gives(tmp_path: Path) -> None:
    subprocess.run([sys.executable, "-m", "producers._bcc", "--out", tmp_path / "shipped"], check=True)
    shipped = Bytecode.from_json((tmp_path / "shipped" / f"cpu-{platform.machine()}.json").read_text())
    assert shipped == compile_program("cpu")
    assert load_bytecode("cpu", cache=tmp_path / "none", shipped=tmp_path / "shipped") == shipped


def test_a_cache_that_cannot_be_written_is_done_without(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    found = load_bytecode("cpu", cache=tmp_path / "file" / "cache", shipped=tmp_path)
    assert "cpu_sample" in found.programs


def test_what_does_not_compile_is_told_in_the_compilers_words() -> None:
    with pytest.raises(RuntimeError, match="undeclared_thing"):
        _bcc.run_compiler("int f(void *context) { return undeclared_thing; }", bpf.source("freestanding.h"))
