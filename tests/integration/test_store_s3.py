"""The same store on a real S3 server: written, compacted, read, retained, and away."""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING

import pyarrow.fs as pafs
import pytest

from flamebus.cli import build_app
from flamebus.errors import StoreUnavailableError
from flamebus.store.compaction import Compactor
from flamebus.store.inspection import describe, verify
from flamebus.store.layout import HOUR_NS, Dataset
from flamebus.store.reader import StoreReader
from flamebus.store.retention import retain
from flamebus.store.writer import StoreWriter
from tests.support.small_day import HOUR, START, At, origin, profile

if TYPE_CHECKING:
    from tests.support.servers import RealS3

LATER = START + 3 * HOUR_NS
FUTURE = 2**62


@pytest.fixture
def keys(s3: RealS3, monkeypatch: pytest.MonkeyPatch) -> None:
    """The keys where AWS's own tools look for them."""
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", s3.access_key)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", s3.secret_key)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")


@pytest.fixture
def location(s3: RealS3, keys: None) -> str:
    bucket = f"test-{uuid.uuid4().hex[:12]}"
    make_bucket(s3, bucket)
    return f"s3://{bucket}/fleet/profiles"


def make_bucket(server: RealS3, name: str) -> None:
    filesystem = pafs.S3FileSystem(
        access_key=server.access_key,
        secret_key=server.secret_key,
        endpoint_override=server.address,
        scheme="http",
        allow_bucket_creation=True,
    )
    filesystem.create_dir(name)


def write(location: str, endpoint: str, windows: range = range(5)) -> None:
    writer = StoreWriter(location, endpoint)
    for number in windows:
        stacks = [(("work", "main"), 100), ((f"part-{number % 2}", "main"), 1)]
        writer.write(origin(number), [profile(number, "checkout", stacks)])


def stacks(location: str, endpoint: str) -> list[tuple[tuple[str, ...], int]]:
    found = StoreReader(location, endpoint).stacks("checkout", "cpu", HOUR)
    return sorted((tuple(names), value) for names, value in found.named_stacks())


EXPECTED = [(("part-0", "main"), 3), (("part-1", "main"), 2), (("work", "main"), 500)]


def test_written_read_compacted_and_retained(s3: RealS3, location: str) -> None:
    write(location, s3.url)
    assert stacks(location, s3.url) == EXPECTED
    report = Compactor(location, At(LATER), s3.url).run()
    assert report.written == len(Dataset)
    assert stacks(location, s3.url) == EXPECTED
    assert Compactor(location, At(FUTURE), s3.url).run().deleted == report.merged
    assert stacks(location, s3.url) == EXPECTED
    assert sum(entry.files for entry in describe(location, s3.url)) == len(Dataset)
    assert verify(location, s3.url).files == len(Dataset)
    again = profile(1, "checkout", [(("work", "main"), 5000)])
    StoreWriter(location, s3.url).write(origin(1, 0, 29), [again])
    changed = [(("part-0", "main"), 3), (("part-1", "main"), 1), (("work", "main"), 5400)]
    assert stacks(location, s3.url) == changed
    Compactor(location, At(LATER), s3.url).run()
    assert stacks(location, s3.url) == changed
    assert StoreReader(location, s3.url).services(HOUR) == ["checkout"]
    keep = dict.fromkeys(Dataset, HOUR_NS)
    retain(location, keep, At(START + 100 * HOUR_NS), s3.url)
    assert not describe(location, s3.url)
    assert stacks(location, s3.url) == []


def test_the_verbs_take_it(s3: RealS3, location: str, capsys: pytest.CaptureFixture[str]) -> None:
    write(location, s3.url)
    arguments = ["top", "--store", location, "--from", str(HOUR.from_unix_nano), "--to", str(HOUR.to_unix_nano)]
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("FLAMEBUS_S3_ENDPOINT", s3.url)
        build_app(arguments)(arguments, standalone_mode=False)
        assert "work" in capsys.readouterr().out
        arguments = ["store", "compact", "--store", location]
        build_app(arguments)(arguments, standalone_mode=False)
    assert f"merged into {len(Dataset)}" in capsys.readouterr().out


def test_a_damaged_object_is_passed_over(s3: RealS3, location: str) -> None:
    write(location, s3.url)
    reader = StoreReader(location, s3.url)
    filesystem = pafs.S3FileSystem(endpoint_override=s3.address, scheme="http")
    folder = f"{location.removeprefix('s3://')}/samples/kind=cpu/date=2026-01-01/hour=00"
    victim = min(info.path for info in filesystem.get_file_info(pafs.FileSelector(folder)))
    with filesystem.open_output_stream(victim) as stream:
        stream.write(b"PAR1 not a table")
    assert reader.stacks("checkout", "cpu", HOUR).total == 4 * 101
    assert [name.rsplit("/", 1)[-1] for name in reader.damaged] == [victim.rsplit("/", 1)[-1]]


def test_a_bucket_that_is_not_there_is_said(s3: RealS3, keys: None) -> None:
    with pytest.raises(StoreUnavailableError, match="no bucket 'nowhere-at-all'"):
        StoreReader("s3://nowhere-at-all/x", s3.url).check()


def test_wrong_keys_are_said(s3: RealS3, location: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "wrong")
    with pytest.raises(StoreUnavailableError, match="cannot reach the store"):
        StoreReader(location, s3.url).check()


def test_a_server_that_is_down_is_unavailable_and_what_it_kept_is_whole(own_s3: RealS3, keys: None) -> None:
    make_bucket(own_s3, "profiles")
    write("s3://profiles", own_s3.url)
    own_s3.control.kill()
    with pytest.raises(StoreUnavailableError):
        stacks("s3://profiles", own_s3.url)
    with pytest.raises(StoreUnavailableError):
        write("s3://profiles", own_s3.url, range(5, 6))
    own_s3.control.start()
    assert stacks("s3://profiles", own_s3.url) == EXPECTED
