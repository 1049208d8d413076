"""The Faust application: membership, fetching, flow control and life cycle come from Faust, exactness from us."""

import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import faust
from faust.types import TP

from flamebus.config import Settings
from flamebus.wire.topics import samples_topic
from streams.transport import ExactTransport, check_private_names, check_versions
from streams.worker import COMMIT_S, TICK_S, Worker

_MAX_FETCHED_RECORDS = 64
"""Unpacked at once: at the usual 100 KB some 6 MB, however large the lag."""

_SESSION_TIMEOUT_S = 6
"""The least that brokers allow: a killed worker's partitions move on after it."""

_CHECK_GROUP_S = 2.0


class StreamApp(faust.App):  # type: ignore[misc]  # faust has no types
    """Faust's application, which lets go of the sinks last."""

    stream_worker: Worker

    @property
    def assignment(self) -> int:
        """Number of the current assignment of partitions, by our own count."""
        return self.stream_worker.assignment

    async def take_records(self, tp: TP, records: Sequence[Any], assignment: int) -> None:
        """What the consumer has fetched of one partition, in order, in an assignment."""
        await self.stream_worker.intake.take(tp, records, assignment)

    _stopping: Callable[[], None] = staticmethod(lambda: None)

    def when_stopping(self, call: Callable[[], None]) -> None:
        """Have ``call`` called when the application begins to stop, for whatever reason."""
        self._stopping = call

    async def on_stop(self) -> None:
        """The consumer is still there."""
        self._stopping()
        await super().on_stop()

    async def on_shutdown(self) -> None:
        """Everything else has stopped."""
        await super().on_shutdown()
        await self.stream_worker.stop()


def build_app(settings: Settings, worker: Worker) -> StreamApp:
    """The application of one worker.

    Raises:
        SetupError: this Faust is not the one that the overrides fit.
    """
    check_versions()
    check_private_names()
    app = StreamApp(
        settings.group,
        broker=[f"kafka://{server}" for server in settings.bootstrap_servers.split(",")],
        store="memory://",
        # No table is kept, yet Faust makes this folder; not in the directory that somebody happens to stand in.
        datadir=str(Path(tempfile.gettempdir()) / "flamebus-faust"),
        autodiscover=False,
        web_enabled=False,
        topic_allow_declare=False,
        topic_disable_leader=True,
        stream_wait_empty=False,
        broker_max_poll_records=_MAX_FETCHED_RECORDS,
        broker_max_poll_interval=86_400,
        broker_session_timeout=_SESSION_TIMEOUT_S,
        broker_heartbeat_interval=2,
        consumer_auto_offset_reset="earliest",
        consumer_metadata_max_age_ms=5_000,
    )
    app.stream_worker = worker
    app.transport = ExactTransport([*app.conf.broker], app)
    _add_tasks(app, worker, [samples_topic(kind).name(settings.topic_prefix) for kind in settings.kind_names])
    _follow_rebalances(app, worker)
    return app


def _add_tasks(app: StreamApp, worker: Worker, topics: Sequence[str]) -> None:
    # Subscribed to without an agent: our consumer hands the records straight to the intake.
    app.topics.add(app.topic(*topics, key_serializer="raw", value_serializer="raw"))

    @app.task  # type: ignore[untyped-decorator]  # faust has no types
    async def add_records() -> None:
        await worker.intake.run(app)

    @app.task  # type: ignore[untyped-decorator]  # faust has no types
    async def write_windows() -> None:
        await worker.write_windows()

    # Not Faust's timers: they log a warning whenever a broker takes its time.
    @app.task  # type: ignore[untyped-decorator]  # faust has no types
    async def tick() -> None:
        while not app.should_stop:
            await app.sleep(TICK_S)
            await worker.tick({TP(tp.topic, tp.partition) for tp in app.consumer.assignment() if tp.topic in topics})

    @app.task  # type: ignore[untyped-decorator]  # faust has no types
    async def commit() -> None:
        while not app.should_stop:
            await app.sleep(COMMIT_S)
            await worker.commit(app.consumer)

    @app.task  # type: ignore[untyped-decorator]  # faust has no types
    async def end_when_fenced() -> None:
        while not app.should_stop:
            await app.sleep(_CHECK_GROUP_S)
            await app.consumer.check_group()


def _follow_rebalances(app: StreamApp, worker: Worker) -> None:
    @app.on_partitions_revoked.connect  # type: ignore[untyped-decorator]  # faust has no types
    async def revoked(_app: Any, revoked: set[TP], **_: Any) -> None:
        worker.forget_all()

    @app.on_before_shutdown.connect  # type: ignore[untyped-decorator]  # faust has no types
    async def finish(_app: Any, **_: Any) -> None:
        if not app.crashed:
            await worker.finish(app.consumer)
