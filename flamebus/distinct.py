"""The distinct values of a column, and where each row's value stands among them."""

from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

Scalar = TypeVar("Scalar", bound=np.generic)


def distinct(column: NDArray[Scalar]) -> NDArray[Scalar]:
    """Values of a one-dimensional column, each once, ascending.

    ``np.unique`` of nothing else first imports ``numpy.ma``, 9 MB of memory that an agent would hold for ever.
    """
    values: NDArray[Scalar] = np.unique(column, return_counts=True)[0]
    return values


class Selection:
    """The rows of a table that columns refer to, ascending, and the place of each among them.

    A mark for each row of the table: where columns are long and the table is not, that beats sorting by far.

    Args:
        size: rows of the table.
        columns: row numbers, each below ``size``.

    Attributes:
        rows: those that occur, each once, ascending.
    """

    def __init__(self, size: int, *columns: NDArray[np.integer]) -> None:
        is_there = np.zeros(size, dtype=np.bool_)
        for column in columns:
            is_there[column] = True
        self.rows: NDArray[np.intp] = np.flatnonzero(is_there)
        self._place = np.cumsum(is_there, dtype=np.uint32) - np.uint32(1)

    def places(self, column: NDArray[np.integer]) -> NDArray[np.uint32]:
        """A column with each row number replaced by its place among ``rows``, which has to have it."""
        places: NDArray[np.uint32] = self._place[column]
        return places
