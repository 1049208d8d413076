"""Whether a Docker engine answers, and the stack as containers when one does."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

from flamebus.errors import SetupError

COMPOSE_FILE = Path(__file__).parent / "compose.yaml"
_ASK_TIMEOUT_S = 10


def engine_version() -> str:
    """Version of the Docker engine that answers, or an empty string: a client without an engine does not count."""
    if shutil.which("docker") is None:
        return ""
    command = ["docker", "version", "--format", "{{.Server.Version}}"]
    try:
        answer = subprocess.run(command, capture_output=True, text=True, timeout=_ASK_TIMEOUT_S, check=False)
    except subprocess.TimeoutExpired:
        return ""
    return answer.stdout.strip() if answer.returncode == 0 else ""


def compose(*arguments: str) -> None:
    """Runs ``docker compose`` on our stack, its output straight to the terminal.

    Raises:
        SetupError: it failed; it has said why itself.
    """
    command = ["docker", "compose", "--file", str(COMPOSE_FILE), *arguments]
    ended = subprocess.run(command, check=False)
    if ended.returncode != 0:
        raise SetupError(f"{' '.join(command)} ended with {ended.returncode}")
