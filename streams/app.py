"""The Faust application: membership, fetching, flow control and life cycle come from Faust, exactness from us."""

import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import faust
from faust.types import TP

from flamebus.config import Settings
from flamebus.wire.topics import samples_topic
from streams.transport import ExactTransport, check_private_names
from streams.worker import COMMIT_S, TICK_S, Worker

_BUFFER_RECORDS = 64
_SESSION_TIMEOUT_S = 6
"""The least that brokers allow: a killed worker's partitions move on after it."""


def build_app(settings: Settings, worker: Worker) -> faust.App:
    """The application of one worker.

    Raises:
        SetupError: this Faust is not the one that the overrides fit.
    """
    check_private_names()
    app = faust.App(
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
        stream_buffer_maxsize=_BUFFER_RECORDS,
        broker_max_poll_interval=86_400,
        broker_session_timeout=_SESSION_TIMEOUT_S,
        broker_heartbeat_interval=2,
        consumer_auto_offset_reset="earliest",
        consumer_metadata_max_age_ms=5_000,
    )
    app.transport = ExactTransport([*app.conf.broker], app)
    _add_tasks(app, worker, [samples_topic(kind).name(settings.topic_prefix) for kind in settings.kind_names])
    return app


def _add_tasks(app: faust.App, worker: Worker, topics: Sequence[str]) -> None:
    samples = app.topic(
        *topics, key_type=bytes, value_type=bytes, key_serializer="raw", value_serializer="raw", internal=True
    )

    @app.agent(samples, name="intake")  # type: ignore[untyped-decorator]  # faust has no types
    async def intake(stream: Any) -> None:
        async for event in stream.events():
            await worker.take(event.message, app.consumer)

    @app.task  # type: ignore[untyped-decorator]  # faust has no types
    async def write_windows() -> None:
        await worker.write_windows()

    @app.timer(TICK_S)  # type: ignore[untyped-decorator]  # faust has no types
    async def tick() -> None:
        await worker.tick({TP(tp.topic, tp.partition) for tp in app.consumer.assignment() if tp.topic in topics})

    @app.timer(COMMIT_S)  # type: ignore[untyped-decorator]  # faust has no types
    async def commit() -> None:
        await worker.commit(app.consumer)

    @app.on_partitions_revoked.connect  # type: ignore[untyped-decorator]  # faust has no types
    async def revoked(_app: Any, revoked: set[TP], **_: Any) -> None:
        worker.forget_all()
