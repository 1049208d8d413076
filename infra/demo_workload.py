"""A small service to look at: burns part of one CPU in a way that differs by name, until it is told to stop.

Run as ``python -m infra.demo_workload checkout``; the name also becomes the service's name.
"""

import hashlib
import json
import random
import re
import sys
import time
import zlib
from collections.abc import Callable

_BUSY_S = 0.04
_IDLE_S = 0.12  # a quarter of one CPU: enough to see, too little to be in the way
_ORDERS = [{"id": number, "items": [{"sku": f"sku-{n}", "price": n * 1.5} for n in range(20)]} for number in range(20)]
_EMAIL = re.compile(r"(?P<user>[\w.]+)@(?P<domain>[\w.]+)\.(com|org)")


def checkout(rng: random.Random) -> None:
    """Serialise and parse orders, verify a password now and then."""
    json.loads(json.dumps(_ORDERS))
    if rng.random() < 0.02:
        hashlib.pbkdf2_hmac("sha256", b"correct horse", rng.randbytes(16), 2000)


def search(rng: random.Random) -> None:
    """Sort and match text."""
    words = sorted(f"{rng.random():.6f}.user@example.org" for _ in range(400))
    _EMAIL.findall(" ".join(words))


def archive(rng: random.Random) -> None:
    """Compress and hash."""
    data = rng.randbytes(4096) * 16
    hashlib.blake2b(zlib.compress(data, 6)).digest()


WORK: dict[str, Callable[[random.Random], None]] = {"checkout": checkout, "search": search, "archive": archive}


def run(service: str, seed: int) -> None:
    """Work and rest in turn, for ever."""
    rng = random.Random(seed)  # noqa: S311 - a workload, not a secret
    work = WORK[service]
    while True:
        end = time.monotonic() + _BUSY_S
        while time.monotonic() < end:
            work(rng)
        time.sleep(_IDLE_S)


if __name__ == "__main__":
    run(sys.argv[1], seed=23)
