"""The interval of a share."""

import numpy as np
import pytest

from flamebus.interval import Z_95, effective_count, effective_counts, wilson_interval


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


def coverage(share: float, weights: tuple[float, float], events: float, trials: int = 4_000) -> float:
    """How often the interval holds the true share of a part whose samples carry ``weights[0]``, others ``weights[1]``.

    Samples are independent Poisson events that each stand for their weight: the part's total is ``share × events``.
    """
    rng = np.random.default_rng(1)
    part, rest = (
        weight * rng.poisson(of * events / weight, trials)
        for weight, of in zip(weights, (share, 1 - share), strict=True)
    )
    total, part_variance = part + rest, part * weights[0]
    variance = part_variance + rest * weights[1]
    count = np.array(
        [
            effective_counts(np.array([value]), np.array([spread]), whole, all_spread)[0]
            for value, spread, whole, all_spread in zip(part, part_variance, total, variance, strict=True)
        ]
    )
    low, high = wilson_interval(part / total, count)
    return float(((low <= share) & (share <= high)).mean())


@pytest.mark.parametrize(
    ("share", "weights", "events"),
    [
        (0.5, (1, 1), 1_000),
        (0.1, (1, 1), 2_000),
        (0.02, (1, 1), 10_000),
        (0.3, (5, 5), 5_000),
        (0.1, (1, 10), 5_000),
        (0.1, (10, 1), 5_000),
        (0.4, (50, 1), 20_000),
    ],
)
def test_ninety_five_percent_hold_the_truth_whatever_the_weights(
    share: float, weights: tuple[float, float], events: float
) -> None:
    assert 0.93 < coverage(share, weights, events) < 0.975


def test_one_count_for_all_parts_would_be_wrong_where_weights_go_with_functions() -> None:
    """The reason for ``effective_counts``: a part of heavy samples, with the count of the whole, is held too sure."""
    heavy = effective_counts(np.array([200.0]), np.array([2_000.0]), 2_000.0, 2_000.0 + 1_800.0)[0]
    assert heavy < 0.3 * effective_count(2_000.0, 3_800.0)


def test_equal_weights_give_every_part_the_number_of_samples() -> None:
    values = np.array([0.0, 30.0, 270.0, 300.0])
    assert effective_counts(values, values * 3, 300.0, 900.0) == pytest.approx(100)
    assert list(effective_counts(np.zeros(2), np.zeros(2), 0.0, 0.0)) == [0.0, 0.0]
