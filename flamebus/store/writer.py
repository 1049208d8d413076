"""Writes closed windows: dictionaries first, so that no reader ever meets a stack it cannot name."""

from collections import OrderedDict, defaultdict
from collections.abc import Iterable, Sequence

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

_Key = tuple[str, str, str, int]
"""(kind, date, service, id)"""


class _Remembered:
    """The ids that were written most recently."""

    def __init__(self, limit: int) -> None:
        self._keys: OrderedDict[_Key, None] = OrderedDict()
        self._limit = limit

    def __contains__(self, key: _Key) -> bool:
        if key not in self._keys:
            return False
        self._keys.move_to_end(key)
        return True

    def add(self, keys: Iterable[_Key]) -> None:
        for key in keys:
            self._keys[key] = None
        while len(self._keys) > self._limit:
            self._keys.popitem(last=False)


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
                self._put(dataset, kind, start, window_file(origin, start), make(group))

    def _put(self, dataset: Dataset, kind: str, start: int, name: str, table: pa.Table) -> None:
        if table.num_rows:
            self._files.write_table(f"{folder(dataset, kind, start)}/{name}", table, ROW_GROUP_ROWS[dataset])

    def _write_dictionaries(self, origin: LogRange, kind: str, start: int, group: list[WindowProfile]) -> None:
        date = date_of(start)
        stacks: dict[_Key, list[int]] = {}
        frames: dict[_Key, Frame] = {}
        for profile in group:
            for stack_id, locations in profile.stacks.items():
                key = (kind, date, profile.service, stack_id)
                if key in self._stacks:
                    continue
                pairs = stack_frames(locations)
                stacks[key] = [frame for frame, _ in pairs]
                frames.update({(kind, date, profile.service, frame): content for frame, content in pairs})
        new_frames = {key: frame for key, frame in frames.items() if key not in self._frames}
        for dataset, keys, table in (
            (Dataset.FRAMES, list(new_frames), _frames_table(new_frames)),
            (Dataset.STACKS, list(stacks), _stacks_table(stacks)),
        ):
            self._put(dataset, kind, start, window_file(origin, start, _content(keys)), table)
        self._frames.add(new_frames)
        self._stacks.add(stacks)


_TABLES = {
    Dataset.HEAT: heat_table,
    Dataset.LOSSES: losses_table,
    Dataset.WINDOWS: windows_table,
    Dataset.SAMPLES: samples_table,
}
"""Samples last: who sees a window's samples sees all the rest of it."""


def _content(keys: list[_Key]) -> str:
    """Names a dictionary file by its rows: what is new differs from run to run, and may not replace another's rows."""
    text = "\n".join(f"{service}\t{number}" for _, _, service, number in sorted(keys))
    return f"{xxhash.xxh3_64_intdigest(text.encode()):016x}"


def _stacks_table(stacks: dict[_Key, list[int]]) -> pa.Table:
    columns: list[Sequence[object]] = [[key[2] for key in stacks], [key[3] for key in stacks], list(stacks.values())]
    return sorted_table(Dataset.STACKS, _table(Dataset.STACKS, columns))


def _frames_table(frames: dict[_Key, Frame]) -> pa.Table:
    values = frames.values()
    columns: list[list[object]] = [
        [key[2] for key in frames],
        [key[3] for key in frames],
        [frame.function for frame in values],
        [frame.mapping for frame in values],
        [int(frame.kind) for frame in values],
        [frame.file for frame in values],
        [frame.line for frame in values],
    ]
    return sorted_table(Dataset.FRAMES, _table(Dataset.FRAMES, columns))


def _table(dataset: Dataset, columns: Sequence[Sequence[object]]) -> pa.Table:
    schema = SCHEMAS[dataset]
    return pa.Table.from_arrays(
        [pa.array(column, field.type) for column, field in zip(columns, schema, strict=True)], schema=schema
    )
