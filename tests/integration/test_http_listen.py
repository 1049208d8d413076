"""Listening on real sockets: a free port, and one that is taken."""

import pytest

from dashboard.server import listen_on
from flamebus.errors import UsageError


def test_a_taken_port_is_said_clearly() -> None:
    with listen_on("127.0.0.1:0") as first:
        port = first.getsockname()[1]
        with pytest.raises(UsageError, match=f"cannot listen on 127.0.0.1:{port}: .*in use; choose another --listen"):
            listen_on(f"127.0.0.1:{port}")
    listen_on(f"127.0.0.1:{port}").close()


@pytest.mark.parametrize("listen", ["4040", "127.0.0.1", "127.0.0.1:99999", "127.0.0.1:http"])
def test_what_is_no_address_is_refused(listen: str) -> None:
    with pytest.raises(UsageError, match="host:port"):
        listen_on(listen)
