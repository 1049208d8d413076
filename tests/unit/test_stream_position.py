"""What a commit's metadata says, and what is not ours."""

from __future__ import annotations

import pytest

from flamebus.errors import BadDataError
from streams.position import Position


@pytest.mark.parametrize("is_partial", [False, True])
def test_it_comes_back(is_partial: bool) -> None:
    position = Position(7, 10**18, 10**18 - 5, is_partial)
    assert Position.parse(7, position.metadata()) == position


@pytest.mark.parametrize(
    "metadata",
    [
        "",
        "null",
        "7",
        "[1]",
        "{}",
        "not json",
        '{"watermark": "1", "emitted_up_to": 1}',
        '{"watermark": -1, "emitted_up_to": 1}',
        '{"watermark": 1e300, "emitted_up_to": 1}',
        '{"watermark": 99999999999999999999, "emitted_up_to": 1}',
        "[" * 100_000,
    ],
)
def test_what_is_not_ours_is_said_to_be(metadata: str) -> None:
    with pytest.raises(BadDataError) as caught:
        Position.parse(0, metadata)
    assert caught.value.reason == "malformed"
    assert len(str(caught.value)) < 300
