"""What a commit's metadata says, and what is not ours."""

from __future__ import annotations

import pytest

from flamebus.errors import BadDataError
from streams.position import Position


@pytest.mark.parametrize("is_partial", [False, True])
def test_it_comes_back(is_partial: bool) -> None:
    position = Position(7, 10**18, 10**18 - 5, is_partial, 10**10)
    assert Position.parse(7, position.metadata()) == position


def test_another_window_size_takes_what_was_sent_in_part_as_sent() -> None:
    position = Position(7, 60, 50, window_size_ns=10)
    assert position.for_window_size(20) == Position(7, 60, 60, window_size_ns=20)
    assert position.for_window_size(5) == Position(7, 60, 50, window_size_ns=5)


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
