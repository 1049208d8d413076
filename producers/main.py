"""The agent's own process; ``flamebus agent`` becomes it (producers/launch.py)."""

from __future__ import annotations

import logging
import os
import signal
import socket
import sys
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from flamebus import metrics
from flamebus.errors import BusUnavailableError, FlamebusError
from flamebus.own import check_siblings
from producers.batcher import Batcher, Sender
from producers.cpu import CpuProducer
from producers.host import LiveHost
from producers.identity import identify
from producers.kernel.sideband import Sideband
from producers.launch import received_settings
from producers.lock import HostLock
from producers.losses import LossLedger
from producers.mapped_files import MappedFiles
from producers.own_cost import claim_priority
from producers.processes import Processes
from producers.procfs import ProcFs
from producers.resolve import SampleResolver
from producers.run import CPU_SAMPLE_TYPE, Agent, Parts
from producers.service_rules import read_rules
from producers.sink import KafkaSink
from producers.spool import Spool
from producers.symbols.images import Images
from producers.symbols.kernel import KernelSymbols
from producers.symbols.user import UserSymbols

if TYPE_CHECKING:
    from producers.launch import AgentSettings
    from producers.service_rules import ServiceRules

LOG = logging.getLogger("flamebus.agent")


def main() -> None:
    """Run by the settings that come through the descriptor named on the command line; errors become exit codes."""
    settings = received_settings(int(sys.argv[1]))
    logging.basicConfig(level=logging.INFO, stream=sys.stderr, format="%(asctime)s %(levelname)s %(message)s")
    # It says the same many times a second; the sink says it every half minute.
    logging.getLogger("flamebus.librdkafka").setLevel(logging.CRITICAL)
    try:
        check_siblings()
        run(settings)
    except FlamebusError as error:
        sys.stderr.write(f"flamebus: {error}\n")
        sys.exit(error.exit_code)


def run(settings: AgentSettings) -> None:
    """Sample and publish until a signal comes or the time is up.

    Raises:
        FlamebusError: a rule, an address, the kernel, the spool or another agent stands in the way; or the time was up
            and nothing had been delivered.
    """
    # What the caller got wrong is said first, whatever else runs on this host.
    rules = read_rules(settings.service_rules)
    if settings.metrics_listen:
        metrics.split_address(settings.metrics_listen)
    lock = HostLock()
    try:
        parts = _parts(settings, rules)
        if settings.metrics_listen:
            metrics.serve(settings.metrics_listen)
        _sample(settings, parts)
        if settings.duration_ns is not None and not parts.sink.delivered_count and parts.sink.waiting_count:
            raise BusUnavailableError(f"nothing could be delivered to {settings.bus}; batches wait in {settings.spool}")
    finally:
        lock.release()


def _sample(settings: AgentSettings, parts: Parts) -> None:
    """From the first event to the last record."""
    agent = Agent(parts, socket.gethostname(), settings.topic_prefix, settings.interval_ns)
    reader, writer = socket.socketpair()
    writer.setblocking(False)  # noqa: FBT003 - how sockets spell it
    signal.set_wakeup_fd(writer.fileno(), warn_on_full_buffer=False)
    stops: list[int] = []
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda received, _frame: stops.append(received))
    claim_priority()
    try:
        parts.sideband.start()  # first, so that no process begins unseen between the two
        parts.producer.start(settings.hz)
        LOG.info("sampling at %d Hz, publishing to %s", settings.hz, settings.bus)
        agent.run(lambda: bool(stops), reader.fileno(), settings.duration_ns)
        sink = parts.sink
        counts = (agent.samples_count, sink.delivered_count, sink.waiting_count, settings.spool)
        LOG.info("ended: %d samples taken, %d records delivered, %d wait in %s", *counts)
    finally:
        parts.producer.stop()
        parts.sideband.stop()


def _parts(settings: AgentSettings, rules: ServiceRules) -> Parts:
    from importlib.metadata import version

    period_ns, losses = round(10**9 / settings.hz), LossLedger()
    live = _live_host(settings, rules)
    boot_id = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    host, session = socket.gethostname(), os.urandom(8)
    sender = Sender(session, host, boot_id, version("flamebus"), "cpu", CPU_SAMPLE_TYPE, period_ns)
    sink = KafkaSink(settings.servers, Spool(Path(settings.spool), settings.spool_bytes), losses)
    producer = CpuProducer(only_tgid=settings.tgid)
    resolver = SampleResolver(live, period_ns, producer.forget_stacks)
    return Parts(producer, Sideband(), live, resolver, Batcher(sender, settings.interval_ns, losses), losses, sink)


def _live_host(settings: AgentSettings, rules: ServiceRules) -> LiveHost:
    """Who runs here, by the rules of the settings."""
    proc = ProcFs()
    who = partial(identify, rules=rules, service=settings.service)
    images = Images(settings.symbol_cache_bytes)
    files, user = MappedFiles(images, proc.root), UserSymbols(images, proc.root)
    return LiveHost(proc, Processes(proc, who), files, user, KernelSymbols())


if __name__ == "__main__":
    main()
