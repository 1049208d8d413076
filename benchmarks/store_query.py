"""How long a question about a day of a hundred services takes, in a store of the real writer and compactor."""

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq

from benchmarks.report import Figure, main
from benchmarks.store_day import PERIOD_NS, services, windows
from flamebus.clock import SystemClock
from flamebus.store.compaction import Compactor
from flamebus.store.inspection import describe
from flamebus.store.layout import DAY_NS, HOUR_NS, Dataset
from flamebus.store.reader import StoreReader
from flamebus.store.totals import search, top_functions
from flamebus.store.writer import StoreWriter
from flamebus.time_range import TimeRange

SEED = 1
START_UNIX_NANO = 1_767_225_600 * 10**9  # 2026-01-01T00:00:00Z
DAY = TimeRange(START_UNIX_NANO, START_UNIX_NANO + DAY_NS)
MAX_NODES = 8_192
BAR_S = 1.0
ASKED = ("service-001", "service-010", "service-050", "service-100")
_DONE = "benchmark-is-complete"


def write_hours(location: str, hours: list[int]) -> None:
    """Write these hours of the day as one worker would."""
    fleet = services(SEED)
    writer = StoreWriter(location)
    for hour in hours:
        for origin, profiles in windows(fleet, START_UNIX_NANO + hour * HOUR_NS, SEED):
            writer.write(origin, profiles)
        print(f"hour {hour:02d} is written", file=sys.stderr)


def compact(location: str) -> float:
    """Compact all that there is; seconds taken. The second run deletes what the first one replaced."""
    begin = time.perf_counter()
    compactor = Compactor(location, SystemClock(), grace_ns=0)
    first = compactor.run()
    taken = time.perf_counter() - begin
    second = compactor.run()
    assert not first.damaged, "a kept folder was written in another format: remove it"
    assert not second.damaged
    print(f"{first.merged:,} files merged into {first.written:,}; {second.deleted:,} deleted", file=sys.stderr)
    return taken


def write_day(location: str) -> None:
    """A day by two workers; its last hour lies as it was written, all others are compacted."""
    with ProcessPoolExecutor(2) as pool:
        list(pool.map(write_hours, [location] * 2, [list(range(0, 23, 2)), list(range(1, 23, 2))]))
    compact(location)
    write_hours(location, [23])
    Path(location, _DONE).touch()


def drop_from_cache(location: str) -> None:
    """Take the store's files out of the kernel's page cache."""
    os.sync()
    for path in Path(location).rglob("*.parquet"):
        descriptor = os.open(path, os.O_RDONLY)
        os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
        os.close(descriptor)


def seconds(question: Callable[[], object], repeats: int = 5) -> float:
    """Median of several runs."""
    taken = []
    for _ in range(repeats):
        begin = time.perf_counter()
        question()
        taken.append(time.perf_counter() - begin)
    return float(np.median(taken))


def flame_graph(location: str, service: str) -> int:
    """What a new process has to do for the flame graph of the day; how many nodes it has."""
    tree = StoreReader(location).tree(service, "cpu", DAY, MAX_NODES)
    return len(tree.parent)


def slowest(location: str, *, is_cold: bool) -> float:
    """The slowest of the services asked for; cold means that no file is in the kernel's page cache."""
    taken = []
    for service in ASKED:
        if is_cold:
            drop_from_cache(location)
        taken.append(seconds(partial(flame_graph, location, service), repeats=1 if is_cold else 5))
    return max(taken)


def by_command(location: str) -> float:
    """The same by the command line, start of Python included."""
    command = [
        *(sys.executable, "-m", "flamebus", "flamegraph", "--store", location, "--service", ASKED[0]),
        *("--from", str(DAY.from_unix_nano), "--to", str(DAY.to_unix_nano), "--format", "json"),
    ]
    return seconds(lambda: subprocess.run(command, check=True, stdout=subprocess.DEVNULL), repeats=3)


def measured(location: str, compacted: str) -> list[Figure]:
    """The figures of a day whose last hour is not compacted, and of the same day when it is."""
    compact_s = compact(compacted)
    reader = StoreReader(compacted)
    found = reader.stacks(ASKED[0], "cpu", DAY)
    samples = sum(round(reader.stacks(name, "cpu", DAY).total / PERIOD_NS) for name in ASKED)
    assert samples == sum(round(StoreReader(location).stacks(name, "cpu", DAY).total / PERIOD_NS) for name in ASKED)
    info = {entry.dataset: entry for entry in describe(compacted)}
    whole_bytes = sum(entry.bytes for entry in info.values())
    return [
        Figure("flame graph of a day, compacted, warm", slowest(compacted, is_cold=False), "s", BAR_S),
        Figure("flame graph of a day, compacted, cold", slowest(compacted, is_cold=True), "s", BAR_S),
        Figure("flame graph of a day, last hour as written, warm", slowest(location, is_cold=False), "s", BAR_S),
        Figure("flame graph of a day, last hour as written, cold", slowest(location, is_cold=True), "s", BAR_S),
        Figure("flamebus flamegraph --format json of a day", by_command(compacted), "s"),
        Figure("top table of a day, from stacks", seconds(lambda: top_functions(found, limit=50)), "s"),
        Figure("search in a day, from stacks", seconds(lambda: search(found, "exec")), "s"),
        Figure("services of a day", seconds(lambda: StoreReader(compacted).services(DAY)), "s"),
        Figure("compaction of an hour", compact_s, "s"),
        Figure("samples rows of the day", _rows(compacted)),
        Figure("bytes of the day", whole_bytes, "B"),
        Figure("distinct stacks of the busiest service", len(found.value)),
        Figure("nodes of its whole tree", len(found.tree().parent)),
    ]


def _rows(location: str) -> int:
    return sum(pq.read_metadata(path).num_rows for path in Path(location, Dataset.SAMPLES).rglob("*.parquet"))


def measure(folder: Path | None) -> list[Figure]:
    """Write the day unless the folder holds it, and ask."""
    with tempfile.TemporaryDirectory(prefix="flamebus-store-", dir=folder and folder.parent) as temporary:
        location = folder or Path(temporary, "day")
        if not Path(location, _DONE).exists():
            write_day(str(location))
        compacted = Path(temporary, "compacted")
        shutil.copytree(location, compacted, copy_function=os.link)
        return measured(str(location), str(compacted))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m benchmarks.store_query")
    parser.add_argument("--folder", type=Path, help="keep the day here, and use the one that is here")
    main("store_query", lambda: measure(parser.parse_known_args()[0].folder), parser)
