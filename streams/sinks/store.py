"""Writes windows to the object store off the event loop, and again until it has them."""

import asyncio
import logging
from concurrent.futures import Executor

from flamebus.errors import StoreUnavailableError
from flamebus.store.writer import StoreWriter
from streams import metrics
from streams.windows import ClosedWindow

_log = logging.getLogger(__name__)
_FIRST_BACKOFF_S, _MAX_BACKOFF_S = 0.2, 10.0


class StoreSink:
    """The store of one worker."""

    def __init__(self, location: str, s3_endpoint: str, executor: Executor) -> None:
        self._writer = StoreWriter(location, s3_endpoint)
        self._executor = executor

    async def write(self, closed: ClosedWindow) -> None:
        """Write a window; returns when it is durable."""
        backoff_s = _FIRST_BACKOFF_S
        loop = asyncio.get_running_loop()
        while True:
            try:
                await loop.run_in_executor(self._executor, self._writer.write, closed.origin, closed.profiles)
            except StoreUnavailableError as error:
                metrics.SINK_RETRIES.labels("store", type(error).__name__).inc()
                metrics.SINK_BLOCKED.labels("store").set(1)
                _log.warning("store: %s", error)
            else:
                metrics.SINK_BLOCKED.labels("store").set(0)
                return
            await asyncio.sleep(backoff_s)
            backoff_s = min(backoff_s * 2, _MAX_BACKOFF_S)
