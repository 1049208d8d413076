"""What happens on the stage: each scenario starts workers, publishes, and breaks something while it does."""

from __future__ import annotations

import signal
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from tests.chaos.publisher import Mix

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.chaos.stage import Stage

_WARM_S = 3  # a window and a half before anything breaks


@dataclass(frozen=True, slots=True)
class Scenario:
    """A name, what it does, what it publishes.

    Attributes:
        breaks_broker: needs a broker of its own.
        may_restart: a worker may end by itself and be started again; elsewhere nothing happens that it could not take.
        settles_in_s: I4: session timeout (6 s), closing of the last window (3 s) and replay, with room for a busy
            machine; a broker that was killed takes 14 s to come back on top.
        is_punctual: nothing may be late: no fault here delays a record by more than the allowed lateness.
        is_short: part of the short form that every test run includes.
    """

    name: str
    act: Callable[[Stage], None]
    mix: Mix = field(default_factory=Mix)
    breaks_broker: bool = False
    may_restart: bool = False
    settles_in_s: float = 40
    is_punctual: bool = False
    is_short: bool = False


def _begin(stage: Stage, workers: int = 1) -> None:
    for _ in range(workers):
        stage.start_worker().wait_until_reading()
    stage.publisher.start()
    stage.pass_time(_WARM_S)


def steady(stage: Stage) -> None:
    _begin(stage)
    stage.pass_time(10)


def kill_worker(stage: Stage) -> None:
    _begin(stage)
    for _ in range(4):
        stage.pass_time(stage.rng.uniform(1, 4))
        stage.workers[-1].end(signal.SIGKILL)
        stage.start_worker()
    stage.pass_time(6)


def restart_worker(stage: Stage) -> None:
    _begin(stage)
    for _ in range(3):
        stage.pass_time(stage.rng.uniform(2, 4))
        stage.workers[-1].wait_until_listening()
        assert stage.workers[-1].end(signal.SIGTERM) == 0
        stage.start_worker()
    stage.pass_time(6)


def scale(stage: Stage) -> None:
    _begin(stage)
    for _ in range(2):
        stage.start_worker()
        stage.pass_time(stage.rng.uniform(5, 7))
    stage.rng.choice(stage.workers).end(signal.SIGKILL)
    stage.pass_time(8)


def zombie(stage: Stage) -> None:
    _begin(stage, workers=2)
    stage.pass_time(3)
    frozen = stage.rng.choice(stage.workers)
    frozen.send(signal.SIGSTOP)
    stage.pass_time(14)
    frozen.send(signal.SIGCONT)
    stage.pass_time(6)


def kill_broker(stage: Stage) -> None:
    _begin(stage)
    for _ in range(2):
        stage.pass_time(stage.rng.uniform(3, 5))
        stage.kafka.control.kill()
        stage.kafka.control.start()
    stage.pass_time(8)


def freeze_broker(stage: Stage) -> None:
    _begin(stage)
    stage.pass_time(3)
    stage.kafka.control.pause()
    stage.pass_time(12)
    stage.kafka.control.resume()
    stage.pass_time(8)


def refuse_influxdb(stage: Stage) -> None:
    _begin(stage)
    stage.pass_time(3)
    stage.proxy.is_refusing.set()
    stage.pass_time(15)
    stage.proxy.is_refusing.clear()
    stage.pass_time(5)


SCENARIOS = (
    Scenario("steady", steady, is_punctual=True, is_short=True),
    Scenario("kill-worker", kill_worker, is_short=True),
    Scenario("restart-worker", restart_worker),
    Scenario("scale", scale),
    Scenario("zombie", zombie, is_short=True),
    Scenario("kill-broker", kill_broker, breaks_broker=True, may_restart=True, settles_in_s=70),
    Scenario("freeze-broker", freeze_broker, breaks_broker=True, may_restart=True, settles_in_s=55),
    Scenario("refuse-influxdb", refuse_influxdb, is_punctual=True, is_short=True),
    Scenario("duplicates", steady, Mix(duplicated=0.1), is_punctual=True),
    Scenario("late", steady, Mix(late=0.02)),
    Scenario("late-kill", kill_worker, Mix(late=0.02)),
    Scenario("poison", steady, Mix(poison=0.01), is_punctual=True),
    Scenario("oversized", steady, Mix(oversized=0.005), is_punctual=True),
    Scenario("all-at-once", kill_worker, Mix(duplicated=0.1, late=0.02, poison=0.01, oversized=0.003), is_short=True),
)
