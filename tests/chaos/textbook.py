"""The Faust application that Faust's own documentation teaches: a tumbling table whose windows report when they close.

It is the negative control of the conservation suite: what it gets wrong, with no fault at all, the suite has to see.
"""

from __future__ import annotations

import argparse
import json

import faust

from flamebus.errors import BadDataError
from flamebus.wire.batch import decode_batch


def build(bus: str, topic: str, output: str, group: str, window_s: float) -> faust.App:
    """The application; it writes ``{"service", "window_start", "samples"}`` to ``output`` for every closed window."""
    app = faust.App(
        group,
        broker=bus,
        store="memory://",
        topic_partitions=4,
        web_enabled=False,
        topic_replication_factor=1,
        table_cleanup_interval=1.0,
    )
    samples = app.topic(topic, key_type=bytes, value_type=bytes, key_serializer="raw", value_serializer="raw")
    results = app.topic(output, value_serializer="raw", value_type=bytes)

    def report(key: tuple[str, tuple[float, float]], value: float) -> None:
        service, (start, _) = key
        results.send_soon(value=json.dumps({"service": service, "window_start": start, "samples": value}).encode())

    table = app.Table("samples", default=float, partitions=4, on_window_close=report).tumbling(window_s, expires=1.0)

    @app.agent(samples)  # type: ignore[untyped-decorator]  # faust has no types
    async def count(stream: faust.Stream) -> None:
        async for key, value in stream.items():
            try:
                batch = decode_batch(value)
            except BadDataError:
                continue
            table[key.decode()] += float(batch.samples.weight.sum())

    return app


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    for name in ("bus", "topic", "output", "group"):
        parser.add_argument(f"--{name}", required=True)
    parser.add_argument("--window", type=float, required=True)
    options = parser.parse_args()
    built = build(options.bus, options.topic, options.output, options.group, options.window)
    built.finalize()
    faust.Worker(built, loglevel="info").execute_from_commandline()
