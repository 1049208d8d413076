"""What a model is to the rest of flamebus: arrays in, arrays out, no I/O, nothing learnt while scoring.

Rows are windows in time order, columns are features in the order of ``feature_names``. A score or a label of row *i*
may depend on rows up to *i* only, so that the scores of a prefix are the prefix of the scores.
"""

from typing import Protocol, Self

import numpy as np
from numpy.typing import NDArray

F64 = NDArray[np.float64]
I64 = NDArray[np.int64]


class Model(Protocol):
    """What detectors and clusterers share."""

    feature_names: tuple[str, ...]
    """Names of the columns, in their order; empty before ``fit``."""

    def fit(self, features: F64) -> Self:
        """Learn from past windows, shape ``(n_windows, n_features)``; bounded memory, seeded by the constructor."""
        ...


class Detector(Model, Protocol):
    """Says how unusual each window is."""

    def score(self, features: F64) -> F64:
        """Anomaly scores in [0, 1], higher = more anomalous, shape ``(n_windows,)``; NaN where data is too scarce."""
        ...


class Clusterer(Model, Protocol):
    """Groups windows with similar profiles."""

    def assign(self, features: F64) -> tuple[I64, F64]:
        """Cluster (−1 = none) and distance to its centre for each window, both of shape ``(n_windows,)``."""
        ...
