"""Whether a Docker engine answers, and the stack as containers when one does."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

from flamebus.errors import SetupError

COMPOSE_FILE = Path(__file__).parent / "compose.yaml"
_ASK_TIMEOUT_S = 10


def engine_version() -> str:
    """Version of the Docker engine that answers, or an empty string: a client without an engine does not count."""
    return _ask("docker", "version", "--format", "{{.Server.Version}}")


def runs_compose() -> bool:
    """Whether the stack can run as containers: an engine answers, and the client has its Compose plugin."""
    return bool(engine_version() and _ask("docker", "compose", "version"))


def _ask(*command: str) -> str:
    """What a short command prints; an empty string when it is missing, hangs or fails."""
    if shutil.which(command[0]) is None:
        return ""
    try:
        answer = subprocess.run(command, capture_output=True, text=True, timeout=_ASK_TIMEOUT_S, check=False)
    except subprocess.TimeoutExpired:
        return ""
    return answer.stdout.strip() if answer.returncode == 0 else ""


def compose(*arguments: str, influx_token: str) -> None:
    """Runs ``docker compose`` on our stack, its output straight to the terminal.

    Raises:
        SetupError: it failed; it has said why itself.
    """
    command = ["docker", "compose", "--file", str(COMPOSE_FILE), *arguments]
    ended = subprocess.run(command, env={**os.environ, "FLAMEBUS_INFLUX_TOKEN": influx_token}, check=False)
    if ended.returncode != 0:
        raise SetupError(f"{' '.join(command)} ended with {ended.returncode}")
