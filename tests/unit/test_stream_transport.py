"""The overrides of Faust by themselves: what each does that Faust does not, and that their footing is compared."""

from __future__ import annotations

from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest
from aiokafka.errors import CommitFailedError, InconsistentGroupProtocolError
from faust.transport.drivers.aiokafka import Consumer
from faust.types import TP

from flamebus.errors import SetupError
from streams.position import Position
from streams.transport import ExactConsumer, ExactThread, check_private_names, check_versions

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

PARTITION = TP("t", 0)


class Broker:
    """Stands in for aiokafka's consumer and its coordinator, which a thread of Faust holds."""

    def __init__(self, failure: Exception | None = None, generation: int = 1) -> None:
        self.failure = failure
        self.generation = generation
        self.commits: list[dict[Any, Any]] = []
        self._coordinator = self

    def check_errors(self) -> None:
        if self.failure:
            raise self.failure

    async def commit(self, offsets: dict[Any, Any]) -> None:
        self.commits.append(offsets)


def thread(broker: Broker | None) -> Any:
    """A thread that was not started; it holds this broker, if any."""
    found = object.__new__(ExactThread)
    found.consumer = SimpleNamespace(flow_active=False)
    found._consumer = broker
    return found


async def test_a_fenced_worker_hears_of_it_although_its_flow_is_stopped() -> None:
    broker = Broker(InconsistentGroupProtocolError())
    assert await thread(broker)._fetch_records(broker, set()) == {}, "Faust alone asks nobody"
    with pytest.raises(InconsistentGroupProtocolError):
        await thread(broker).check_group()


async def test_a_worker_that_has_no_consumer_yet_is_not_fenced() -> None:
    await thread(None).check_group()


async def test_a_commit_carries_its_metadata() -> None:
    broker, position = Broker(), Position(7, 10, 5)
    await thread(broker).commit_positions({PARTITION: position}, 1)
    ((key, sent),) = broker.commits[0].items()
    assert (key.topic, key.partition) == PARTITION
    assert Position.parse(sent.offset, sent.metadata) == position


async def test_a_commit_of_an_older_assignment_is_not_sent() -> None:
    broker = Broker(generation=2)
    with pytest.raises(CommitFailedError, match="rebalanced"):
        await thread(broker).commit_positions({PARTITION: Position(7)}, 1)
    assert broker.commits == []


class Feed:
    """What a consumer of Faust needs to hand records on: a source of records, and an application."""

    consumer_stopped_errors = ()

    def __init__(self, fetched: Sequence[dict[Any, list[int]]]) -> None:
        self.fetched = list(fetched)
        self.app = self
        self.assignment = 4
        self.flow_active = True
        self.should_stop = False
        self.taken: list[tuple[TP, Sequence[int], int]] = []
        self.seeks = 0
        self.can_resume_flow = "resume"
        self.while_fetching: Callable[[], None] = lambda: None
        self.while_waiting: Callable[[], None] = lambda: None

    async def wait(self, event: str) -> None:
        assert event == "resume"
        self.while_waiting()

    async def _wait_next_records(self, _timeout: float) -> tuple[dict[Any, list[int]], None]:
        records = self.fetched.pop(0)
        self.while_fetching()
        self.should_stop = not self.fetched
        return records, None

    async def _drain_once(self) -> None:
        consumer: Any = self
        await ExactConsumer._drain_once(consumer)

    async def take_records(self, tp: TP, records: Sequence[int], assignment: int) -> None:
        self.taken.append((tp, records, assignment))

    async def perform_seek(self) -> None:
        self.seeks += 1


async def test_records_are_handed_on_by_the_handful_with_their_assignment() -> None:
    feed: Any = Feed([{PARTITION: [1, 2, 3]}, {}, {PARTITION: [4]}])
    await ExactConsumer._drain_messages(feed, SimpleNamespace(should_stop=False))
    assert feed.taken == [(PARTITION, [1, 2, 3], 4), (PARTITION, [4], 4)]


@pytest.mark.parametrize("change", ["flow stops", "assignment changes"])
async def test_what_comes_while_partitions_move_is_dropped_and_fetched_again(change: str) -> None:
    feed: Any = Feed([{PARTITION: [1, 2, 3]}])

    def move() -> None:
        feed.flow_active = change != "flow stops"
        feed.assignment += change == "assignment changes"

    feed.while_fetching = move
    await ExactConsumer._drain_messages(feed, SimpleNamespace(should_stop=False))
    assert feed.taken == []
    assert feed.seeks == 1


async def test_nothing_is_fetched_while_the_flow_is_stopped_and_the_assignment_is_that_after_it() -> None:
    feed: Any = Feed([{PARTITION: [1]}])
    feed.flow_active = False

    def resume() -> None:
        feed.flow_active, feed.assignment = True, 5

    feed.while_waiting = resume
    await ExactConsumer._drain_messages(feed, SimpleNamespace(should_stop=False))
    assert feed.taken == [(PARTITION, [1], 5)]


def test_faust_never_has_anything_to_commit() -> None:
    """Its own rule for an offset goes past a record that was never acknowledged; ours has none."""
    consumer: Any = SimpleNamespace(
        _acked={PARTITION: [3, 4, 7]},
        _acked_index={PARTITION: {3, 4, 7}},
        _committed_offset={PARTITION: 3},
        _gap={PARTITION: None},
    )
    assert ExactConsumer._new_offset(consumer, PARTITION) is None
    assert consumer._acked[PARTITION] == []
    consumer._acked[PARTITION] = [3, 4, 7]
    assert Consumer._new_offset(consumer, PARTITION) == 5


def test_the_installed_libraries_fit() -> None:
    check_versions()
    check_private_names()


def test_another_version_is_refused_by_name() -> None:
    with pytest.raises(SetupError, match=r"aiokafka 0\.14\.0 is installed and streams need 0\.15\.0"):
        check_versions({"aiokafka": "0.15.0"})
    with pytest.raises(SetupError, match="no-such-package none"):
        check_versions({"no-such-package": "1"})


def test_a_private_name_that_is_gone_is_refused_by_name() -> None:
    with pytest.raises(SetupError, match=r"Consumer\._no_such_method"):
        check_private_names(attributes=((Consumer, "_no_such_method"),), set_by=())
    with pytest.raises(SetupError, match="_no_such_attribute"):
        check_private_names(attributes=(), set_by=((Consumer.__init__, "_no_such_attribute"),))
