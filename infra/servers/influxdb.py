"""One InfluxDB 2 server without Docker, and the few administrative requests that tests and ``flamebus up`` need."""

from __future__ import annotations

import http.client
import json
import secrets
from typing import TYPE_CHECKING, ClassVar

from flamebus.errors import InfluxUnavailableError
from infra.servers.process import LOOPBACK, Server

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

ORG = "flamebus"
BUCKET = "flamebus"
_TIMEOUT_S = 10


class InfluxAdmin:
    """Administrative requests to an InfluxDB on loopback.

    Args:
        port: where it listens.
        token: the operator token, also the one that `set_up` gives to a new server.
    """

    def __init__(self, port: int, token: str) -> None:
        self._port = port
        self._token = token

    def is_ready(self) -> bool:
        """Whether the server answers and says that it is well."""
        try:
            return self.request("GET", "/health").get("status") == "pass"
        except InfluxUnavailableError:
            return False

    def set_up(self) -> None:
        """Gives a server without data its organisation, bucket and token; leaves any other as it is."""
        if not self.request("GET", "/api/v2/setup").get("allowed"):
            return
        password = secrets.token_urlsafe(16)  # people and programs use the token; nobody logs in
        request = {"username": ORG, "password": password, "org": ORG, "bucket": BUCKET, "token": self._token}
        answer = self.request("POST", "/api/v2/setup", request)
        self._map_database(_identifier(answer["org"]), _identifier(answer["bucket"]), BUCKET)

    def create_bucket(self, name: str) -> None:
        """Creates an empty bucket that InfluxQL can read as database ``name``.

        Raises:
            InfluxUnavailableError: the server refused, for instance because the bucket exists.
        """
        orgs = self.request("GET", f"/api/v2/orgs?org={ORG}")["orgs"]
        if not isinstance(orgs, list):
            raise InfluxUnavailableError("InfluxDB lists no organisations")
        org_id = _identifier(orgs[0])
        answer = self.request("POST", "/api/v2/buckets", {"orgID": org_id, "name": name, "retentionRules": []})
        self._map_database(org_id, _identifier(answer), name)

    def _map_database(self, org_id: str, bucket_id: str, name: str) -> None:
        """Says explicitly what the automatic mapping of InfluxQL databases to buckets would guess."""
        mapping = {"orgID": org_id, "bucketID": bucket_id, "database": name, "retention_policy": "autogen"}
        self.request("POST", "/api/v2/dbrps", {**mapping, "default": True})

    def request(self, method: str, path: str, body: object = None) -> dict[str, object]:
        """Sends one request and returns the decoded answer.

        Raises:
            InfluxUnavailableError: the server cannot be reached or refuses; with its own words.
        """
        connection = http.client.HTTPConnection(LOOPBACK, self._port, timeout=_TIMEOUT_S)
        try:
            headers = {"Authorization": f"Token {self._token}", "Content-Type": "application/json"}
            connection.request(method, path, None if body is None else json.dumps(body), headers)
            response = connection.getresponse()
            text = response.read().decode()
        except (OSError, http.client.HTTPException) as error:
            raise InfluxUnavailableError(f"InfluxDB at port {self._port} cannot be reached: {error}") from error
        finally:
            connection.close()
        if response.status >= http.HTTPStatus.BAD_REQUEST:
            raise InfluxUnavailableError(f"InfluxDB refuses {method} {path}: {response.status} {text}")
        answer = json.loads(text) if text else {}
        return answer if isinstance(answer, dict) else {}


class InfluxServer(Server):
    """InfluxDB 2 on loopback, set up with an organisation, a bucket and a token.

    Args:
        folder: data, log and the token (a file that only its owner can read).
        binary: from `infra.build.influxd_binary`.
        port: None for a free one.
        dies_with_parent: see `infra.servers.process.launch`.
    """

    name: ClassVar[str] = "InfluxDB"

    def __init__(self, folder: Path, binary: Path, *, port: int | None = None, dies_with_parent: bool = True) -> None:
        super().__init__(folder, port=port, dies_with_parent=dies_with_parent)
        self._binary = binary
        self.token = kept_token(folder / "token")
        self.admin = InfluxAdmin(self.port, self.token)

    @property
    def url(self) -> str:
        """The address for clients."""
        return f"http://{self.address}"

    def start(self, deadline_s: float = 90) -> None:
        """Starts the server, waits until it answers, and sets it up when its data is new."""
        super().start(deadline_s)
        self.admin.set_up()

    def _command(self) -> Sequence[str]:
        return [
            *(str(self._binary), "--http-bind-address", self.address, "--reporting-disabled"),
            *("--bolt-path", str(self.folder / "influxd.bolt"), "--engine-path", str(self.folder / "engine")),
            *("--sqlite-path", str(self.folder / "influxd.sqlite")),
        ]

    def _is_ready(self) -> bool:
        return self.admin.is_ready()


def kept_token(path: Path) -> str:
    """The token in a file; a new one, readable by the owner only, when there is no file yet."""
    if not path.exists():
        path.touch(mode=0o600)
        path.write_text(secrets.token_urlsafe(32))
    return path.read_text()


def _identifier(resource: object) -> str:
    """The id of an organisation or a bucket as InfluxDB answers it."""
    found = resource.get("id") if isinstance(resource, dict) else None
    if not isinstance(found, str):
        raise InfluxUnavailableError(f"InfluxDB answered without an id: {resource!r}")
    return found
