"""Asks the log itself, apart from the group, which record comes first from an offset on."""

import asyncio

from aiokafka import AIOKafkaConsumer
from aiokafka.errors import KafkaError
from aiokafka.structs import TopicPartition
from faust.types import TP

_DEADLINE_S = 15.0
"""A broker that was killed takes 14 s to come back."""


class LogProbe:
    """A consumer without a group: it moves nobody's offsets and takes part in no rebalance."""

    def __init__(self, bootstrap_servers: str) -> None:
        self._servers = bootstrap_servers

    async def first_offset(self, tp: TP, offset: int) -> int | None:
        """Offset of the first record at ``offset`` or after it; ``None`` when the log does not say in time."""
        consumer = AIOKafkaConsumer(
            bootstrap_servers=self._servers, enable_auto_commit=False, auto_offset_reset="none", group_id=None
        )
        try:
            async with asyncio.timeout(_DEADLINE_S):
                await consumer.start()
                key = TopicPartition(tp.topic, tp.partition)
                consumer.assign([key])
                consumer.seek(key, offset)
                return int((await consumer.getone(key)).offset)
        except (KafkaError, TimeoutError):
            return None
        finally:
            await consumer.stop()
