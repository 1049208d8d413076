"""What has been lost or dropped since the last batch, by reason, until a batch carries it downstream."""

from collections.abc import Iterable

from flamebus.profile import Loss

AGENT_SERVICE = "flamebus-agent"
"""Service of a batch that only carries losses of the host when no service was sampled."""


class LossLedger:
    """Counts by (service, reason). The empty service is the host: the kernel cannot say whose samples it lost."""

    def __init__(self) -> None:
        self._counts: dict[str, dict[str, tuple[int, int]]] = {}

    def add(self, losses: Iterable[Loss], service: str = "") -> None:
        """Note losses; those without samples and value are passed over."""
        for loss in losses:
            if loss.samples or loss.value:
                reasons = self._counts.setdefault(service, {})
                samples, value = reasons.get(loss.reason, (0, 0))
                reasons[loss.reason] = (samples + loss.samples, value + loss.value)

    def services(self) -> tuple[str, ...]:
        """Services that have something noted, the host (empty) included."""
        return tuple(self._counts)

    def take(self, *services: str) -> tuple[Loss, ...]:
        """Everything noted for these services, by reason; it is forgotten here."""
        merged = LossLedger()
        for service in services:
            for reason, (samples, value) in self._counts.pop(service, {}).items():
                merged.add((Loss(reason, samples, value),))
        return tuple(Loss(reason, *counts) for reason, counts in sorted(merged._counts.get("", {}).items()))
