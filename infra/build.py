"""Builds the real servers once and keeps them in the user's cache: ``python -m infra.build kafka influxdb s3``.

Each server is named by its version and by a hash of its recipe, so a changed recipe builds anew and never mixes with
an older result. Builders of the same server in several processes wait for one another through a lock file, and a result
appears in the cache by one rename: a build that was interrupted leaves nothing that could be taken for a server.
"""

from __future__ import annotations

import argparse
import contextlib
import fcntl
import hashlib
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

from flamebus.errors import FlamebusError, SetupError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

KAFKA_VERSION = "4.1.0"
INFLUXDB_VERSION = "2.7.12"
VERSITYGW_VERSION = "1.8.0"

_VERSIONS = {"kafka": KAFKA_VERSION, "influxdb": INFLUXDB_VERSION, "s3": VERSITYGW_VERSION}
_RECIPES = Path(__file__).parent
# A cold influxd build takes six minutes on two idle cores; ten times that means it hangs.
_BUILD_TIMEOUT_S = 3600


def default_cache() -> Path:
    """The folder that holds built servers: ``flamebus/servers`` below ``XDG_CACHE_HOME`` (or ``~/.cache``)."""
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "flamebus" / "servers"


def kafka_classpath(cache: Path) -> str:
    """The Java class path of a Kafka broker, fetched with Maven the first time (43 MB, about 11 s).

    Raises:
        SetupError: Maven failed or is missing; the last lines of its output are in the message.
    """
    return f"{_build_once(cache, 'kafka')}/*"


def influxd_binary(cache: Path) -> Path:
    """The ``influxd`` program, built from source the first time (about 6 min on two cores, needs Go 1.23 and cargo).

    Raises:
        SetupError: the build failed (a compiler is missing or too old); its last lines are in the message.
    """
    return _build_once(cache, "influxdb") / "influxd"


def versitygw_binary(cache: Path) -> Path:
    """The ``versitygw`` program, an S3 server over a folder, built the first time (about 3 min of CPU, needs Go).

    Raises:
        SetupError: the build failed; its last lines are in the message.
    """
    return _build_once(cache, "s3") / "versitygw"


def is_built(cache: Path, name: str) -> bool:
    """Whether the cache holds this server (a key of `BUILDERS`) by today's recipe."""
    return _folder(cache, name).is_dir()


def _folder(cache: Path, name: str) -> Path:
    return cache / f"{name}-{_VERSIONS[name]}-{_recipe_hash(_RECIPES / name)}"


def _build_once(cache: Path, name: str) -> Path:
    """Returns the finished folder of a server; builds it under a lock when there is none yet."""
    done = _folder(cache, name)
    if done.is_dir():
        return done
    cache.mkdir(parents=True, exist_ok=True)
    with _lock(cache / f"{name}.lock"):
        if done.is_dir():  # another process built it while we waited
            return done
        making = cache / f"{done.name}.making"
        shutil.rmtree(making, ignore_errors=True)
        making.mkdir()
        _make(_RECIPES / name, making)
        making.rename(done)
    return done


def _recipe_hash(recipe: Path) -> str:
    digest = hashlib.sha256()
    for path in sorted(path for path in recipe.iterdir() if path.is_file()):
        digest.update(path.name.encode() + b"\0" + path.read_bytes())
    return digest.hexdigest()[:12]


@contextlib.contextmanager
def _lock(path: Path) -> Iterator[None]:
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)  # released by the kernel, also when we are killed
        yield


def _make(recipe: Path, folder: Path) -> None:
    """Runs ``build.sh`` of the recipe at low priority, with its output in ``build.log`` of ``folder``."""
    log = folder / "build.log"
    with log.open("wb") as output:
        # A build must not starve the servers and tests that already run beside it.
        ended = subprocess.run(
            ["nice", "-n", "5", "sh", str(recipe / "build.sh"), str(folder)],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            timeout=_BUILD_TIMEOUT_S,
            check=False,
        )
    if ended.returncode != 0:
        tail = "\n".join(log.read_text(errors="replace").splitlines()[-15:])
        raise SetupError(f"building {recipe.name} failed with {ended.returncode} ({log}):\n{tail}")


BUILDERS: dict[str, Callable[[Path], object]] = {
    "kafka": kafka_classpath,
    "influxdb": influxd_binary,
    "s3": versitygw_binary,
}


def main() -> int:
    """Builds the servers named on the command line, in that order; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m infra.build", description=__doc__)
    parser.add_argument("servers", nargs="+", choices=BUILDERS)
    for name in parser.parse_args().servers:
        started = time.monotonic()
        try:
            built = BUILDERS[name](default_cache())
        except FlamebusError as error:
            sys.stderr.write(f"{error}\n")
            return error.exit_code
        sys.stdout.write(f"{name}: {built} ({time.monotonic() - started:.0f} s)\n")
        sys.stdout.flush()
    return 0


if __name__ == "__main__":
    sys.exit(main())
