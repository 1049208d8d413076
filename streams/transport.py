"""What Faust's consumer does differently here: commits are ours alone, carry metadata, and a fenced worker notices.

Faust 0.15 commits past a record that was never acknowledged once acknowledgements leave a gap, has no way to attach
metadata to a commit, and goes on reading after its group has fenced it. The three overrides below put that right; each
rests on private names, which :func:`check_private_names` compares at start.
"""

from typing import Any, ClassVar

from aiokafka.structs import OffsetAndMetadata, TopicPartition
from faust.transport.drivers.aiokafka import AIOKafkaConsumerThread, Consumer, Transport
from faust.types import TP

from flamebus.errors import SetupError
from streams.position import Position

_PRIVATE_NAMES: tuple[tuple[type, str], ...] = (
    (Consumer, "_new_offset"),
    (Consumer, "_new_consumer_thread"),
    (AIOKafkaConsumerThread, "_fetch_records"),
    (AIOKafkaConsumerThread, "_ensure_consumer"),
    (AIOKafkaConsumerThread, "call_thread"),
)


def check_private_names(names: tuple[tuple[type, str], ...] = _PRIVATE_NAMES) -> None:
    """Refuse to run on a Faust whose insides are not those that the overrides replace.

    Raises:
        SetupError: a name is gone; the message names it.
    """
    for owner, name in names:
        if not hasattr(owner, name):
            raise SetupError(f"this Faust has no {owner.__name__}.{name}; install the versions of the lock file")


class ExactThread(AIOKafkaConsumerThread):  # type: ignore[misc]  # faust has no types
    """The thread that talks to the broker."""

    async def _fetch_records(self, consumer: Any, *args: Any, **kwargs: Any) -> Any:
        # Raises what the group's coordination has met: a fenced worker must not go on as a zombie.
        consumer._coordinator.check_errors()
        return await super()._fetch_records(consumer, *args, **kwargs)

    async def load_position(self, tp: TP) -> tuple[int | None, str]:
        """Committed offset and metadata of a partition; ``None`` when nothing was committed."""
        key = TopicPartition(tp.topic, tp.partition)
        found = (await self._ensure_consumer()._coordinator.fetch_committed_offsets([key])).get(key)
        return (None, "") if found is None or found.offset < 0 else (found.offset, found.metadata or "")

    async def log_start(self, tp: TP) -> int:
        """First offset that the log still has."""
        key = TopicPartition(tp.topic, tp.partition)
        offsets = await self._ensure_consumer().beginning_offsets([key])
        return int(offsets[key])

    async def commit_positions(self, positions: dict[TP, Position]) -> None:
        """Commit offsets and metadata in one request.

        Raises:
            aiokafka.errors.KafkaError: the broker did not acknowledge it.
        """
        await self._ensure_consumer().commit(
            {
                TopicPartition(tp.topic, tp.partition): OffsetAndMetadata(position.offset, position.metadata())
                for tp, position in positions.items()
            }
        )


class ExactConsumer(Consumer):  # type: ignore[misc]  # faust has no types
    """Never commits by itself."""

    def _new_consumer_thread(self) -> ExactThread:
        return ExactThread(self, loop=self.loop, beacon=self.beacon)

    def _new_offset(self, tp: TP) -> int | None:
        # Acknowledgements say nothing about durability; positions do. The lists would grow without bound.
        self._acked[tp].clear()
        self._acked_index[tp].clear()
        return None

    async def load_position(self, tp: TP) -> tuple[int | None, str]:
        """See :meth:`ExactThread.load_position`."""
        found: tuple[int | None, str] = await self._thread.call_thread(self._thread.load_position, tp)
        return found

    async def log_start(self, tp: TP) -> int:
        """See :meth:`ExactThread.log_start`."""
        offset: int = await self._thread.call_thread(self._thread.log_start, tp)
        return offset

    async def commit_positions(self, positions: dict[TP, Position]) -> None:
        """See :meth:`ExactThread.commit_positions`."""
        await self._thread.call_thread(self._thread.commit_positions, positions)


class ExactTransport(Transport):  # type: ignore[misc]  # faust has no types
    """Faust's transport with our consumer."""

    Consumer: ClassVar[type[ExactConsumer]] = ExactConsumer
