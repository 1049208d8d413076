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

    Weighted samples count as fewer independent ones than they stand for: take ``effective_count`` of the whole window
    (not of the function alone) from :func:`effective_count`.

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
