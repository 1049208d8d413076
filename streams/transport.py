"""What Faust's consumer does differently here: commits are ours alone, carry metadata, and a fenced worker notices.

Faust 0.15 commits past a record that was never acknowledged once acknowledgements leave a gap, has no way to attach
metadata to a commit, goes on reading after its group has fenced it, and hands records on one by one, which costs as
much as decoding them. The overrides below put that right; each rests on private names, which
:func:`check_private_names` compares at start.
"""

import asyncio
import logging
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from typing import Any, ClassVar

from aiokafka import AIOKafkaConsumer
from aiokafka.consumer.group_coordinator import GroupCoordinator
from aiokafka.errors import CommitFailedError, KafkaError
from aiokafka.structs import OffsetAndMetadata, TopicPartition
from faust.transport.consumer import Consumer as BaseConsumer
from faust.transport.drivers.aiokafka import AIOKafkaConsumerThread, Consumer, Transport
from faust.types import TP

from flamebus.errors import SetupError
from streams.position import Position

VERSIONS = {"faust-streaming": "0.15.3", "aiokafka": "0.14.0"}
"""The versions whose insides the overrides fit."""

_log = logging.getLogger(__name__)

_FETCH_WAIT_S = 1.0
_COMMIT_DEADLINE_S = 5.0
"""aiokafka tries a commit again for ever; ours is out of date after a while, and the next one says more."""

_ATTRIBUTES: tuple[tuple[type, str], ...] = (
    (Consumer, "_new_offset"),
    (Consumer, "_drain_messages"),
    (Consumer, "_wait_next_records"),
    (Consumer, "consumer_stopped_errors"),
    (Consumer, "perform_seek"),
    (Consumer, "_new_consumer_thread"),
    (Consumer, "verify_event_path"),
    (AIOKafkaConsumerThread, "_consumer"),
    (AIOKafkaConsumerThread, "_ensure_consumer"),
    (AIOKafkaConsumerThread, "call_thread"),
    (GroupCoordinator, "check_errors"),
    (GroupCoordinator, "fetch_committed_offsets"),
    (GroupCoordinator, "generation"),
)
_SET_BY: tuple[tuple[Any, str], ...] = (
    (BaseConsumer.__init__, "_acked"),
    (BaseConsumer.__init__, "_acked_index"),
    (AIOKafkaConsumer.start, "_coordinator"),
    (GroupCoordinator.__init__, "generation"),
)
"""Names of instances, and the function that sets each."""


def check_private_names(
    attributes: tuple[tuple[type, str], ...] = _ATTRIBUTES, set_by: tuple[tuple[Any, str], ...] = _SET_BY
) -> None:
    """Refuse to run on a Faust or aiokafka whose insides are not those that the overrides replace.

    Raises:
        SetupError: a name is gone; the message names it.
    """
    set_names = {name for _, name in set_by}
    missing = [f"{owner.__name__}.{name}" for owner, name in attributes if not hasattr(owner, name)]
    missing = [name for name in missing if name.rpartition(".")[2] not in set_names]
    missing += [f"{setter.__qualname__} → {name}" for setter, name in set_by if name not in setter.__code__.co_names]
    if missing:
        raise SetupError(f"this Faust has no {', '.join(missing)}; install the versions of the lock file")


def check_versions(wanted: Mapping[str, str] | None = None) -> None:
    """Refuse to run on other versions than those that the overrides were written for.

    Raises:
        SetupError: another version is installed.
    """
    for package, number in (VERSIONS if wanted is None else wanted).items():
        try:
            found = version(package)
        except PackageNotFoundError:
            found = "none"
        if found != number:
            raise SetupError(f"{package} {found} is installed and streams need {number}; install flamebus[stream]")


@dataclass(frozen=True, slots=True)
class Committed:
    """What the broker knows of a partition when it is assigned.

    Attributes:
        offset, metadata: the last commit; ``None`` when there is none.
        log_start, log_end: first offset that the log has, and the next one to be written.
        group_generation: of the assignment; a commit of an older one is not sent.
    """

    offset: int | None
    metadata: str
    log_start: int
    log_end: int
    group_generation: int


class ExactThread(AIOKafkaConsumerThread):  # type: ignore[misc]  # faust has no types
    """The thread that talks to the broker."""

    async def check_group(self) -> None:
        """Raise what the group's coordination has met and cannot mend.

        aiokafka itself raises it to whoever fetches; while partitions move, nobody does.
        """
        if self._consumer is not None:
            self._consumer._coordinator.check_errors()

    async def load_committed(self, tp: TP) -> Committed:
        """The last commit of a partition and the range of its log."""
        consumer = self._ensure_consumer()
        coordinator = consumer._coordinator
        key = TopicPartition(tp.topic, tp.partition)
        generation = int(coordinator.generation)
        found = (await coordinator.fetch_committed_offsets([key])).get(key)
        start, end = await consumer.beginning_offsets([key]), await consumer.end_offsets([key])
        is_there = found is not None and found.offset >= 0
        return Committed(
            found.offset if is_there else None,
            (found.metadata or "") if is_there else "",
            int(start[key]),
            int(end[key]),
            generation,
        )

    async def log_start(self, tp: TP) -> int:
        """First offset that the log still has."""
        key = TopicPartition(tp.topic, tp.partition)
        return int((await self._ensure_consumer().beginning_offsets([key]))[key])

    async def commit_positions(self, positions: dict[TP, Position], group_generation: int) -> None:
        """Commit offsets and metadata in one request.

        Raises:
            aiokafka.errors.KafkaError: the broker did not acknowledge it, or the group has rebalanced.
            TimeoutError: it did not answer in time.
        """
        consumer = self._ensure_consumer()
        if consumer._coordinator.generation != group_generation:
            raise CommitFailedError("the group has rebalanced since these positions were computed")
        request = consumer.commit(
            {
                TopicPartition(tp.topic, tp.partition): OffsetAndMetadata(position.offset, position.metadata())
                for tp, position in positions.items()
            }
        )
        await asyncio.wait_for(request, _COMMIT_DEADLINE_S)


class ExactConsumer(Consumer):  # type: ignore[misc]  # faust has no types
    """Hands records on to ``app.take_records`` by the handful, and never commits by itself."""

    def _new_consumer_thread(self) -> ExactThread:
        return ExactThread(self, loop=self.loop, beacon=self.beacon)

    def _new_offset(self, tp: TP) -> int | None:
        # Acknowledgements say nothing about durability; positions do. The lists would grow without bound.
        self._acked[tp].clear()
        self._acked_index[tp].clear()
        return None

    async def _drain_messages(self, fetcher: Any) -> None:
        try:
            while not (self.should_stop or fetcher.should_stop):
                await self._drain_once()
        except (*self.consumer_stopped_errors, asyncio.CancelledError):
            if not self.app.should_stop:
                raise

    async def _drain_once(self) -> None:
        if not self.flow_active:
            await self.wait(self.can_resume_flow)
            return
        assignment = self.app.assignment
        records, _ = await self._wait_next_records(_FETCH_WAIT_S)
        await asyncio.sleep(0)  # fetching never waits at a large lag, and others want to live
        if not self.flow_active or self.app.assignment != assignment:
            # Partitions moved meanwhile, and nobody can tell whose records these are. They are dropped, so fetching
            # has to go back to before them, as Faust's own loop does; what was taken in already is passed over.
            try:
                await self.perform_seek()
            except (KafkaError, TimeoutError, AssertionError) as error:
                # aiokafka asserts that something is assigned: nothing is, just then, or no longer.
                _log.info("seek while partitions move: %r", error)
            return
        for tp, some in (records or {}).items():
            await self.app.take_records(TP(tp.topic, tp.partition), some, assignment)

    def verify_event_path(self, now: float, tp: TP) -> None:
        """Faust would complain that nothing is ever committed; streams.watchdog looks after progress."""

    async def check_group(self) -> None:
        """See :meth:`ExactThread.check_group`."""
        await self._thread.call_thread(self._thread.check_group)

    async def load_committed(self, tp: TP) -> Committed:
        """See :meth:`ExactThread.load_committed`."""
        found: Committed = await self._thread.call_thread(self._thread.load_committed, tp)
        return found

    async def log_start(self, tp: TP) -> int:
        """See :meth:`ExactThread.log_start`."""
        offset: int = await self._thread.call_thread(self._thread.log_start, tp)
        return offset

    async def commit_positions(self, positions: dict[TP, Position], group_generation: int) -> None:
        """See :meth:`ExactThread.commit_positions`."""
        await self._thread.call_thread(self._thread.commit_positions, positions, group_generation)


class ExactTransport(Transport):  # type: ignore[misc]  # faust has no types
    """Faust's transport with our consumer."""

    Consumer: ClassVar[type[ExactConsumer]] = ExactConsumer
