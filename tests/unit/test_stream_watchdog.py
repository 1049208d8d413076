"""When a worker counts as stuck."""

from __future__ import annotations

import threading

from faust.types import TP

from streams.watchdog import Progress, StuckDetector, Watchdog

A, B = TP("t", 0), TP("t", 1)
PATIENCE = 3


def verdicts(*looks: Progress) -> list[str]:
    detector = StuckDetector(PATIENCE)
    return [detector.observe(look) for look in looks]


def looks(
    ends: list[int], offsets: list[int | None], waits: list[bool] | None = None, beats: list[int] | None = None
) -> list[Progress]:
    return [
        Progress(
            beats[n] if beats else n,
            {A: end},
            {} if (offset := offsets[n]) is None else {A: offset},
            waits[n] if waits else False,
        )
        for n, end in enumerate(ends)
    ]


def test_a_log_that_grows_while_nothing_moves_is_being_stuck() -> None:
    found = verdicts(*looks([10, 11, 12, 13], [5, 5, 5, 5]))
    assert found[:3] == ["", "", ""]
    assert "log grew to 13" in found[3]


def test_a_partition_of_which_nothing_was_ever_read_may_be_stuck_too() -> None:
    assert verdicts(*looks([10, 11, 12, 13], [None] * 4))[3]


def test_moving_slowly_is_not_being_stuck() -> None:
    assert not any(verdicts(*looks([100, 200, 300, 400, 500, 600], [1, 1, 2, 2, 3, 3])))


def test_a_log_that_does_not_grow_says_nothing() -> None:
    """The broker may be away: then nobody could read."""
    assert not any(verdicts(*looks([10] * 8, [5] * 8)))


def test_waiting_at_the_end_is_not_being_stuck() -> None:
    assert not any(verdicts(*looks([10] * 8, [10] * 8)))


def test_while_a_sink_is_down_patience_starts_anew() -> None:
    ends = list(range(10, 20))
    waits = [n < 6 for n in range(10)]
    found = verdicts(*looks(ends, [5] * 10, waits))
    assert not any(found[:9])
    assert found[9]


def test_one_of_two_partitions_is_enough() -> None:
    detector = StuckDetector(PATIENCE)
    found = [detector.observe(Progress(n, {A: 10 + n, B: 10 + n}, {A: 10 + n, B: 4}, False)) for n in range(4)]
    assert "partition=1" in found[3]


def test_an_event_loop_that_does_not_turn_is_stuck() -> None:
    found = verdicts(*looks([10] * 5, [10] * 5, beats=[7] * 5))
    assert "event loop" in found[3]


def test_the_thread_gives_up_once_and_ends() -> None:
    given_up = threading.Event()
    dog = Watchdog(lambda: Progress(1, {}, {}, may_wait=False), lambda _: given_up.set(), check_s=0.001)
    dog.start()
    assert given_up.wait(30)


def test_a_stopped_watchdog_says_nothing() -> None:
    given_up = threading.Event()
    dog = Watchdog(lambda: Progress(1, {}, {}, may_wait=False), lambda _: given_up.set(), check_s=60)
    dog.start()
    dog.stop()
    dog.join(30)
    assert not given_up.is_set()
