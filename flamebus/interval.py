"""How sure we are of a share: Wilson's score interval for samples that carry weights."""

from typing import overload

import numpy as np

from flamebus.profile import F64

Z_95 = 1.959963984540054
"""The 97.5 % quantile of the normal distribution: two-sided 95 %."""


@overload
def wilson_interval(share: float, effective_count: float) -> tuple[float, float]: ...
@overload
def wilson_interval(share: F64, effective_count: F64 | float) -> tuple[F64, F64]: ...
def wilson_interval(share: float | F64, effective_count: float | F64) -> tuple[float, float] | tuple[F64, F64]:
    """95 % interval of a share.

    Weighted samples count as fewer independent ones than they stand for: take ``effective_count`` from
    :func:`effective_counts`, or from :func:`effective_count` where weights have nothing to do with functions.

    Source: E. B. Wilson, "Probable inference, the law of succession, and statistical inference", Journal of the
    American Statistical Association 22 (1927), 209-212; recommended over the normal interval for small counts and
    shares near 0 or 1 by Brown, Cai and DasGupta, "Interval estimation for a binomial proportion" (2001).

    Args:
        share: part of the total, in [0, 1]; a number or an array of shape ``(n,)``.
        effective_count: independent samples that the total is worth, ≥ 0; 0 gives (0, 1): nothing is known.

    Returns:
        ``(low, high)``, each in [0, 1] and of the argument's shape; ``low ≤ share ≤ high``.
    """
    p = np.asarray(share, dtype=np.float64)
    n = np.asarray(effective_count, dtype=np.float64)
    # The textbook form times n on both sides of the fraction, so that n = 0 needs no special case.
    z2 = Z_95 * Z_95
    middle = n * p + z2 / 2
    margin = Z_95 * np.sqrt(np.maximum(n * p * (1 - p) + z2 / 4, 0.0))
    low = np.minimum(np.clip((middle - margin) / (n + z2), 0.0, 1.0), p)
    high = np.maximum(np.clip((middle + margin) / (n + z2), 0.0, 1.0), p)
    if low.ndim == 0:
        return float(low), float(high)
    return low, high


def effective_count(total: float, variance: float) -> float:
    """Kish's effective number of samples: ``(Σ value·weight)² / Σ (value·weight)²``.

    With equal weights it is the number of samples recorded.

    Args:
        total: sum of value × weight over all samples of the whole (a window, a range), in the sample type's unit.
        variance: sum of the squares of the same, which is what ``ProfileRows.variance`` adds up to.

    Returns:
        0 when there is nothing.
    """
    return total * total / variance if variance > 0 else 0.0


def effective_counts(values: F64, variances: F64, total: float, variance: float) -> F64:
    """Independent samples that the total is worth for the share of each part, shape ``(n,)``.

    A part whose samples carry large weights is less certain than one of the same size with small ones, so weights that
    go with functions (hosts or kinds sampled at different rates) need this rather than one number for all. With
    samples as independent Poisson events, a share ``p = v / T`` has the variance ``((1 - p)² V + p² (W - V)) / T²`` by
    the delta method, where ``V`` and ``W`` are the variances of the part and of the whole (Särndal, Swensson and
    Wretman, "Model Assisted Survey Sampling" (1992), 5.6); the result is the binomial sample of that variance. With
    equal weights it is the number of samples recorded, for every part.

    Args:
        values: sum of value × weight of each part.
        variances: sum of the squares of the same.
        total: sum of value × weight of the whole.
        variance: sum of the squares of the same.
    """
    if total <= 0:
        return np.zeros(len(values))
    share = np.clip(values / total, 0.0, 1.0)
    spread = (1 - share) ** 2 * variances + share**2 * np.maximum(variance - variances, 0.0)
    binomial = share * (1 - share)
    everything = effective_count(total, variance)
    is_inside = (binomial > 0) & (spread > 0)
    return np.where(is_inside, binomial * total * total / np.where(is_inside, spread, 1.0), everything)
