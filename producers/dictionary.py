"""What samples refer to by number inside the agent: call-tree nodes, resources, threads. One generation at a time.

Everything here is bounded: when a generation is full the agent starts a new one, and the old one goes as soon as the
last batch that refers to it has been cut. That costs resolving every live stack once more, and is counted.
"""

from flamebus.profile import Resource, service_of
from producers.call_tree import CallTree

MAX_NODES = 25_000
"""About 4 MB. A busy host of 30 services shows 3,000 to 20,000 nodes."""
MAX_STRING_BYTES = 4_000_000
MAX_THREADS = 20_000


class Dictionary:
    """One generation of everything that samples refer to."""

    def __init__(self) -> None:
        self.tree = CallTree()
        self._resources: dict[Resource, int] = {}
        self._threads: dict[tuple[int, str], int] = {}
        self.resources: list[Resource] = []
        self.services: list[str] = []
        """Service of each resource."""
        self.threads: list[tuple[int, str]] = []
        """Thread id and name."""

    @property
    def is_full(self) -> bool:
        """Whether the next generation is due."""
        tree = self.tree
        return (
            len(tree) > MAX_NODES
            or tree.string_bytes > MAX_STRING_BYTES
            or len(self.threads) > MAX_THREADS
            or len(self.resources) > MAX_THREADS
        )

    def resource(self, resource: Resource) -> int:
        """Row of a resource."""
        row = self._resources.get(resource)
        if row is None:
            row = self._resources[resource] = len(self.resources)
            self.resources.append(resource)
            self.services.append(service_of(resource))
        return row

    def thread(self, tid: int, name: str) -> int:
        """Row of a thread."""
        key = (tid, name)
        row = self._threads.get(key)
        if row is None:
            row = self._threads[key] = len(self.threads)
            self.threads.append(key)
        return row
