"""Errors as the client sees them: JSON problems (RFC 9457) that say what failed, where, and what to do."""

from http import HTTPStatus

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse

from flamebus.errors import BadDataError, FlamebusError, UnavailableError, UsageError

MEDIA_TYPE = "application/problem+json"
_RETRY_AFTER_S = "2"


class UnknownServiceError(UsageError):
    """The store has never seen this service."""


class UnknownKindError(UsageError):
    """The store has never seen this kind."""


class ServerBusyError(UnavailableError):
    """More queries wait than the server will queue."""


_STATUS: tuple[tuple[type[FlamebusError], HTTPStatus, str], ...] = (
    (UnknownServiceError, HTTPStatus.NOT_FOUND, "unknown-service"),
    (UnknownKindError, HTTPStatus.NOT_FOUND, "unknown-kind"),
    (UsageError, HTTPStatus.BAD_REQUEST, "bad-request"),
    (ServerBusyError, HTTPStatus.SERVICE_UNAVAILABLE, "busy"),
    (UnavailableError, HTTPStatus.SERVICE_UNAVAILABLE, "store-unavailable"),
    (BadDataError, HTTPStatus.BAD_GATEWAY, "bad-data"),
    (FlamebusError, HTTPStatus.INTERNAL_SERVER_ERROR, "internal"),
)
"""Class of error → status and the last part of the problem's ``type``; the first that fits counts."""


def problem(status: HTTPStatus, kind: str, detail: str, *, retriable: bool = False) -> JSONResponse:
    """The answer for a failure.

    Args:
        status: HTTP status.
        kind: stable word for programs, the end of ``type``: ``urn:flamebus:problem:KIND``.
        detail: for people: what failed, where, what to do.
        retriable: whether the same request may succeed later.
    """
    body = {
        "type": f"urn:flamebus:problem:{kind}",
        "title": status.phrase,
        "status": int(status),
        "detail": detail,
        "retriable": retriable,
    }
    headers = {"Cache-Control": "no-store"} | ({"Retry-After": _RETRY_AFTER_S} if retriable else {})
    return JSONResponse(body, status_code=int(status), headers=headers, media_type=MEDIA_TYPE)


def from_error(_request: Request, error: Exception) -> JSONResponse:
    """Starlette's handler for every :class:`FlamebusError`."""
    for kind, status, word in _STATUS:
        if isinstance(error, kind):
            return problem(status, word, str(error), retriable=kind.retriable)
    raise error


def from_http(_request: Request, error: Exception) -> JSONResponse:
    """Starlette's handler for its own refusals: no such path, method not allowed."""
    if not isinstance(error, HTTPException):
        raise error
    status = HTTPStatus(error.status_code)
    answer = problem(status, status.phrase.lower().replace(" ", "-"), error.detail)
    answer.headers.update(error.headers or {})
    return answer


def from_defect(_request: Request, _error: Exception) -> JSONResponse:
    """Starlette's handler for what nobody foresaw: the trace goes to the log, never to the client."""
    detail = "the server failed while answering; its log has the trace"
    return problem(HTTPStatus.INTERNAL_SERVER_ERROR, "internal", detail)
