"""``flamebus agent``: profile this host and publish its samples."""

import logging
import os
import signal
import socket
import sys
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from flamebus import metrics
from flamebus.cli.options import BusOption, ConfigOption, PrefixOption
from flamebus.clock import parse_duration
from flamebus.errors import BusUnavailableError, UsageError

if TYPE_CHECKING:
    from flamebus.config import Settings
    from producers.cpu import CpuProducer
    from producers.host import LiveHost
    from producers.kernel.sideband import Sideband
    from producers.run import Agent
    from producers.service_rules import ServiceRules
    from producers.sink import KafkaSink


def register(app: typer.Typer, verb: str) -> None:
    """Add the verb."""
    app.command(verb)(agent)


def agent(
    *,
    bus: BusOption = None,
    kinds: Annotated[str | None, typer.Option("--kinds", help="Kinds to collect, comma-separated")] = None,
    hz: Annotated[int | None, typer.Option("--hz", help="Samples per second and CPU")] = None,
    service: Annotated[str | None, typer.Option("--service", help="Service name of every sample")] = None,
    service_rules: Annotated[str | None, typer.Option("--service-rules", help="TOML file of rules, or TOML")] = None,
    pid: Annotated[int | None, typer.Option("--pid", help="Sample this process only")] = None,
    duration: Annotated[str | None, typer.Option("--duration", help="Stop after this long, such as 30s")] = None,
    interval: Annotated[str | None, typer.Option("--interval", help="Length of a batch, such as 10s")] = None,
    spool: Annotated[str | None, typer.Option("--spool", help="Folder for batches while the bus is away")] = None,
    spool_bytes: Annotated[int | None, typer.Option("--spool-bytes", help="Most bytes of the spool")] = None,
    topic_prefix: PrefixOption = None,
    metrics_listen: Annotated[str | None, typer.Option("--metrics-listen", help="host:port of /metrics")] = None,
    config: ConfigOption = None,
) -> None:
    """Profile this host and publish its samples until interrupted.

    While the bus is away batches wait in the spool. With --duration, exit code 4 says that nothing was delivered.
    """
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # before numpy comes: its threads' buffers cost tens of MB
    from flamebus.config import load

    flags = {
        "bus": bus,
        "kinds": kinds,
        "hz": hz,
        "service": service,
        "service_rules": service_rules,
        "interval": interval,
        "spool": spool,
        "spool_bytes": spool_bytes,
        "topic_prefix": topic_prefix,
        "metrics_listen": metrics_listen,
    }
    settings = load(flags, file=config).settings
    if settings.kind_names != ("cpu",):
        raise UsageError("this agent collects kind cpu only")
    if pid is not None and not Path(f"/proc/{pid}").exists():
        raise UsageError(f"there is no process {pid}")
    duration_ns = parse_duration(duration) if duration else None
    logging.basicConfig(level=logging.INFO, stream=sys.stderr, format="%(asctime)s %(levelname)s %(message)s")
    logging.getLogger("flamebus.librdkafka").setLevel(logging.ERROR)
    _run(settings, pid or 0, duration_ns)


def _run(settings: "Settings", tgid: int, duration_ns: int | None) -> None:
    from producers.lock import HostLock
    from producers.own_cost import claim_priority
    from producers.service_rules import read_rules

    # What the caller got wrong is said first, whatever else runs on this host.
    rules, servers = read_rules(settings.service_rules), settings.bootstrap_servers
    if settings.metrics_listen:
        metrics.split_address(settings.metrics_listen)
    lock = HostLock()
    try:
        runner, sink, producer, sideband = _build(settings, tgid, servers, _live_host(settings, rules))
        if settings.metrics_listen:
            metrics.serve(settings.metrics_listen)
        reader, writer = socket.socketpair()
        writer.setblocking(False)  # noqa: FBT003 - how sockets spell it
        signal.set_wakeup_fd(writer.fileno(), warn_on_full_buffer=False)
        stops: list[int] = []
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda received, _frame: stops.append(received))
        claim_priority()
        try:
            sideband.start()  # first, so that no process begins unseen between the two
            producer.start(settings.hz)
            logging.getLogger("flamebus.agent").info("sampling at %d Hz, publishing to %s", settings.hz, settings.bus)
            runner.run(lambda: bool(stops), reader.fileno(), duration_ns)
            logging.getLogger("flamebus.agent").info(
                "ended: %d samples taken, %d records delivered, %d wait in %s",
                runner.samples_count, sink.delivered_count, sink.waiting_count, settings.spool,
            )  # fmt: skip
        finally:
            producer.stop()
            sideband.stop()
        if duration_ns is not None and not sink.delivered_count and sink.waiting_count:
            raise BusUnavailableError(f"nothing could be delivered to {settings.bus}; batches wait in {settings.spool}")
    finally:
        lock.release()


def _build(
    settings: "Settings", tgid: int, servers: str, live: "LiveHost"
) -> "tuple[Agent, KafkaSink, CpuProducer, Sideband]":
    from importlib.metadata import version

    from producers.batcher import Batcher, Sender
    from producers.cpu import CpuProducer
    from producers.kernel.sideband import Sideband
    from producers.losses import LossLedger
    from producers.resolve import SampleResolver
    from producers.run import CPU_SAMPLE_TYPE, Agent, Parts
    from producers.sink import KafkaSink
    from producers.spool import Spool

    host, period_ns, losses = socket.gethostname(), round(10**9 / settings.hz), LossLedger()
    boot_id = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    sender = Sender(os.urandom(8), host, boot_id, version("flamebus"), "cpu", CPU_SAMPLE_TYPE, period_ns)
    sink = KafkaSink(servers, Spool(Path(settings.spool), settings.spool_bytes), losses)
    producer, sideband = CpuProducer(only_tgid=tgid), Sideband()
    resolver = SampleResolver(live, period_ns, producer.forget_stacks)
    parts = Parts(producer, sideband, live, resolver, Batcher(sender, settings.interval, losses), losses, sink)
    return Agent(parts, host, settings.topic_prefix, settings.interval), sink, producer, sideband


def _live_host(settings: "Settings", rules: "ServiceRules") -> "LiveHost":
    """Who runs here, by the rules of the settings."""
    from producers.host import LiveHost
    from producers.identity import identify
    from producers.mapped_files import MappedFiles
    from producers.processes import Processes
    from producers.procfs import ProcFs
    from producers.symbols.images import Images
    from producers.symbols.kernel import KernelSymbols
    from producers.symbols.user import UserSymbols

    proc = ProcFs()
    who = partial(identify, rules=rules, service=settings.service)
    images = Images(settings.symbol_cache_bytes)
    files, user = MappedFiles(images, proc.root), UserSymbols(images, proc.root)
    return LiveHost(proc, Processes(proc, who), files, user, KernelSymbols())
