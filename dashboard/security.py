"""Who may ask, and what a browser is told: host check, token, and security headers, as one ASGI layer.

On loopback the danger is another site's page in the user's own browser (DNS rebinding), so the ``Host`` header must
name this machine. Beyond loopback a token is required: ``Authorization: Bearer``, or for browsers once, in the form
that answers them or as ``?token=`` in the address, in exchange for a cookie that scripts cannot read.
"""

import hashlib
import hmac
from dataclasses import dataclass
from http import HTTPStatus
from http.cookies import CookieError, SimpleCookie
from ipaddress import ip_address
from urllib.parse import parse_qsl, urlencode

from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from dashboard.problems import problem
from dashboard.token_page import FORM_POLICY, MAX_FORM_BYTES, SIGN_IN_PATH, form_page, onward_page, own_address
from flamebus.errors import UsageError
from flamebus.metrics import split_address

COOKIE = "flamebus_token"
OPEN_PATHS = frozenset({"/healthz", "/ready"})
"""Probes of an orchestrator carry no token and learn nothing but "up"."""

_SECURITY_HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
        "font-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
}


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach a listener on ``host`` (a name or an address without brackets)."""
    if host == "localhost":
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False


@dataclass(frozen=True, slots=True)
class Access:
    """Who may use the server.

    Attributes:
        listen_host: name or address listened on; token: what clients must present, empty for no token.
    """

    listen_host: str
    token: str = ""

    @classmethod
    def of(cls, listen: str, token: str) -> "Access":
        """Access rules of a server on ``listen`` (``host:port``).

        Raises:
            UsageError: not an address, or open to the network without a token.
        """
        host, _ = split_address(listen)
        if not token and not is_loopback(host):
            raise UsageError(
                f"listening on {listen} lets the network in and needs a token: give --token or FLAMEBUS_TOKEN, "
                "or listen on 127.0.0.1"
            )
        return cls(host, token)

    @property
    def cookie(self) -> str:
        """What the cookie holds: derived from the token, so that a leaked cookie is not the token."""
        return hashlib.sha256(b"flamebus page\0" + self.token.encode()).hexdigest()

    def allows_host(self, host_header: str) -> bool:
        """Whether a request for this ``Host`` is meant for us. Behind a token any name will do."""
        if self.token and not is_loopback(self.listen_host):
            return True
        name = host_header.rpartition(":")[0] if _has_port(host_header) else host_header
        name = name.strip("[]").rstrip(".").lower()
        return is_loopback(name) or name == self.listen_host.lower()

    def allows_token(self, offered: str) -> bool:
        """Whether this is the token; takes the same time for any wrong one."""
        return hmac.compare_digest(offered.encode(), self.token.encode())

    def allows_cookie(self, offered: str) -> bool:
        """Whether this is the cookie that the token was exchanged for."""
        return hmac.compare_digest(offered.encode(), self.cookie.encode())


def _has_port(host_header: str) -> bool:
    return host_header.rpartition(":")[2].isdecimal() and not host_header.endswith("]")


class SecurityMiddleware:
    """Refuses strangers before any route runs, and adds the security headers to every answer."""

    def __init__(self, app: ASGIApp, access: Access) -> None:
        self._app = app
        self._access = access

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one request; what is not HTTP (the server's lifespan) passes through."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in _SECURITY_HEADERS.items():
                    headers.setdefault(name, value)
            await send(message)

        answer = self._refusal(scope)
        if answer is not None and _is_sign_in(scope) and answer.status_code == HTTPStatus.UNAUTHORIZED:
            answer = await self._sign_in(Request(scope, receive))
        await (answer or self._app)(scope, receive, send_with_headers)

    def _refusal(self, scope: Scope) -> Response | None:
        headers = Headers(scope=scope)
        if not self._access.allows_host(headers.get("host", "")):
            detail = "this server answers only requests for this machine's own name; open it as http://127.0.0.1:PORT/"
            return problem(HTTPStatus.MISDIRECTED_REQUEST, "wrong-host", detail)
        if not self._access.token or scope["path"] in OPEN_PATHS or self._is_known(headers):
            return None
        return self._exchange(scope) or _unauthorized(scope)

    def _is_known(self, headers: Headers) -> bool:
        scheme, _, offered = headers.get("authorization", "").partition(" ")
        if scheme.lower() == "bearer":
            return self._access.allows_token(offered.strip())
        try:
            cookie = SimpleCookie(headers.get("cookie", "")).get(COOKIE)
        except CookieError:
            return False
        return cookie is not None and self._access.allows_cookie(cookie.value)

    def _exchange(self, scope: Scope) -> Response | None:
        """The answer to ``?token=``: the cookie, and a way on to the same address without the token."""
        query = parse_qsl(scope["query_string"].decode("latin-1"), keep_blank_values=True)
        offered = dict(query).get("token")
        if scope["method"] != "GET" or offered is None or not self._access.allows_token(offered):
            return None
        rest = urlencode([(name, value) for name, value in query if name != "token"])
        return self._welcome(scope, own_address(scope["path"] + (f"?{rest}" if rest else "")))

    async def _sign_in(self, request: Request) -> Response:
        """The answer to the form: the cookie and the page that was wanted, or the form again."""
        body = b""
        async for part in request.stream():
            body += part
            if len(body) > MAX_FORM_BYTES:
                return problem(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, "too-large", "this is no token")
        form = dict(parse_qsl(body.decode("utf-8", "replace")))
        target = own_address(form.get("next", "/"))
        if self._access.allows_token(form.get("token", "").strip()):
            return self._welcome(request.scope, target)
        return _form(target, is_wrong=True)

    def _welcome(self, scope: Scope, target: str) -> Response:
        answer = HTMLResponse(onward_page(target), headers={"Cache-Control": "no-store"})
        is_https = scope["scheme"] == "https"
        answer.set_cookie(COOKIE, self._access.cookie, httponly=True, samesite="strict", path="/", secure=is_https)
        return answer


def _is_sign_in(scope: Scope) -> bool:
    return bool(scope["method"] == "POST" and scope["path"] == SIGN_IN_PATH)


def _unauthorized(scope: Scope) -> Response:
    if scope["method"] == "GET" and _wants_page(Headers(scope=scope).get("accept", "")):
        query = scope["query_string"].decode("latin-1")
        wanted = urlencode([(name, value) for name, value in parse_qsl(query) if name != "token"])
        return _form(own_address(scope["path"] + (f"?{wanted}" if wanted else "")), is_wrong="token=" in query)
    detail = "a token is needed: send 'Authorization: Bearer TOKEN', or open the page in a browser and give it there"
    answer = problem(HTTPStatus.UNAUTHORIZED, "unauthorized", detail)
    answer.headers["WWW-Authenticate"] = 'Bearer realm="flamebus"'
    return answer


def _wants_page(accept: str) -> bool:
    return any(part.partition(";")[0].strip() == "text/html" for part in accept.split(","))


def _form(target: str, *, is_wrong: bool) -> Response:
    # The content policy of all other answers forbids forms; this one needs its own.
    headers = {"Cache-Control": "no-store", "Content-Security-Policy": FORM_POLICY}
    return HTMLResponse(form_page(target, is_wrong=is_wrong), status_code=HTTPStatus.UNAUTHORIZED, headers=headers)
