"""Every verb with wrong input: what it says, where, and its exit code; and JSON from everything that reads."""

from __future__ import annotations

import fcntl
import io
import json
import os
import shlex
import socket
import struct
import subprocess
import sys
import termios
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from flamebus.cli import VERBS
from flamebus.wire.recording import RecordingHeader, RecordingWriter
from infra.servers.process import wait_until
from tests.support.verbs import ROOT, Result, environment, flamebus, said
from tests.support.written_store import write_store

NOBODY = "kafka://127.0.0.1:9"


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp("store")
    write_store(folder, ("checkout", "cart"), time.time_ns(), windows=4)
    return str(folder)


@pytest.fixture(scope="module")
def recording(tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("recording") / "empty.rec"
    with file.open("wb") as stream:
        RecordingWriter(stream, RecordingHeader("flamebus.", time.time_ns()))
    return file


def at_once(*commands: tuple[str, ...]) -> list[Result]:
    """Results of verbs that mostly wait."""
    with ThreadPoolExecutor(len(commands)) as pool:
        return list(pool.map(lambda command: flamebus(*command), commands))


def test_what_is_no_verb_is_a_usage_error() -> None:
    code, text = said(flamebus("nonsense"))
    assert code == 2
    assert "No such command 'nonsense'" in text
    assert flamebus().returncode == 2
    assert flamebus("top", "--colour").returncode == 2


def test_every_verb_has_help() -> None:
    for verb, result in zip(VERBS, at_once(*((verb, "--help") for verb in VERBS)), strict=True):
        assert result.returncode == 0, verb
        assert result.stdout.startswith(f"Usage: flamebus {verb} ")
        assert result.stderr == ""


def test_no_broker_is_exit_code_4_for_every_verb_of_the_bus(recording: Path, tmp_path: Path) -> None:
    verbs = ["topics list", "topics create", "topics describe windows.v1", "dlq list", "dlq show 0:0", "dlq replay"]
    verbs += [
        f"record -o {tmp_path}/x.rec",
        f"replay {recording}",
        "import --service s -",
        f"stream --store {tmp_path}/s",
    ]
    commands = [(*shlex.split(verb), "--bus", NOBODY) for verb in verbs]
    for command, result in zip(commands, at_once(*commands), strict=True):
        code, text = said(result)
        assert code == 4, (command, text)
        assert "127.0.0.1:9" in text, command
        assert "check --bus" in text, command
        assert result.stdout == "", command
    assert not (tmp_path / "x.rec").exists()


def test_what_is_no_bus_is_exit_code_2(recording: Path, tmp_path: Path) -> None:
    verbs = ["topics list", "dlq list", f"record -o {tmp_path}/x.rec", f"replay {recording}", "import --service s -"]
    verbs += ["stream", "agent --duration 1s"]
    commands = [(*shlex.split(verb), "--bus", "localhost:9092") for verb in verbs]
    for command, result in zip(commands, at_once(*commands), strict=True):
        code, text = said(result)
        assert (code, text) == (
            2, "flamebus: not a bus: 'localhost:9092'; write it as kafka://host:port[,host:port…]",
        ), command  # fmt: skip


def test_every_verb_with_settings_says_what_is_wrong_with_them(recording: Path, tmp_path: Path) -> None:
    (tmp_path / "bad.toml").write_text('windw = "10s"\n')
    verbs = ["agent", "config show", "dlq list", "dlq show 0:0", "dlq replay", "flamegraph", "import --service s -"]
    verbs += [
        f"record -o {tmp_path}/x.rec",
        f"replay {recording}",
        "serve",
        "store compact",
        "store info",
        "stream",
        "top",
    ]
    verbs += [
        "topics list",
        "topics create",
        "topics describe windows.v1",
        "store retain",
        "store verify",
        "store maintain",
    ]
    commands = [(*shlex.split(verb), "--config", str(tmp_path / "bad.toml")) for verb in verbs]
    for command, result in zip(commands, at_once(*commands), strict=True):
        assert said(result) == (
            2, f"flamebus: there is no setting 'windw' (from {tmp_path}/bad.toml); did you mean 'window'?",
        ), command  # fmt: skip


@pytest.mark.parametrize(
    ("command", "variables", "code", "message"),
    [
        ("stream", {"FLAMEBUS_WINDOW": "ten"}, 2, "'window' may not be 'ten' (from FLAMEBUS_WINDOW): not a duration"),
        ("agent --hz 0", {}, 2, "setting 'hz' may not be 0 (from --hz)"),
        ("agent --kinds gpu", {}, 2, "unknown kinds gpu; there are cpu"),
        ("record -o {new} --kinds gpu", {}, 2, "unknown kinds gpu"),
        ("record -o {new} --duration soon", {}, 2, "not a duration: 'soon'"),
        ("record -o {new} --count 0", {}, 2, "Invalid value for '--count'"),
        ("record", {}, 2, "Missing option '--output'"),
        ("replay {new}", {}, 2, "cannot read {new}: No such file or directory"),
        ("replay {folder}", {}, 2, "cannot read {folder}: Is a directory"),
        ("replay {text}", {}, 5, "{text}: an entry declares"),
        ("replay {empty}", {}, 5, "{empty}: the file is empty, not a recording"),
        ("replay {text} --speed 0", {}, 2, "not a speed: '0'"),
        ("replay {text} --speed fast", {}, 2, "not a speed: 'fast'"),
        ("topics describe gpu", {}, 2, "no topic 'gpu' in the contract; there are samples.cpu.v1"),
        ("dlq show", {}, 2, "Missing argument"),
        ("top --store {text}", {}, 4, "there is no store at {text}"),
        ("top --store {folder}", {}, 4, "{folder} is no store: it holds empty and none of samples"),
        ("flamegraph --store {folder}", {}, 4, "is no store"),
        ("top --store {store} --kind gpu", {}, 2, "unknown kind 'gpu'; there are cpu"),
        ("flamegraph --store {store} --kind gpu", {}, 2, "unknown kind 'gpu'; there are cpu"),
        ("top --store {store} --limit 0", {}, 2, "Invalid value for '--limit'"),
        ("flamegraph --store {store} --format pdf", {}, 2, "Invalid value for '--format'"),
        ("flamegraph --store {store} --max-nodes 0", {}, 2, "Invalid value for '--max-nodes'"),
        ("flamegraph --store {store} -o {folder}", {}, 1, "cannot write {folder}: Is a directory"),
        ("serve --store {store} --listen nonsense", {}, 2, "not an address: 'nonsense'; write it as host:port"),
        ("serve --store {store} --listen 0.0.0.0:0", {}, 2, "needs a token"),
        ("status --state {text}", {}, 2, "--state {text} is a file; name a folder"),
        ("demo --duration x", {}, 2, "not a duration: 'x'"),
        ("config", {}, 2, "Usage: flamebus config"),
        ("store retain --store {store} --keep all=1d", {}, 2, "not a retention: 'all=1d'"),
        ("store maintain --store {store} --every 10ms", {}, 2, "--every must be at least 1s"),
    ],
)  # fmt: skip
def test_wrong_input_is_explained(
    command: str, variables: dict[str, str], code: int, message: str, store: str, tmp_path: Path
) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    places = {"store": store, "folder": str(folder), "text": f"{folder}/text", "empty": f"{folder}/empty"}
    places["new"] = str(tmp_path / "new")
    (folder / "text").write_text("This is prose, and no profile of anything.\n")
    (folder / "empty").touch()
    result = flamebus(*shlex.split(command.format(**places)), env=variables)
    text = " ".join((result.stderr + result.stdout).split())
    assert message.format(**places) in text
    assert result.returncode == code, text
    assert not (tmp_path / "new").exists()


def test_a_port_in_use_is_exit_code_2(store: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        code, text = said(flamebus("serve", "--store", store, "--listen", f"127.0.0.1:{port}"))
    assert code == 2
    assert f"cannot listen on 127.0.0.1:{port}" in text
    assert "choose another --listen" in text


def test_what_is_there_stays_when_there_is_no_broker(tmp_path: Path) -> None:
    file = tmp_path / "kept.rec"
    file.write_text("precious")
    result = flamebus("record", "-o", str(file), "--bus", NOBODY)
    assert result.returncode == 4
    assert file.read_text() == "precious"


@pytest.mark.parametrize(
    ("command", "keys"),
    [
        ("top --store {store}", {"total", "samples", "functions"}),
        ("top --store {store} --search parse", {"total", "samples", "functions", "matched"}),
        ("flamegraph --store {store} --format json", {"name", "mapping", "kind", "value", "self", "children"}),
        ("config show", {"name", "value", "origin", "source", "description"}),
        ("store info --store {store}", {"dataset", "kind", "hours", "files", "compacted", "bytes"}),
        ("store verify --store {store}", {"files", "damaged"}),
        ("status --local --state {store}/none", {"name", "state", "address", "pid", "log"}),
        ("import --service s --dry-run tests/data/import/go_cpu.pprof", {"published", "files", "batches", "windows"}),
    ],
)  # fmt: skip
def test_everything_that_reads_gives_json(command: str, keys: set[str], store: str) -> None:
    arguments = shlex.split(command.format(store=store))
    result = flamebus(*arguments, *([] if "--format" in arguments else ["--json"]))
    assert result.returncode == 0, result.stderr
    answer = json.loads(result.stdout)
    assert keys <= set(answer[0] if isinstance(answer, list) else answer)


def test_config_show_says_where_values_come_from_and_hides_secrets(tmp_path: Path) -> None:
    (tmp_path / "flamebus.toml").write_text('influx_token = "s3cret"\n')
    result = flamebus("config", "show", env={"FLAMEBUS_HZ": "49", "FLAMEBUS_LATNESS": "1s"}, folder=tmp_path)
    lines = {line.split()[0]: line.split() for line in result.stdout.splitlines()}
    assert lines["hz"][1:3] == ["49", "FLAMEBUS_HZ"]
    assert lines["influx_token"][1:3] == ["********", "flamebus.toml"]
    assert lines["window"][1:3] == ["10s", "default"]
    assert "s3cret" not in result.stdout
    assert "FLAMEBUS_LATNESS is no setting; did you mean FLAMEBUS_LATENESS?" in result.stderr


@pytest.mark.parametrize("command", ["top --store {store}", "flamegraph --store {store} --format svg", "config show"])
def test_a_reader_that_goes_away_is_not_an_error_message(command: str, store: str) -> None:
    """What ``| head -1`` does, at once: the pipe is closed before the first byte."""
    reading, writing = os.pipe()
    os.close(reading)
    arguments = shlex.split(command.format(store=store))
    with os.fdopen(writing, "wb") as pipe:
        done = subprocess.run(
            [sys.executable, "-m", "flamebus", *arguments],
            cwd=ROOT, env=environment(), stdout=pipe, stderr=subprocess.PIPE, timeout=60, check=False,
        )  # fmt: skip
    assert done.stderr == b""
    assert done.returncode == 1


def test_a_full_disk_behind_standard_output_is_said(store: str) -> None:
    with Path("/dev/full").open("wb") as full:
        done = subprocess.run(
            [sys.executable, "-m", "flamebus", "top", "--store", store],
            cwd=ROOT, env=environment(), stdout=full, stderr=subprocess.PIPE, timeout=60, check=False,
        )  # fmt: skip
    assert (done.returncode, b"No space left on device" in done.stderr) == (1, True)
    assert b"Traceback" not in done.stderr


def test_times_are_read_in_every_form(store: str) -> None:
    now = time.time_ns()
    forms = [
        ("--since", "1h"),
        ("--from", "-1h", "--to", "now"),
        ("--from", "now-1h"),
        ("--since", "1h", "--to", "now"),
    ]
    forms += [("--from", str(now // 10**9 - 3600)), ("--from", str(now - 3600 * 10**9), "--to", str(now))]
    stamp = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(now // 10**9 - 3600))
    forms += [("--from", stamp), ("--from", f"{stamp}Z"), ("--from", f"{stamp}.250+00:00")]
    results = at_once(*(("top", "--store", store, "--json", *form) for form in forms))
    totals = {json.loads(result.stdout)["total"] for result in results}
    assert len(totals) == 1
    assert totals.pop() > 0


def test_progress_is_drawn_on_a_terminal_only(tmp_path: Path) -> None:
    """A long import: its counts on a terminal, and no byte of them where standard error is a pipe."""
    file = tmp_path / "long.folded"
    file.write_text("".join(f"main;work_{n} 1\n" for n in range(60_000)))
    arguments = ("import", "--service", "s", "--dry-run", str(file))
    text = on_terminal(*arguments, columns=80, is_error_stream=True)
    assert "samples read" in text
    assert text.endswith("\x1b[K"), "the line is taken away in the end"
    assert flamebus(*arguments).stderr == ""


def test_the_table_is_cut_to_the_terminal_and_whole_in_a_pipe(store: str) -> None:
    asked = ("top", "--store", store, "--service", "checkout")
    narrow = on_terminal(*asked, columns=50, is_error_stream=False).replace("\r", "").splitlines()
    assert {len(line) for line in narrow} <= set(range(51))
    assert any(line.endswith("…") for line in narrow)
    assert "…" not in flamebus(*asked).stdout
    assert "…" not in on_terminal(*asked, columns=300, is_error_stream=False)


def on_terminal(*arguments: str, columns: int, is_error_stream: bool) -> str:
    """What a verb writes to a terminal of this width that is one of its streams."""
    master, slave = os.openpty()
    fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 40, columns, 0, 0))
    process = subprocess.Popen(
        [sys.executable, "-m", "flamebus", *arguments],
        cwd=ROOT,
        env=environment({"COLUMNS": str(columns)}),
        stdout=subprocess.DEVNULL if is_error_stream else slave,
        stderr=slave if is_error_stream else subprocess.DEVNULL,
    )
    os.close(slave)
    drawn = io.BytesIO()

    def drain() -> bool:
        try:
            drawn.write(os.read(master, 4096))
        except OSError:  # the terminal's other end was closed: the verb has ended
            return True
        return False

    assert wait_until(drain, 60)
    assert process.wait(10) == 0
    os.close(master)
    return drawn.getvalue().decode()
