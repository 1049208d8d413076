"""Stands between a worker and InfluxDB: can refuse for a while or by a script, and remembers what InfluxDB took.

What it remembers shows a value that changed after it was final, which the database itself, full of upserts, forgets.
"""

from __future__ import annotations

import http.client
import re
import threading
import time
from collections import defaultdict, deque
from dataclasses import dataclass, field
from gzip import decompress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

_WRITE = "/api/v2/write"
_REFUSAL = b'{"code":"unavailable","message":"refused by the test"}'
_UNAVAILABLE = 503
_ACCEPTED = 204
_FIELD = re.compile(r'(\w+)=("(?:[^"\\]|\\.)*"|[^,]+)')


@dataclass(frozen=True, slots=True)
class Answer:
    """What the proxy says to one write; status 0 cuts the connection."""

    status: int
    headers: Mapping[str, str] = field(default_factory=dict)


class InfluxProxy:
    """An HTTP server on loopback that passes everything on to ``upstream`` (``host:port``)."""

    def __init__(self, upstream: str) -> None:
        self._upstream = upstream
        self.is_refusing = threading.Event()
        self.script: deque[Answer] = deque()
        """Answers to the next writes, instead of InfluxDB's."""
        self.write_times: list[float] = []
        self.written_lines: list[int] = []
        self.points: dict[tuple[str, int], list[dict[str, str]]] = defaultdict(list)
        self._lock = threading.Lock()
        proxy = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                proxy.forward(self)

            def do_GET(self) -> None:
                proxy.forward(self)

            def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class calls it so
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, name="influx-proxy", daemon=True)
        self._thread.start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def forward(self, request: BaseHTTPRequestHandler) -> None:
        body = request.rfile.read(int(request.headers.get("Content-Length") or 0))
        if request.path.startswith(_WRITE):
            self.write_times.append(time.monotonic())
            if self.script:
                self._play(request, self.script.popleft())
                return
        if self.is_refusing.is_set():
            self._answer(request, _UNAVAILABLE, _REFUSAL)
            return
        connection = http.client.HTTPConnection(self._upstream, timeout=60)
        try:
            skipped = {"host", "content-length", "connection", "accept-encoding"}
            headers = {name: value for name, value in request.headers.items() if name.lower() not in skipped}
            connection.request(request.command, request.path, body, headers)
            response = connection.getresponse()
            answer = response.read()
        finally:
            connection.close()
        if request.path.startswith(_WRITE) and response.status == _ACCEPTED:
            self._remember(decompress(body) if request.headers.get("Content-Encoding") == "gzip" else body)
        self._answer(request, response.status, answer, response.getheader("Content-Type") or "application/json")

    def _play(self, request: BaseHTTPRequestHandler, answer: Answer) -> None:
        if answer.status:
            self._answer(request, answer.status, _REFUSAL, headers=answer.headers)
        else:
            request.close_connection = True  # no answer at all
            request.connection.close()

    def _answer(
        self,
        request: BaseHTTPRequestHandler,
        status: int,
        body: bytes,
        content_type: str = "application/json",
        headers: Mapping[str, str] | None = None,
    ) -> None:
        try:
            request.send_response(status)
            for name, value in (headers or {}).items():
                request.send_header(name, value)
            if status != _ACCEPTED:
                request.send_header("Content-Type", content_type)
                request.send_header("Content-Length", str(len(body)))
            request.end_headers()
            request.wfile.write(body)
        except (BrokenPipeError, ConnectionResetError):
            pass  # the worker was killed while it waited: that is what the test is for

    def _remember(self, body: bytes) -> None:
        lines = body.decode().split("\n")
        with self._lock:
            self.written_lines.append(len(lines))
            for line in lines:
                if line.startswith("#"):
                    continue
                series, fields, time = _split_line(line)
                self.points[series, time].append(dict(_FIELD.findall(fields)))

    def last_points(self) -> dict[tuple[str, int], dict[str, str]]:
        """Each point as it was written last."""
        with self._lock:
            return {point: writes[-1] for point, writes in self.points.items()}

    def changed_points(self) -> list[str]:
        """Points of which a field was written with two values."""
        changed = []
        with self._lock:
            for (series, time), writes in self.points.items():
                first = writes[0]
                changed += [f"{series} {time}: {first} → {later}" for later in writes[1:] if later != first]
        return changed


def _split_line(line: str) -> tuple[str, str, int]:
    """Series, fields and time of a line of line protocol; spaces inside a series are escaped with a backslash."""
    series, rest = re.split(r"(?<!\\) ", line, maxsplit=1)
    fields, time = rest.rsplit(" ", 1)
    return series, fields, int(time)
