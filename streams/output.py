"""Closed windows to every sink, in order; only then do they count as durable."""

import asyncio
from collections.abc import Sequence
from concurrent.futures import Executor
from dataclasses import dataclass

from streams import metrics
from streams.closed import ClosedWindow
from streams.hotspots import rank
from streams.intake import Out  # noqa: TC001 - one import that runs is simpler than a block that does not
from streams.partitions import Partitions
from streams.sinks.bus import BusSink, Message
from streams.sinks.influx import InfluxSink
from streams.sinks.lines import report_lines
from streams.sinks.store import StoreSink

_AT_ONCE = 4
"""Windows that are written at the same time; they count as in flight like those that wait."""


@dataclass(frozen=True, slots=True)
class Sinks:
    """Where windows go; the bus always, the others when they are set up."""

    bus: BusSink
    store: StoreSink | None
    influx: InfluxSink | None

    def is_waiting(self) -> bool:
        """Whether one of them is known to be down."""
        return any(sink is not None and sink.health.is_down for sink in (self.bus, self.store, self.influx))


class Output:
    """Takes closed windows from a queue."""

    def __init__(self, partitions: Partitions, executor: Executor, sinks: Sinks, top_k: int, max_waiting: int) -> None:
        self._partitions = partitions
        self._executor = executor
        self._sinks = sinks
        self._top_k = top_k
        self.queue: asyncio.Queue[Out] = asyncio.Queue(max_waiting)

    async def run(self) -> None:
        """Write what comes, several windows at a time, for ever: the windows of all partitions end together."""
        async with asyncio.TaskGroup() as group:
            for _ in range(_AT_ONCE):
                group.create_task(self._write_one_by_one())

    async def _write_one_by_one(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            tp, owned, closed = await self.queue.get()
            if self._partitions.is_current(owned):
                # In the thread of the windows: it owns the catalogue that names are looked up in.
                messages, lines = await loop.run_in_executor(
                    self._executor, _prepared, closed, self._top_k, self._sinks.bus
                )
                await self._write(closed, messages, lines)
                await loop.run_in_executor(self._executor, owned.windows.mark_durable, closed)
                metrics.WINDOWS.labels(tp.topic).inc()
            self.queue.task_done()

    async def _write(self, closed: ClosedWindow, messages: Sequence[Message], lines: Sequence[str]) -> None:
        async with asyncio.TaskGroup() as group:
            if self._sinks.store is not None:
                group.create_task(self._sinks.store.write(closed))
            group.create_task(self._sinks.bus.write(messages))
            if self._sinks.influx is not None:
                group.create_task(self._sinks.influx.write(lines))


def _prepared(closed: ClosedWindow, top_k: int, bus: BusSink) -> tuple[list[Message], list[str]]:
    ranked = [rank(part, top_k) for part in closed.parts]
    lines = [line for each in ranked for line in report_lines(each)]
    return bus.messages(closed, [each.report for each in ranked]), lines
