"""Queries run beside the event loop, in few threads and with a bounded queue, so that probes answer at any load."""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from dashboard.problems import ServerBusyError

THREADS = 4
"""A query is one thread's work in DuckDB's own pool; more of them only share the same processors."""

MOST_PENDING = 64
"""Running and waiting queries: a page asks five at once, so a dozen people can open one at the same moment."""

Answer = TypeVar("Answer")


class QueryPool:
    """Runs calls in threads; used from one event loop."""

    def __init__(self, threads: int = THREADS, most_pending: int = MOST_PENDING) -> None:
        self._threads = ThreadPoolExecutor(threads, thread_name_prefix="query")
        self._most_pending = most_pending
        self._pending_count = 0

    async def run(self, call: Callable[[], Answer]) -> Answer:
        """What ``call`` returns.

        Raises:
            ServerBusyError: too many calls wait already; nothing was started.
        """
        if self._pending_count >= self._most_pending:
            raise ServerBusyError(f"{self._pending_count} queries wait already; ask again in a moment")
        self._pending_count += 1
        future = asyncio.get_running_loop().run_in_executor(self._threads, call)
        # A client that went away cancels the waiting, not the thread: the place is free when the thread is.
        future.add_done_callback(self._done)
        return await future

    def _done(self, _future: asyncio.Future[Answer]) -> None:
        self._pending_count -= 1

    def close(self) -> None:
        """Wait for what runs and drop what waits."""
        self._threads.shutdown(wait=True, cancel_futures=True)
