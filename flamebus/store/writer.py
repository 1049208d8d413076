"""Writes closed windows: dictionaries first, so that no reader ever meets a stack it cannot name."""

from collections import OrderedDict, defaultdict
from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet

import pyarrow as pa
import xxhash

from flamebus.frames import Frame
from flamebus.store.columns import (
    ROW_GROUP_ROWS,
    SCHEMAS,
    heat_table,
    losses_table,
    samples_table,
    sorted_table,
    stack_frames,
    windows_table,
)
from flamebus.store.files import open_files
from flamebus.store.layout import Dataset, date_of, folder, window_file
from flamebus.window_profile import LogRange, WindowProfile

MAX_REMEMBERED = 500_000
"""Ids kept to write each dictionary row once a day: about 60 MB at worst. Forgetting only writes a row again."""

_Group = tuple[str, str, str]
"""(kind, date, service): whose dictionary it is."""


class _Remembered:
    """The ids that were written, of the dictionaries that were used most recently."""

    def __init__(self, limit: int) -> None:
        self._ids: OrderedDict[_Group, set[int]] = OrderedDict()
        self._count = 0
        self._limit = limit

    def missing(self, group: _Group, ids: AbstractSet[int]) -> AbstractSet[int]:
        """Those that have to be written."""
        known = self._ids.get(group)
        if known is None:
            return ids
        self._ids.move_to_end(group)
        return ids - known

    def add(self, group: _Group, ids: AbstractSet[int]) -> None:
        known = self._ids.setdefault(group, set())
        before = len(known)
        known.update(ids)
        self._count += len(known) - before
        while self._count > self._limit:
            self._count -= len(self._ids.popitem(last=False)[1])


class StoreWriter:
    """Writes windows; one per worker, used by one thread at a time.

    Writing the same windows again replaces their files, so a worker may repeat what it did not commit.
    """

    def __init__(self, location: str, s3_endpoint: str = "", max_remembered: int = MAX_REMEMBERED) -> None:
        self._files = open_files(location, s3_endpoint)
        self._stacks = _Remembered(max_remembered)
        self._frames = _Remembered(max_remembered)

    def write(self, origin: LogRange, profiles: Sequence[WindowProfile]) -> None:
        """Write whole windows; when it returns they are durable.

        Args:
            origin: the records they were computed from.
            profiles: all services of each window: a second call for the same partition and window replaces the first.

        Raises:
            StoreUnavailableError: the disk is full or read-only, or S3 does not answer. Some windows may have been
                written; call again with the same arguments.
        """
        groups: dict[tuple[str, int], list[WindowProfile]] = defaultdict(list)
        for profile in profiles:
            groups[profile.kind, profile.window.start_unix_nano].append(profile)
        for (kind, start), group in sorted(groups.items()):
            self._write_dictionaries(origin, kind, start, group)
            for dataset, make in _TABLES.items():
                self._put(dataset, kind, origin, start, make(group))

    def _put(
        self, dataset: Dataset, kind: str, origin: LogRange, start: int, table: pa.Table, content: str = ""
    ) -> None:
        if table.num_rows:
            name = window_file(origin, start, table["service"].unique().to_pylist(), content)
            self._files.write_table(f"{folder(dataset, kind, start)}/{name}", table, ROW_GROUP_ROWS[dataset])

    def _write_dictionaries(self, origin: LogRange, kind: str, start: int, profiles: list[WindowProfile]) -> None:
        stacks: dict[_Group, dict[int, list[int]]] = {}
        frames: dict[_Group, dict[int, Frame]] = {}
        for profile in profiles:
            group = (kind, date_of(start), profile.service)
            new_stacks, new_frames = stacks.setdefault(group, {}), frames.setdefault(group, {})
            for stack_id in self._stacks.missing(group, profile.stacks.keys()):
                pairs = stack_frames(profile.stacks[stack_id])
                new_stacks[stack_id] = [frame for frame, _ in pairs]
                new_frames.update(pairs)
            for known in new_frames.keys() - self._frames.missing(group, new_frames.keys()):
                del new_frames[known]
        self._put(Dataset.FRAMES, kind, origin, start, _frames_table(frames), _content(frames))
        self._put(Dataset.STACKS, kind, origin, start, _stacks_table(stacks), _content(stacks))
        for remembered, new in ((self._frames, frames), (self._stacks, stacks)):
            for group, own in new.items():
                remembered.add(group, own.keys())


_TABLES = {
    Dataset.HEAT: heat_table,
    Dataset.LOSSES: losses_table,
    Dataset.WINDOWS: windows_table,
    Dataset.SAMPLES: samples_table,
}
"""Samples last: who sees a window's samples sees all the rest of it."""


def _content(rows: Mapping[_Group, Mapping[int, object]]) -> str:
    """Names a dictionary file by its rows: what is new differs from run to run, and may not replace another's rows."""
    text = "\n".join(f"{service}\t{number}" for (_, _, service), own in sorted(rows.items()) for number in sorted(own))
    return f"{xxhash.xxh3_64_intdigest(text.encode()):016x}"


def _stacks_table(stacks: Mapping[_Group, Mapping[int, list[int]]]) -> pa.Table:
    rows = [(service, *row) for (_, _, service), own in stacks.items() for row in own.items()]
    return _table(Dataset.STACKS, rows)


def _frames_table(frames: Mapping[_Group, Mapping[int, Frame]]) -> pa.Table:
    rows = [
        (service, number, frame.function, frame.mapping, int(frame.kind), frame.file, frame.line)
        for (_, _, service), own in frames.items()
        for number, frame in own.items()
    ]
    return _table(Dataset.FRAMES, rows)


def _table(dataset: Dataset, rows: Sequence[tuple[object, ...]]) -> pa.Table:
    schema = SCHEMAS[dataset]
    columns = zip(*rows, strict=True) if rows else [()] * len(schema)
    arrays = [pa.array(column, field.type) for column, field in zip(columns, schema, strict=True)]
    return sorted_table(dataset, pa.Table.from_arrays(arrays, schema=schema))
