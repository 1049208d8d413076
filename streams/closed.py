"""What comes out of windows: finished profiles, each with its stacks taken apart for ranking and publishing."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from flamebus.window import Window
from flamebus.window_profile import LogRange, WindowProfile
from streams.stacks import KnownStack, StackCatalogue


@dataclass(frozen=True, slots=True, eq=False)
class ClosedProfile:
    """A finished profile.

    Attributes:
        stacks: one content per distinct stack id, ascending by id.
        row_stack: which of ``stacks`` each row of the profile has, shape ``(n_rows,)``, ascending.
        catalogue: what the numbers in ``stacks`` mean.
    """

    profile: WindowProfile
    stacks: tuple[KnownStack, ...]
    row_stack: NDArray[np.intp]
    catalogue: StackCatalogue


@dataclass(frozen=True, slots=True, eq=False)
class ClosedWindow:
    """A finished window of one partition: one part per (service, kind), sorted."""

    window: Window
    origin: LogRange
    parts: tuple[ClosedProfile, ...]

    @property
    def profiles(self) -> tuple[WindowProfile, ...]:
        """The profiles alone."""
        return tuple(part.profile for part in self.parts)
