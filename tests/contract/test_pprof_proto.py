"""The generated reader of pprof is what its .proto says."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PROTO = "flamebus/importing/pprof.proto"


@pytest.fixture(scope="module")
def generated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("generated")
    command = [sys.executable, "-m", "grpc_tools.protoc", "-I", ".", f"--python_out={folder}", f"--pyi_out={folder}"]
    subprocess.run([*command, PROTO], cwd=ROOT, check=True, capture_output=True)
    return folder / "flamebus" / "importing"


@pytest.mark.parametrize("name", ["pprof_pb2.py", "pprof_pb2.pyi"])
def test_the_generated_code_is_current(generated: Path, name: str) -> None:
    current = (ROOT / "flamebus" / "importing" / name).read_text()
    assert (generated / name).read_text() == current, f"run the command at the top of {PROTO}"


def test_only_the_reader_of_pprof_needs_protobuf() -> None:
    users = {
        str(path.relative_to(ROOT))
        for folder in ("flamebus", "producers", "streams", "dashboard", "models", "infra")
        for path in (ROOT / folder).rglob("*.py")
        if "google.protobuf" in path.read_text() or "pprof_pb2" in path.read_text()
    }
    assert users == {"flamebus/importing/pprof.py", "flamebus/importing/pprof_pb2.py"}
