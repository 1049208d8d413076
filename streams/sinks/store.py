"""Writes windows to the object store off the event loop, and again until it has them."""

import asyncio
from concurrent.futures import Executor

from flamebus.errors import StoreUnavailableError
from flamebus.store.files import open_files
from flamebus.store.writer import StoreWriter
from streams.closed import ClosedWindow
from streams.sinks.health import SinkHealth

_FIRST_BACKOFF_S, _MAX_BACKOFF_S = 0.2, 10.0
_PROBE = ".writable"


class StoreSink:
    """The store of one worker."""

    def __init__(self, location: str, s3_endpoint: str, executor: Executor) -> None:
        self._location, self._s3_endpoint = location, s3_endpoint
        self._writer = StoreWriter(location, s3_endpoint)
        self._executor = executor
        self.health = SinkHealth("store")

    async def check(self) -> None:
        """Prove at start that the store can be written.

        Raises:
            StoreUnavailableError: it cannot; the message says where and why.
        """
        await asyncio.get_running_loop().run_in_executor(self._executor, self._write_probe)

    def _write_probe(self) -> None:
        files = open_files(self._location, self._s3_endpoint)
        files.write_bytes(_PROBE, b"")
        files.delete(_PROBE)

    async def write(self, closed: ClosedWindow) -> None:
        """Write a window; returns when it is durable."""
        backoff_s = _FIRST_BACKOFF_S
        loop = asyncio.get_running_loop()
        while True:
            try:
                await loop.run_in_executor(self._executor, self._writer.write, closed.origin, closed.profiles)
            except StoreUnavailableError as error:
                self.health.failed(type(error).__name__, f"{error}; free or mend it")
            else:
                self.health.worked()
                return
            await asyncio.sleep(backoff_s)
            backoff_s = min(backoff_s * 2, _MAX_BACKOFF_S)
