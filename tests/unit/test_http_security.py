"""Who may ask: loopback by name, others by token; every answer carries the security headers."""

import httpx
import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Route

from dashboard.security import COOKIE, Access, SecurityMiddleware
from flamebus.errors import UsageError


async def _secret(_request: Request) -> PlainTextResponse:
    return PlainTextResponse("secret")


def client(listen: str, token: str, host: str = "127.0.0.1:4040") -> httpx.AsyncClient:
    app = Starlette(routes=[Route("/", _secret), Route("/healthz", _secret)])
    transport = httpx.ASGITransport(SecurityMiddleware(app, Access.of(listen, token)))
    return httpx.AsyncClient(transport=transport, base_url=f"http://{host}")


@pytest.mark.parametrize("listen", ["0.0.0.0:4040", "10.0.0.1:4040", "[::]:4040", ":4040", "profiles.example:4040"])
def test_the_network_needs_a_token(listen: str) -> None:
    with pytest.raises(UsageError, match="needs a token"):
        Access.of(listen, "")
    assert Access.of(listen, "t").token == "t"


@pytest.mark.parametrize(("host", "status"), [("127.0.0.1:4040", 200), ("localhost", 200), ("evil.example", 421)])
async def test_on_loopback_only_our_own_name_is_answered(host: str, status: int) -> None:
    answer = await client("127.0.0.1:4040", "", host).get("/")
    assert answer.status_code == status
    assert "default-src 'none'" in answer.headers["content-security-policy"]


@pytest.mark.parametrize(("header", "status"), [("Bearer right", 200), ("bearer right", 200), ("Bearer wrong", 401)])
async def test_a_token_opens(header: str, status: int) -> None:
    answer = await client("0.0.0.0:4040", "right").get("/", headers={"Authorization": header})
    assert answer.status_code == status


async def test_without_the_token_only_probes_answer() -> None:
    stranger = client("0.0.0.0:4040", "right")
    refused = await stranger.get("/")
    assert (refused.status_code, refused.headers["content-type"]) == (401, "application/problem+json")
    assert (await stranger.get("/healthz")).status_code == 200


async def test_a_browser_exchanges_the_token_for_a_cookie() -> None:
    browser = client("0.0.0.0:4040", "right")
    assert (await browser.get("/?token=wrong")).status_code == 401
    exchange = await browser.get("/?token=right&since=1h")
    assert "secret" not in exchange.text
    assert "since=1h" in exchange.text
    assert "right" not in exchange.text
    assert browser.cookies.get(COOKIE)
    assert (await browser.get("/")).text == "secret"


PAGE = {"Accept": "text/html,application/xhtml+xml;q=0.9,*/*;q=0.8"}


async def test_a_browser_without_the_token_is_given_a_form() -> None:
    refused = await client("0.0.0.0:4040", "right").get("/?service=a%22b", headers=PAGE)
    assert refused.status_code == 401
    assert 'value="/?service=a%22b"' in refused.text
    assert "form-action 'self'" in refused.headers["content-security-policy"]
    assert "secret" not in refused.text


async def test_the_form_takes_the_token_and_leads_on() -> None:
    browser = client("0.0.0.0:4040", "right")
    again = await browser.post("/sign-in", data={"token": "wrong", "next": "/?since=1h"})
    assert again.status_code == 401
    assert "not the token" in again.text
    onward = await browser.post("/sign-in", data={"token": " right ", "next": "/?since=1h"})
    assert "url=/?since=1h" in onward.text
    assert (await browser.get("/")).text == "secret"


@pytest.mark.parametrize("target", ["//evil.example/", "https://evil.example/", "/\\evil.example", "\t//evil.example"])
async def test_the_form_never_leads_elsewhere(target: str) -> None:
    onward = await client("0.0.0.0:4040", "right").post("/sign-in", data={"token": "right", "next": target})
    address = onward.text.partition("url=")[2]
    assert address.startswith("/")
    assert address[1] not in "/\\"


async def test_a_huge_form_is_refused() -> None:
    answer = await client("0.0.0.0:4040", "right").post("/sign-in", content=b"x" * 20_000)
    assert answer.status_code == 413
