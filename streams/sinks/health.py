"""Whether a sink takes what we give it: one place for its metrics, its log lines and the watchdog's question."""

import logging

from streams import metrics

_log = logging.getLogger(__name__)


class SinkHealth:
    """Health of one sink, by name."""

    def __init__(self, name: str) -> None:
        self._name = name
        self.is_down = False
        metrics.SINK_BLOCKED.labels(name).set(0)

    def failed(self, reason: str, message: str) -> None:
        """A write failed and will be tried again. ``reason`` is a short stable word, ``message`` says what to do."""
        metrics.SINK_RETRIES.labels(self._name, reason).inc()
        metrics.SINK_BLOCKED.labels(self._name).set(1)
        log = _log.debug if self.is_down else _log.error
        log("%s takes nothing, we wait and try again: %s", self._name, message)
        self.is_down = True

    def worked(self) -> None:
        """A write succeeded."""
        if self.is_down:
            metrics.SINK_BLOCKED.labels(self._name).set(0)
            _log.warning("%s works again", self._name)
            self.is_down = False
