"""``flamebus serve``: the HTTP API and the page, from the store."""

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
    listen: Annotated[str | None, typer.Option("--listen", help="host:port", show_default=False)] = None,
    token: Annotated[str | None, typer.Option("--token", help="Bearer token of clients", show_default=False)] = None,
    config: ConfigOption = None,
) -> None:
    """Serve the HTTP API and the page until interrupted."""
    settings = load({"store": store, "listen": listen, "token": token}, file=config).settings

    from dashboard.queries import Queries
    from dashboard.security import Access
    from dashboard.server import build_app, listen_on, run
    from dashboard.stored import StoredProfiles
    from flamebus.clock import SystemClock
    from flamebus.store.reader import StoreReader

    access = Access.of(settings.listen, settings.token.get_secret_value())
    bound = listen_on(settings.listen)
    queries = Queries(StoredProfiles(StoreReader(settings.store, settings.s3_endpoint)))
    host, port = bound.getsockname()[:2]
    typer.echo(f"flamebus: the page is at http://{f'[{host}]' if ':' in host else host}:{port}/", err=True)
    run(build_app(queries, access, SystemClock()), bound)
