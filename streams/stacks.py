"""Remembers every stack that was met, so that strings are touched and hashes checked once per stack, not per batch."""

from flamebus.errors import BadDataError
from flamebus.frames import Location
from flamebus.profile import Tables
from flamebus.tables import StackReader

MAX_STACKS = 65_536
"""Stacks kept beyond those of open windows, about 60 MB at 25 frames; a forgotten one is checked when it returns."""


class StackDictionary:
    """Locations by stack id, shared by all windows of a partition."""

    def __init__(self) -> None:
        self._stacks: dict[int, tuple[Location, ...]] = {}
        self._locations: dict[Location, Location] = {}

    def __len__(self) -> int:
        return len(self._stacks)

    def __getitem__(self, stack_id: int) -> tuple[Location, ...]:
        return self._stacks[stack_id]

    def learn(self, tables: Tables) -> None:
        """Take in the stacks of a batch that are not known yet.

        Raises:
            BadDataError: ``hash_mismatch``: an id is not the hash of its frames; nothing of the batch may count then.
        """
        unknown = [row for row, stack_id in enumerate(tables.stacks.id.tolist()) if stack_id not in self._stacks]
        if not unknown:
            return
        reader = StackReader(tables)
        learnt: dict[int, tuple[Location, ...]] = {}
        for row in unknown:
            claimed, actual = int(tables.stacks.id[row]), reader.stack_id(row)
            if claimed != actual:
                raise BadDataError("hash_mismatch", f"stack {row} says id {claimed:#x}; its frames hash to {actual:#x}")
            learnt[claimed] = tuple(self._locations.setdefault(loc, loc) for loc in reader.locations(row))
        self._stacks |= learnt

    def forget_all_but(self, needed: set[int]) -> None:
        """Drop the rest when there are too many."""
        if len(self._stacks) <= MAX_STACKS:
            return
        self._stacks = {stack_id: stack for stack_id, stack in self._stacks.items() if stack_id in needed}
        self._locations = {location: location for stack in self._stacks.values() for location in stack}
