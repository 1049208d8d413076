"""Writes the machine-readable contract: ``python -m flamebus.wire.schemas docs`` (``make schemas``)."""

import json
import sys
from pathlib import Path

from flamebus.wire.asyncapi import document
from flamebus.wire.json_schema import file_name, schemas

CONTRACT_VERSION = "1.0.0"
"""Minor: fields that readers may pass over; major: new schema versions."""


def documents() -> dict[str, str]:
    """Text of every file, by its path below ``docs/``."""
    found: dict[str, object] = {f"schemas/{file_name(name)}": schema for name, schema in schemas().items()}
    found["asyncapi.json"] = document(CONTRACT_VERSION)
    return {path: json.dumps(content, indent=1, ensure_ascii=False) + "\n" for path, content in found.items()}


def write(folder: Path) -> None:
    """Write all files below ``folder`` and remove schemas that are no more."""
    wanted = documents()
    for path in folder.glob("schemas/*.json"):
        if str(path.relative_to(folder)) not in wanted:
            path.unlink()
    for name, text in wanted.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


if __name__ == "__main__":
    write(Path(sys.argv[1]))
