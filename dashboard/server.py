"""The ASGI application: routes, the page's files, probes, and how it is run."""

import functools
import json
import socket
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

import uvicorn
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.middleware.gzip import GZipMiddleware
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import BaseRoute, Mount, Route
from starlette.staticfiles import StaticFiles
from starlette.types import Scope

from dashboard.pool import QueryPool
from dashboard.problems import from_defect, from_error, from_http
from dashboard.queries import Export, Queries
from dashboard.security import Access, SecurityMiddleware
from flamebus.clock import Clock
from flamebus.errors import FlamebusError, UsageError
from flamebus.metrics import CONTENT_TYPE, exposition, split_address

STATIC = Path(__file__).parent / "static"
"""The built page: ``make web`` puts it there, the wheel carries it."""

_GZIP_FROM_BYTES = 1024
_GZIP_LEVEL = 5  # a flame graph of 8,192 nodes shrinks fivefold in about 20 ms; level 9 takes twice that for 3 % less
_NO_PAGE = "The page is not built; run `make web` once. The API answers at /api/v1/ (docs/http.md).\n"

Question = Callable[[Mapping[str, str], int], object]
"""Query parameters and the time now (ns UTC) → something for JSON, or an Export."""


class _PageFiles(StaticFiles):
    """The page: assets carry a hash in their name and never change, everything else is asked for again."""

    async def get_response(self, path: str, scope: Scope) -> Response:
        response = await super().get_response(path, scope)
        is_asset = path.startswith("assets/")
        response.headers["Cache-Control"] = "public, max-age=31536000, immutable" if is_asset else "no-cache"
        return response


def build_app(queries: Queries, access: Access, clock: Clock, static: Path = STATIC) -> Starlette:
    """The application.

    Args:
        queries: answers questions from the store.
        access: who may ask.
        clock: what "now" is for ``since=``.
        static: folder of the built page; without one the API works and ``/`` says what to do.
    """
    pool = QueryPool()

    @asynccontextmanager
    async def lifespan(_app: Starlette) -> AsyncIterator[None]:
        yield
        pool.close()

    routes: list[BaseRoute] = [
        *(Route(f"/api/v1/{name}", _endpoint(pool, ask, clock)) for name, ask in queries.questions().items()),
        Route("/healthz", _healthz),
        Route("/ready", _ready(pool, queries)),
        Route("/metrics", _metrics),
        Mount("/api", app=_no_such_question),
        Mount("/", app=_PageFiles(directory=static, html=True)) if static.is_dir() else Route("/", _no_page),
    ]
    return Starlette(
        routes=routes,
        lifespan=lifespan,
        middleware=[
            Middleware(SecurityMiddleware, access=access),
            Middleware(GZipMiddleware, minimum_size=_GZIP_FROM_BYTES, compresslevel=_GZIP_LEVEL),
        ],
        exception_handlers={FlamebusError: from_error, HTTPException: from_http, Exception: from_defect},
    )


def _endpoint(pool: QueryPool, ask: Question, clock: Clock) -> Callable[[Request], object]:
    async def answer(request: Request) -> Response:
        query, now = dict(request.query_params), clock.unix_nano()
        return await pool.run(functools.partial(_answer, ask, query, now))

    return answer


def _answer(ask: Question, query: Mapping[str, str], now_unix_nano: int) -> Response:
    # Encoding belongs to the thread too: a large tree takes tens of milliseconds.
    result = ask(query, now_unix_nano)
    headers = {"Cache-Control": "no-store"}
    if isinstance(result, Export):
        headers["Content-Disposition"] = f'attachment; filename="{result.file_name}"'
        return Response(result.content, media_type=result.media_type, headers=headers)
    body = json.dumps(result, ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode("utf-8", "replace")
    return Response(body, media_type="application/json", headers=headers)


async def _healthz(_request: Request) -> Response:
    return PlainTextResponse("up\n")


def _ready(pool: QueryPool, queries: Queries) -> Callable[[Request], object]:
    async def ready(_request: Request) -> Response:
        await pool.run(queries.check)
        return PlainTextResponse("ready\n")

    return ready


async def _metrics(_request: Request) -> Response:
    return Response(exposition(), headers={"Content-Type": CONTENT_TYPE})


async def _no_page(_request: Request) -> Response:
    return PlainTextResponse(_NO_PAGE)


async def _no_such_question(scope: Scope, _receive: object, _send: object) -> None:
    raise HTTPException(404, f"there is no {scope['path']}; docs/http.md lists what can be asked")


def listen_on(listen: str) -> socket.socket:
    """A bound socket, so that a taken port is known before anything else starts.

    Raises:
        UsageError: not ``host:port``, or the address cannot be listened on.
    """
    host, port = split_address(listen)
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    bound = socket.socket(family, socket.SOCK_STREAM)
    bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        bound.bind((host, port))
        bound.listen(128)
    except OSError as error:
        bound.close()
        raise UsageError(f"cannot listen on {listen}: {error.strerror or error}; choose another --listen") from error
    return bound


def run(app: Starlette, bound: socket.socket) -> None:
    """Serve until SIGINT or SIGTERM; running answers are finished first."""
    config = uvicorn.Config(app, log_level="warning", server_header=False, timeout_graceful_shutdown=5)
    with bound:
        uvicorn.Server(config).run(sockets=[bound])
