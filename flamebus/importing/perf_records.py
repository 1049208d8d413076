"""The records of ``perf script`` text: a header line and the stack below it, leaf first, up to an empty line."""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field

from flamebus.errors import BadDataError
from flamebus.importing.foreign import MAX_FRAMES, Notes
from flamebus.importing.source import Source

# Every repetition is bounded, so that no line takes longer than its length.
_TIME = re.compile(r"\s\d{1,10}\.\d{6,9}:")
_HEADER = re.compile(
    r"\s{0,80}(?P<comm>\S.{0,80}?)\s{1,40}(?P<pid>-?\d{1,10})(?:/(?P<tid>-?\d{1,10}))?\s{1,40}(?:\[\d{1,6}\]\s{1,40})?"
    r"(?P<seconds>\d{1,10})\.(?P<fraction>\d{6,9}):\s{0,80}"
    r"(?:(?:(?P<period>\d{1,20})\s{1,40})?(?P<event>\S+?):(?:\s(?P<rest>.*))?)?$"
)
_SIDE_BAND = re.compile(r"\s\d{1,10}\.\d{6,9}:\s{0,80}(PERF_RECORD_\w{1,40})(?: lost (\d{1,18}))?")
_SOURCE_LINE = re.compile(r"(?P<file>[^:]+):(?P<line>\d{1,9})(?P<inlined> \(inlined\))?$")
_NO_SOURCE_LINE = re.compile(r"\S*\[[0-9a-f]{1,16}\]$")
_NO_FILE = "??"
_MODIFIERS = re.compile(r":[ukhIGHpPSDWeb]{1,12}$")
_HOST = re.compile(r"# hostname\s?: (\S{1,255})$")
_HEXADECIMAL = re.compile(r"[0-9a-f]{1,16}$")
INLINED = "inlined"
"""What stands in place of the file behind a function that the compiler put into the next one."""

_DELETED = " (deleted)"
_FIELDS = "perf script has to print comm, tid, time, event, ip, sym and dso, as it does by default"


@dataclass(slots=True)
class PerfFrame:
    """One line of a stack.

    Attributes:
        address, symbol: as printed, ``[unknown]`` included; file: ``inlined``, a path or a name in brackets.
        source_file, source_line: of perf's ``srcline`` field, else empty and 0.
    """

    address: int
    symbol: str
    file: str
    source_file: str = ""
    source_line: int = 0


@dataclass(frozen=True, slots=True)
class PerfRecord:
    """One sample as printed.

    Attributes:
        number: line of its header; comm, tid: who ran; time_ns: since boot.
        period: 0 when none is printed; event: without modifiers; frames: leaf first.
    """

    number: int
    comm: str
    tid: int
    time_ns: int
    period: int
    event: str
    frames: list[PerfFrame] = field(default_factory=list)


class PerfRecords:
    """Reads records; ``host`` is what the file's header says, once it was passed."""

    def __init__(self, source: Source, notes: Notes) -> None:
        self._source = source
        self._notes = notes
        self.host = ""

    def __iter__(self) -> Iterator[PerfRecord]:
        """All samples in the file's order.

        Raises:
            BadDataError: a line that is no part of such text.
        """
        record: PerfRecord | None = None
        for number, line in self._source.lines():
            if record and (not line or line.isspace()):
                yield record
                record = None
            elif _TIME.search(line[:512]):
                if record:
                    yield record
                record = self._begin(number, line)
            elif line.startswith("#"):
                host = _HOST.match(line)
                self.host = host[1] if host else self.host
            elif line and not line.isspace():
                self._continue(record, number, line)
        if record:
            yield record

    def _begin(self, number: int, line: str) -> PerfRecord | None:
        """The record of a header line; ``None`` when it is none of a sample."""
        side_band = _SIDE_BAND.search(line)
        if side_band:
            self._notes.lost["ring_full"] += int(side_band[2] or 0)
            return None
        header = _HEADER.match(line)
        if header is None:
            raise self._bad(number, line)
        record = PerfRecord(
            number,
            header["comm"],
            max(0, int(header["tid"] or header["pid"])),
            int(header["seconds"]) * 10**9 + int(header["fraction"].ljust(9, "0")),
            int(header["period"] or 0),
            _event(header),
        )
        rest = (header["rest"] or "").strip()
        if rest.endswith(")") and (frame := parse_frame(rest)):
            record.frames.append(frame)
        return record

    def _continue(self, record: PerfRecord | None, number: int, line: str) -> None:
        text = line.strip()
        if record is None or not line[0].isspace():
            raise self._bad(number, line)
        frame = parse_frame(text)
        if frame:
            record.frames.append(frame)
            if len(record.frames) > MAX_FRAMES:
                raise self._source.bad("oversized", number, f"the stack has more than {MAX_FRAMES} frames")
        elif record.frames and (position := _SOURCE_LINE.match(text)):
            last = record.frames[-1]
            if position["file"] != _NO_FILE:
                last.source_file, last.source_line = position["file"], int(position["line"])
            last.file = INLINED if position["inlined"] else last.file
        elif not record.frames or not _NO_SOURCE_LINE.match(text):
            raise self._bad(number, line)

    def _bad(self, number: int, line: str) -> BadDataError:
        what = f"neither the beginning of a sample nor a frame: {line.strip()[:80]!r}; {_FIELDS}"
        return self._source.bad("malformed", number, what)


def _event(header: re.Match[str]) -> str:
    return _MODIFIERS.sub("", header["event"] or "samples")


def events_of(head: str) -> list[str]:
    """Events of the samples that begin in a piece of text, in order, with repetitions."""
    lines = (line for line in head.splitlines() if _TIME.search(line[:512]) and not _SIDE_BAND.search(line))
    return [_event(header) for line in lines if (header := _HEADER.match(line))]


def parse_frame(text: str) -> PerfFrame | None:
    """A line such as ``11f3 crunch+0x3a (/usr/bin/w)``, stripped; ``None`` when it is something else."""
    address, _, rest = text.partition(" ")
    if not _HEXADECIMAL.match(address):
        return None
    rest = rest.strip()
    if not rest.endswith(")"):
        return PerfFrame(int(address, 16), rest or "[unknown]", "")
    rest = rest[:-1].removesuffix(_DELETED)
    # C++ names and paths hold brackets of their own; a path begins with a slash.
    at = max(rest.rfind(" (/"), rest.rfind(" (["))
    at = at if at >= 0 else rest.rfind(" (")
    if at < 0:
        return PerfFrame(int(address, 16), rest + ")", "")
    return PerfFrame(int(address, 16), rest[:at].strip(), rest[at + 2 :])


def is_perf_script(head: str) -> bool:
    """Whether a text begins as perf script's: its first line that is no comment is the header of a record."""
    lines = (line for line in head.splitlines() if line.strip())
    first = next((line for line in lines if not line.startswith("#")), "")
    if not first:
        return head.lstrip().startswith("# ========")
    return bool(_TIME.search(first[:512]) and (_HEADER.match(first) or _SIDE_BAND.search(first)))
