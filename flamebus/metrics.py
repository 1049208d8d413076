"""Self-metrics in Prometheus' format: one registry per process, every metric documented in docs/metrics.md.

Metrics are made where they are counted, through :func:`counter`, :func:`gauge` and :func:`histogram`, so that a name is
registered once and always starts with ``flamebus_``.
"""

from collections.abc import Sequence

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest, start_http_server

from flamebus.errors import UsageError

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
REGISTRY = CollectorRegistry(auto_describe=True)


def counter(name: str, documentation: str, labels: Sequence[str] = ()) -> Counter:
    """A number that only grows, ``flamebus_NAME_total``."""
    return Counter(f"flamebus_{name}", documentation, labels, registry=REGISTRY)


def gauge(name: str, documentation: str, labels: Sequence[str] = ()) -> Gauge:
    """A number that goes up and down, ``flamebus_NAME``."""
    return Gauge(f"flamebus_{name}", documentation, labels, registry=REGISTRY)


def histogram(name: str, documentation: str, buckets: Sequence[float], labels: Sequence[str] = ()) -> Histogram:
    """A distribution, ``flamebus_NAME_bucket``; buckets in the unit that the name ends in."""
    return Histogram(f"flamebus_{name}", documentation, labels, buckets=buckets, registry=REGISTRY)


def exposition() -> bytes:
    """All metrics of this process as text, content type ``CONTENT_TYPE``."""
    return generate_latest(REGISTRY)


def serve(listen: str) -> None:
    """Answer ``/metrics`` on ``host:port`` from a thread of its own, until the process ends.

    Raises:
        UsageError: the address is not ``host:port`` or is taken.
    """
    host, port = split_address(listen)
    try:
        start_http_server(port, addr=host, registry=REGISTRY)
    except OSError as error:
        raise UsageError(f"cannot listen on {listen} for metrics: {error.strerror}") from error


def split_address(listen: str) -> tuple[str, int]:
    """``host:port`` as a pair; an IPv6 host stands in brackets.

    Raises:
        UsageError: not such an address.
    """
    host, colon, port = listen.rpartition(":")
    if not colon or not port.isdecimal() or int(port) > 65_535:
        raise UsageError(f"not an address: {listen!r}; write it as host:port")
    return host.strip("[]") or "0.0.0.0", int(port)  # noqa: S104 - an empty host means "all", as the user wrote it
