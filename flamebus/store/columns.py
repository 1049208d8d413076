"""Windows as Arrow tables: the columns of every dataset and how they are sorted."""

from collections.abc import Iterable, Sequence
from functools import lru_cache

import numpy as np
import pyarrow as pa
import xxhash
from numpy.typing import NDArray

from flamebus.frames import Frame, Location
from flamebus.profile import CONTAINER_ATTRIBUTE, HOST_ATTRIBUTE, attribute
from flamebus.store.layout import Dataset
from flamebus.window_profile import WindowProfile

_WINDOW = [("window_start", pa.int64()), ("window_size", pa.int64()), ("service", pa.string())]

SCHEMAS: dict[Dataset, pa.Schema] = {
    Dataset.SAMPLES: pa.schema(
        [
            *_WINDOW,
            ("host", pa.string()),
            ("container", pa.string()),
            ("stack_id", pa.uint64()),
            ("value", pa.int64()),
            ("samples", pa.float64()),
            ("variance", pa.float64()),
        ]
    ),
    Dataset.STACKS: pa.schema([("service", pa.string()), ("stack_id", pa.uint64()), ("frames", pa.list_(pa.uint64()))]),
    Dataset.FRAMES: pa.schema(
        [
            ("service", pa.string()),
            ("frame_id", pa.uint64()),
            ("function", pa.string()),
            ("mapping", pa.string()),
            ("frame_kind", pa.uint8()),
            ("file", pa.string()),
            ("line", pa.uint32()),
        ]
    ),
    Dataset.WINDOWS: pa.schema(
        [
            *_WINDOW,
            ("total", pa.int64()),
            ("samples", pa.float64()),
            ("variance", pa.float64()),
            ("late_samples", pa.float64()),
            ("late_value", pa.int64()),
            ("hosts", pa.list_(pa.string())),
            ("sample_type", pa.string()),
            ("unit", pa.string()),
            ("period", pa.int64()),
        ]
    ),
    Dataset.HEAT: pa.schema([*_WINDOW, ("bins", pa.list_(pa.int32()))]),
    Dataset.LOSSES: pa.schema(
        [*_WINDOW, ("reason", pa.string()), ("samples", pa.int64()), ("value", pa.int64())],
    ),
}
"""Times in ns UTC, values in the sample type's unit, stacks leaf first. kind, date and hour are folders."""

SORT_KEYS: dict[Dataset, tuple[str, ...]] = {
    Dataset.SAMPLES: ("service", "window_start", "stack_id"),
    Dataset.STACKS: ("service", "stack_id"),
    Dataset.FRAMES: ("service", "frame_id"),
    Dataset.WINDOWS: ("service", "window_start"),
    Dataset.HEAT: ("service", "window_start"),
    Dataset.LOSSES: ("service", "window_start"),
}
"""Service first: nearly every question is about one, and row groups of the others are then passed over."""

ROW_GROUP_ROWS: dict[Dataset, int] = {
    Dataset.SAMPLES: 32_768,
    Dataset.STACKS: 4_096,
    Dataset.FRAMES: 8_192,
    Dataset.WINDOWS: 2_048,
    Dataset.HEAT: 256,
    Dataset.LOSSES: 8_192,
}
"""A service's rows of an hour, roughly: smaller groups skip better but cost a kilobyte of footer each."""

SOURCE_COLUMN = pa.field("source", pa.uint32())
"""Last column of compacted files: which of the files named in their footer a row came from."""


@lru_cache(maxsize=65_536)  # as many as the tables' own cache of locations
def _location_frames(location: Location) -> tuple[tuple[int, Frame], ...]:
    return tuple((frame_id(frame), frame) for frame in location.frames())


def frame_id(frame: Frame) -> int:
    """Content hash of a frame's identity; source file and line are no part of it."""
    return xxhash.xxh3_64_intdigest(frame.identity)


def stack_frames(locations: Iterable[Location]) -> list[tuple[int, Frame]]:
    """Ids and frames of a stack, leaf first."""
    return [pair for location in locations for pair in _location_frames(location)]


def samples_table(profiles: Sequence[WindowProfile]) -> pa.Table:
    """Rows of the samples dataset, sorted by service, window and stack."""
    ordered = sorted(profiles, key=lambda profile: (profile.service, profile.window))
    lengths = np.array([len(profile.rows.stack_id) for profile in ordered], dtype=np.int64)
    names = [
        [attribute(resource, name) for profile in ordered for resource in profile.resources]
        for name in (HOST_ATTRIBUTE, CONTAINER_ATTRIBUTE)
    ]
    first = np.cumsum([0, *(len(profile.resources) for profile in ordered)])
    resource = np.concatenate(
        [profile.rows.resource.astype(np.int64) + base for profile, base in zip(ordered, first, strict=False)]
    )
    numbers = {
        name: np.concatenate([getattr(profile.rows, name) for profile in ordered])
        for name in ("stack_id", "value", "samples", "variance")
    }
    service = pa.array([profile.service for profile in ordered], pa.string())
    columns = {
        "window_start": np.repeat([profile.window.start_unix_nano for profile in ordered], lengths),
        "window_size": np.repeat([profile.window.size_ns for profile in ordered], lengths),
        "service": service.take(pa.array(np.repeat(np.arange(len(ordered)), lengths))),
        "host": pa.array(names[0], pa.string()).take(pa.array(resource)),
        "container": pa.array(names[1], pa.string()).take(pa.array(resource)),
        **numbers,
    }
    return pa.table(columns, schema=SCHEMAS[Dataset.SAMPLES])


def windows_table(profiles: Sequence[WindowProfile]) -> pa.Table:
    """One row per window and service with its sums, so that a series needs no samples."""
    rows = [
        {
            **_window_fields(profile),
            "total": profile.total,
            "samples": profile.samples,
            "variance": float(profile.rows.variance.sum()),
            "late_samples": profile.late_samples,
            "late_value": profile.late_value,
            "hosts": sorted({attribute(resource, HOST_ATTRIBUTE) for resource in profile.resources}),
            "sample_type": profile.sample_type.type,
            "unit": profile.sample_type.unit,
            "period": profile.period,
        }
        for profile in profiles
    ]
    return sorted_table(Dataset.WINDOWS, pa.Table.from_pylist(rows, schema=SCHEMAS[Dataset.WINDOWS]))


def heat_table(profiles: Sequence[WindowProfile]) -> pa.Table:
    """One row per window and service: its samples per 20 ms."""
    rows = [{**_window_fields(profile), "bins": profile.heat.tolist()} for profile in profiles]
    return sorted_table(Dataset.HEAT, pa.Table.from_pylist(rows, schema=SCHEMAS[Dataset.HEAT]))


def losses_table(profiles: Sequence[WindowProfile]) -> pa.Table:
    """One row per window, service and reason; only what was lost."""
    rows = [
        {**_window_fields(profile), "reason": loss.reason, "samples": loss.samples, "value": loss.value}
        for profile in profiles
        for loss in profile.losses
    ]
    return sorted_table(Dataset.LOSSES, pa.Table.from_pylist(rows, schema=SCHEMAS[Dataset.LOSSES]))


def sorted_table(dataset: Dataset, table: pa.Table) -> pa.Table:
    """The rows in the dataset's order."""
    keys = [_sortable(table.column(key).combine_chunks()) for key in reversed(SORT_KEYS[dataset])]
    return table.take(pa.array(np.lexsort(keys)))


def _sortable(column: pa.Array) -> NDArray[np.generic]:
    """Numbers in the order of the column's values: comparing a few names once beats comparing millions of rows."""
    result: NDArray[np.generic]
    if not pa.types.is_string(column.type):
        result = column.to_numpy()
        return result
    encoded = column.dictionary_encode()
    rank = np.argsort(np.argsort(np.array(encoded.dictionary.to_pylist(), dtype=object)))
    result = rank[encoded.indices.to_numpy()].astype(np.uint32)
    return result


def _window_fields(profile: WindowProfile) -> dict[str, object]:
    window = profile.window
    return {"window_start": window.start_unix_nano, "window_size": window.size_ns, "service": profile.service}
