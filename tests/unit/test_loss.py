"""Which losses take samples away."""

from flamebus.loss import LossClass, loss_class, lost_and_dropped
from flamebus.profile import Loss


def test_a_stack_that_was_cut_is_no_lost_sample() -> None:
    losses = [Loss("sample_ring_full", 3), Loss("user_stack_truncated", 50), Loss("spool_full", 7), Loss("refused", 1)]
    assert lost_and_dropped(losses) == (3, 8)


def test_what_is_not_known_counts_as_lost() -> None:
    assert loss_class("of_a_later_version") is LossClass.LOST
