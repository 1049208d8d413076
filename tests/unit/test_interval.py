"""The interval of a share."""

import numpy as np
import pytest

from flamebus.interval import Z_95, effective_count, wilson_interval


@pytest.mark.parametrize(("hits", "count"), [(0, 10), (3, 10), (50, 100), (100, 100), (1, 10_000)])
def test_bounds_are_where_the_score_test_stops_rejecting(hits: int, count: int) -> None:
    share = hits / count
    for bound in wilson_interval(share, count):
        assert (share - bound) ** 2 == pytest.approx(Z_95**2 * bound * (1 - bound) / count, abs=1e-12)


def test_a_published_value() -> None:
    """Newcombe, Statistics in Medicine 17 (1998), table I: 81 of 263 gives 0.2553 to 0.3662."""
    assert wilson_interval(81 / 263, 263) == pytest.approx((0.2553, 0.3662), abs=5e-5)


def test_array_gives_what_scalars_give() -> None:
    shares = np.array([0.0, 0.1, 0.5, 1.0])
    low, high = wilson_interval(shares, 40.0)
    for index, share in enumerate(shares):
        assert (low[index], high[index]) == wilson_interval(float(share), 40.0)


def test_nothing_known_is_the_whole_range() -> None:
    assert wilson_interval(0.0, 0.0) == (0.0, 1.0)


def test_equal_weights_count_as_themselves() -> None:
    assert effective_count(7 * 3.0, 7 * 9.0) == pytest.approx(7)
    assert effective_count(0.0, 0.0) == 0.0
