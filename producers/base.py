"""What every producer is: something that is started, drained now and then, and stopped."""

from __future__ import annotations

from typing import Protocol, TypeVar

Drained_co = TypeVar("Drained_co", covariant=True)


class Producer(Protocol[Drained_co]):
    """One kind of samples, from the kernel to columns. One thread at a time."""

    def start(self, hz: float) -> None:
        """Load and attach; sample ``hz`` times a second and CPU.

        Raises:
            KernelUnavailableError: this kernel does not offer what is needed.
        """
        ...

    def set_rate(self, hz: float) -> None:
        """Change the rate without a reload; samples carry their period, so totals stay right."""
        ...

    def drain(self) -> Drained_co:
        """Everything since the last drain, losses included. Never waits for samples."""
        ...

    def stop(self) -> None:
        """Detach and give everything back; may be called twice."""
        ...
