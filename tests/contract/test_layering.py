"""The import contracts of pyproject.toml hold, and the check really looks at our packages."""

import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def test_import_contracts_are_kept() -> None:
    command = [str(Path(sys.executable).with_name("lint-imports"))]
    result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stdout
    assert "0 broken" in result.stdout


def test_bcc_has_one_importer() -> None:
    importers = [
        str(path.relative_to(ROOT))
        for package in ("flamebus", "bpf", "producers", "streams", "models", "dashboard", "infra")
        for path in (ROOT / package).rglob("*.py")
        if re.search(r"^\s*(import|from) bcc\b", path.read_text(), re.MULTILINE)
    ]
    assert importers == ["producers/_bcc.py"]
