"""Checks at start that our top-level folders are ours.

Names such as ``streams`` or ``models`` are anyone's: another package of that name on the path would be imported in our
place. Every process therefore checks that the folders lie beside ``flamebus`` on disk.
"""

from importlib.util import find_spec
from pathlib import Path

import flamebus
from flamebus.errors import SetupError

FOLDERS = ("bpf", "producers", "streams", "models", "dashboard", "infra")


def check_siblings() -> None:
    """Compare where Python finds each folder with where it has to be.

    Raises:
        SetupError: a folder comes from elsewhere; the message names both places.
    """
    home = Path(flamebus.__file__).resolve().parent.parent
    for name in FOLDERS:
        spec = find_spec(name)
        if spec is None or spec.origin is None:
            raise SetupError(f"package {name!r} is missing beside flamebus in {home}; reinstall flamebus")
        found = Path(spec.origin).resolve().parent.parent
        if found != home:
            raise SetupError(
                f"package {name!r} comes from {found}, not from {home}: another distribution has taken its name. "
                "Install flamebus into an environment of its own."
            )
