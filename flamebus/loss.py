"""What a loss means: whether samples are gone, by whose doing, or only a part of their stacks."""

from collections.abc import Iterable
from enum import StrEnum

from flamebus.profile import Loss

DROPPED_REASONS = frozenset({"spool_full", "refused", "agent_overloaded"})
INCOMPLETE_REASONS = frozenset(
    {"stack_ring_full", "user_stack_fault", "user_stack_truncated", "kernel_stack_truncated"}
)


class LossClass(StrEnum):
    """What a reason belongs to; every one that we do not know is ``lost``."""

    LOST = "lost"  # the kernel could not hand the sample over
    DROPPED = "dropped"  # we discarded the sample ourselves
    INCOMPLETE = "incomplete"  # the sample is there and counted; frames of its stack are missing


def loss_class(reason: str) -> LossClass:
    """The class of a reason."""
    if reason in DROPPED_REASONS:
        return LossClass.DROPPED
    return LossClass.INCOMPLETE if reason in INCOMPLETE_REASONS else LossClass.LOST


def lost_and_dropped(losses: Iterable[Loss]) -> tuple[int, int]:
    """Samples lost and samples dropped; incomplete ones are neither."""
    sums = dict.fromkeys(LossClass, 0)
    for loss in losses:
        sums[loss_class(loss.reason)] += loss.samples
    return sums[LossClass.LOST], sums[LossClass.DROPPED]
