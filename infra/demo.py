"""Everything on one machine for a look: embedded bus, agent, worker, store, page and a small workload."""

import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from subprocess import Popen, TimeoutExpired

from flamebus.errors import FlamebusError, KernelUnavailableError, SetupError
from infra.demo_workload import SERVICES, build
from infra.servers.process import accepts_connections, free_port, launch, port_is_free

_DEFAULT_PORT = 4040
_START_DEADLINE_S = 30
_STOP_GRACE_S = 8
_START_PERIOD_S = 0.05
_WATCH_PERIOD_S = 1.0
_LOG_LINES = 12


@dataclass(frozen=True, slots=True)
class Part:
    """One running process of the demonstration."""

    name: str
    process: Popen[bytes]
    log: Path


def _sleep(seconds: float) -> bool:
    time.sleep(seconds)
    return False


class Demo:
    """Starts the parts in order, watches them, and ends them in reverse.

    Args:
        folder: store, spool and logs go here; the caller removes it.
        hz: samples per second and CPU.
        wait: sleeps for so many seconds, or until somebody asks to end; whether that was asked.
    """

    def __init__(self, folder: Path, hz: int, wait: Callable[[float], bool] = _sleep) -> None:
        self._folder = folder
        self._hz = hz
        self._wait = wait
        self._parts: list[Part] = []
        self._has_workload = False
        self.store = folder / "store"
        self.port = _DEFAULT_PORT if port_is_free(_DEFAULT_PORT) else free_port()

    @property
    def url(self) -> str:
        """Where the page is, following the last five minutes of the workload."""
        service = f"service={SERVICES[0]}&" if self._has_workload else ""
        return f"http://127.0.0.1:{self.port}/?{service}since=5m&live=1"

    def start(self) -> bool:
        """Start everything and wait until the page answers; ``False`` when somebody asks to end before that.

        Raises:
            KernelUnavailableError: the agent cannot profile here; its own words say why.
            SetupError: another part ended or did not come up.
        """
        self.store.mkdir(parents=True, exist_ok=True)
        store = str(self.store)
        self._python("bus", "infra.embedded")
        if not self._comes("the embedded bus", lambda: bool(self._bus())):
            return False
        bus = self._bus()
        self._flamebus("agent", "--bus", bus, "--hz", str(self._hz), "--spool", str(self._folder / "spool"))
        self._flamebus("stream", "--bus", bus, "--store", store)
        self._flamebus("serve", "--store", store, "--listen", f"127.0.0.1:{self.port}")
        self._start_workload()
        return self._comes(f"the page on {self.url}", lambda: accepts_connections(self.port))

    def _comes(self, what: str, is_there: Callable[[], bool]) -> bool:
        """Wait until something is there; ``False`` when somebody asks to end before that."""
        end = time.monotonic() + _START_DEADLINE_S
        while not is_there():
            self.check()
            if self._wait(_START_PERIOD_S):
                return False
            if time.monotonic() > end:
                raise SetupError(f"{what} does not answer after {_START_DEADLINE_S} s")
        self.check()
        return True

    def _bus(self) -> str:
        """Address that the embedded bus has printed; empty as long as it has not."""
        line, end, _ = (self._folder / "bus.log").read_text(errors="replace").partition("\n")
        return line if end and line.startswith("kafka://") else ""

    def _start_workload(self) -> None:
        program = build(self._folder)
        self._has_workload = program is not None
        for service in SERVICES if program else ():
            self._launch(service, [str(program), service], {"OTEL_SERVICE_NAME": service})

    def _flamebus(self, verb: str, *arguments: str) -> None:
        self._python(verb, "flamebus", verb, *arguments)

    def _python(self, name: str, module: str, *arguments: str) -> None:
        home = Path(__file__).resolve().parent.parent
        environment = {
            "PYTHONPATH": str(home),
            "PYTHONUNBUFFERED": "1",
            # Whatever a library leaves in the folder for temporary files goes with ours.
            "TMPDIR": str(self._folder),
            # What flamebus itself costs is on the page too, under a name of its own.
            "OTEL_SERVICE_NAME": f"flamebus-{name}",
        }
        self._launch(name, [sys.executable, "-m", module, *arguments], environment)

    def _launch(self, name: str, command: Sequence[str], environment: dict[str, str]) -> None:
        log = self._folder / f"{name}.log"
        process = launch(command, log, environment=environment, dies_with_parent=True)
        self._parts.append(Part(name, process, log))

    def check(self) -> None:
        """Raise when a part has ended, with the end of its log.

        Raises:
            KernelUnavailableError: it was the agent, for want of the kernel.
            SetupError: any other part or reason.
        """
        for part in self._parts:
            code = part.process.poll()
            if code is None:
                continue
            tail = "\n".join(part.log.read_text(errors="replace").splitlines()[-_LOG_LINES:])
            error: type[FlamebusError] = (
                KernelUnavailableError if code == KernelUnavailableError.exit_code else SetupError
            )
            raise error(f"{part.name} ended with {code}:\n{tail}")

    def watch(self, duration_s: float | None, show: Callable[[], None]) -> None:
        """Call ``show`` once a second until ``duration_s`` has passed (``None``: for ever) or somebody asks to end.

        Raises:
            FlamebusError: as :meth:`check`.
        """
        end = None if duration_s is None else time.monotonic() + duration_s
        while end is None or time.monotonic() < end:
            self.check()
            show()
            if self._wait(_WATCH_PERIOD_S):
                return

    def stop(self) -> None:
        """End all parts, the last one started first."""
        for part in reversed(self._parts):
            part.process.terminate()
        for part in reversed(self._parts):
            try:
                part.process.wait(_STOP_GRACE_S)
            except TimeoutExpired:
                part.process.kill()
                part.process.wait()
