"""One S3 server over a local folder, for tests of ``s3://`` stores."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from infra.servers.process import Server, accepts_connections

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path


class S3Server(Server):
    """An S3 server (versitygw) on loopback; buckets are folders below ``folder/objects``.

    Args:
        folder: objects and log; its file system must keep extended attributes.
        binary: from `infra.build.versitygw_binary`.
        port: None for a free one.
        dies_with_parent: see `infra.servers.process.launch`.
    """

    name: ClassVar[str] = "S3"
    # It listens on loopback only and holds test data only: these guard nothing.
    access_key: ClassVar[str] = "flamebus"
    secret_key: ClassVar[str] = "flamebus-on-loopback"  # noqa: S105 - see above

    def __init__(self, folder: Path, binary: Path, *, port: int | None = None, dies_with_parent: bool = True) -> None:
        super().__init__(folder, port=port, dies_with_parent=dies_with_parent)
        self._binary = binary
        (folder / "objects").mkdir(exist_ok=True)

    @property
    def url(self) -> str:
        """The endpoint for clients (``endpoint_override`` of pyarrow takes `address`, with scheme ``http``)."""
        return f"http://{self.address}"

    def _environment(self) -> Mapping[str, str]:
        return {"ROOT_ACCESS_KEY": self.access_key, "ROOT_SECRET_KEY": self.secret_key}

    def _command(self) -> Sequence[str]:
        return [str(self._binary), "--port", self.address, "posix", str(self.folder / "objects")]

    def _is_ready(self) -> bool:
        return accepts_connections(self.port)
