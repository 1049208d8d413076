"""``flamebus serve``: the HTTP API and the page, from the store."""

import socket
from ipaddress import ip_address
from typing import Annotated

import typer

from flamebus.cli.options import ConfigOption, StoreOption
from flamebus.config import load


def register(app: typer.Typer, verb: str) -> None:
    """Add the verb."""
    app.command(verb)(serve)


def serve(
    *,
    store: StoreOption = None,
    listen: Annotated[str | None, typer.Option("--listen", help="host:port; beyond loopback only with a token")] = None,
    token: Annotated[
        str | None, typer.Option("--token", help="What clients must present; better in FLAMEBUS_TOKEN")
    ] = None,
    config: ConfigOption = None,
) -> None:
    """Serve the HTTP API and the page until interrupted."""
    settings = load({"store": store, "listen": listen, "token": token}, file=config).settings

    from dashboard.profiles import StoredProfiles
    from dashboard.queries import Queries
    from dashboard.security import Access
    from dashboard.server import build_app, listen_on, run
    from flamebus.clock import SystemClock
    from flamebus.store.reader import StoreReader

    access = Access.of(settings.listen, settings.token.get_secret_value())
    bound = listen_on(settings.listen)
    queries = Queries(StoredProfiles(StoreReader(settings.store, settings.s3_endpoint)))
    typer.echo(f"flamebus: the page is at {address(*bound.getsockname()[:2])}", err=True)
    run(build_app(queries, access, SystemClock()), bound)


def address(host: str, port: int) -> str:
    """What a person opens: a listener on every address is named after this machine."""
    name = socket.gethostname() if ip_address(host).is_unspecified else host
    return f"http://{f'[{name}]' if ':' in name else name}:{port}/"
