"""Queries beside the event loop: bounded, and a place is free again when its thread is."""

import asyncio
import threading

import pytest

from dashboard.pool import QueryPool
from dashboard.problems import ServerBusyError


async def test_more_than_the_queue_holds_is_refused_and_later_answered() -> None:
    pool, gate = QueryPool(threads=1, most_pending=2), threading.Event()
    waiting = [asyncio.create_task(pool.run(gate.wait)) for _ in range(2)]
    await asyncio.sleep(0)
    with pytest.raises(ServerBusyError, match="2 queries wait"):
        await pool.run(gate.wait)
    gate.set()
    assert await asyncio.gather(*waiting) == [True, True]
    assert await pool.run(lambda: 7) == 7
    pool.close()


async def test_an_error_of_a_query_is_the_callers_and_frees_its_place() -> None:
    pool = QueryPool(threads=1, most_pending=1)
    for _ in range(3):
        with pytest.raises(ZeroDivisionError):
            await pool.run(lambda: 1 // 0)
    pool.close()
