"""Which losses we chose and which happened to us."""

from collections.abc import Iterable

from flamebus.profile import Loss

DROPPED_REASONS = frozenset({"spool_full", "refused", "agent_overloaded"})
"""We discarded these ourselves; every other reason, also one that we do not know, means that the kernel lost them."""


def lost_and_dropped(losses: Iterable[Loss]) -> tuple[int, int]:
    """Samples lost and samples dropped."""
    lost = dropped = 0
    for loss in losses:
        if loss.reason in DROPPED_REASONS:
            dropped += loss.samples
        else:
            lost += loss.samples
    return lost, dropped
