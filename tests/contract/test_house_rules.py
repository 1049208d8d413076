"""The rules of CONTRIBUTING.md that a machine can check."""

import ast
import re
import subprocess
import sys
import tomllib
from itertools import chain
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = ("flamebus", "bpf", "producers", "streams", "models", "dashboard", "infra")
MAX_FILE_LINES = 500
MAX_FUNCTION_LINES = 60
MAX_PARAMETERS = 8
MAX_BPF_LINES = 250
HOMELESS = {"utils", "util", "helpers", "helper", "common", "misc"}

# Exceptions only shrink. Each says what would have to change for it to go.
LONG_FILES: dict[str, int] = {}
LONG_FUNCTIONS: dict[str, int] = {}


def tracked(*patterns: str) -> list[Path]:
    listing = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", *patterns],
        cwd=ROOT, check=True, capture_output=True, text=True,
    ).stdout  # fmt: skip
    return [path for line in listing.splitlines() if (path := ROOT / line).is_file()]


def sources() -> list[Path]:
    return [path for path in tracked("*.py", "*.c", "*.h", "*.ts") if not path.name.endswith("_pb2.py")]


def python_sources() -> list[Path]:
    return [path for path in sources() if path.suffix == ".py" and path.relative_to(ROOT).parts[0] in PACKAGES]


def functions() -> list[tuple[str, ast.FunctionDef | ast.AsyncFunctionDef]]:
    return [
        (f"{path.relative_to(ROOT)}:{node.name}", node)
        for path in python_sources()
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    ]


def test_the_rules_look_at_something() -> None:
    assert len(python_sources()) > 30
    assert len(functions()) > 100


def test_files_are_short() -> None:
    lengths = {str(path.relative_to(ROOT)): len(path.read_text().splitlines()) for path in sources()}
    too_long = {name: n for name, n in lengths.items() if n > LONG_FILES.get(name, MAX_FILE_LINES)}
    assert not too_long
    assert not {name for name in LONG_FILES if lengths.get(name, 0) <= MAX_FILE_LINES}, (
        "an exception that is not needed"
    )


def test_functions_are_short_and_take_few_parameters() -> None:
    too_long, too_many = {}, {}
    for name, node in functions():
        length = (node.end_lineno or node.lineno) - node.lineno + 1
        # A docstring does not make a function hard to follow, so it does not count.
        docstring = node.body[0] if ast.get_docstring(node) else None
        length -= (docstring.end_lineno or 0) - docstring.lineno + 1 if docstring else 0
        if length > LONG_FUNCTIONS.get(name, MAX_FUNCTION_LINES):
            too_long[name] = length
        arguments = node.args
        count = len(arguments.posonlyargs) + len(arguments.args) + len(arguments.kwonlyargs)
        has_self = bool(arguments.args) and arguments.args[0].arg in {"self", "cls"}
        # A verb of the command line has a parameter for each of its flags.
        if count - has_self > MAX_PARAMETERS and not name.startswith("flamebus/cli/"):
            too_many[name] = count
    assert not too_long
    assert not too_many


def test_bpf_programs_are_short() -> None:
    programs = tracked("bpf/*.bpf.c")
    assert programs
    assert not {p.name: n for p in programs if (n := len(p.read_text().splitlines())) > MAX_BPF_LINES}


def test_bpf_sources_carry_the_dual_licence() -> None:
    for path in tracked("bpf/*.c", "bpf/*.h"):
        assert "SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0" in path.read_text().splitlines()[0], path


def test_bpf_sources_never_say_a_bare_pid() -> None:
    for path in tracked("bpf/*.c", "bpf/*.h"):
        code = re.sub(r"/\*.*?\*/|//[^\n]*", "", path.read_text(), flags=re.DOTALL)
        assert not re.search(r"\bpid\b", code), f"{path}: write tgid or tid"


def test_no_module_without_a_noun() -> None:
    assert not [path for path in sources() if path.stem in HOMELESS]


def test_only_supervisors_catch_everything() -> None:
    """A broad except hides; only a loop that counts and gives up may have one, and says so."""
    for path in python_sources():
        for number, line in enumerate(path.read_text().splitlines(), start=1):
            if re.match(r"\s*except(:| BaseException| Exception)", line):
                assert "# supervisor: " in line, f"{path}:{number}"


def test_silenced_checks_give_a_reason() -> None:
    pattern = re.compile(r"# (noqa|type: ignore)(?!.*\S - \S|.*\]  # \S)")
    bare = [
        f"{path.relative_to(ROOT)}:{number}"
        for path in sources()
        if path.suffix == ".py" and path.name != Path(__file__).name
        for number, line in enumerate(path.read_text().splitlines(), start=1)
        if pattern.search(line)
    ]
    assert not bare


KNOWN_HOSTS = {"www.w3.org", "json-schema.org", "msgpack.org", "cloudevents.io", "evil.example"}
"""Of specifications, and one that cannot exist: what our text may name."""


def test_nothing_names_a_machine() -> None:
    """No path of a developer's machine, and no host but those of specifications: registries belong in settings."""
    own_paths = [f"{path}/" for path in (Path.home(), ROOT, Path("/home")) if len(path.parts) > 1]
    host = re.compile(r"://((?:[A-Za-z0-9-]+\.)+[A-Za-z]{2,})")
    listed = tracked("*.py", "*.c", "*.h", "*.ts", "*.sh", "*.yaml", "*.yml", "*.toml", "*.md", "Makefile", ".ci/*")
    texts = {path: path.read_text() for path in listed if path.name != Path(__file__).name}
    found = {str(path): set(host.findall(text)) - KNOWN_HOSTS for path, text in texts.items()}
    assert not {path: hosts for path, hosts in found.items() if hosts}
    assert not [str(path) for path, text in texts.items() if any(own in text for own in own_paths)]


@pytest.mark.parametrize("package", ["streams", "dashboard", "producers"])
def test_every_runtime_import_is_a_dependency(package: str) -> None:
    """What a process imports at the top of its modules is in one of the extras."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    listed = [*project["dependencies"], *chain.from_iterable(project["optional-dependencies"].values())]
    names = {re.split(r"[\[<>=!;~ ]", line)[0].lower().replace("-", "_") for line in listed}
    aliases = {"faust": "faust_streaming", "mode": "faust_streaming", "influxdb_client": "influxdb_client", "bcc": ""}
    imported = set()
    for path in (p for p in python_sources() if p.relative_to(ROOT).parts[0] == package):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Import):
                imported |= {alias.name.split(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
                imported.add(node.module.split(".")[0])
    foreign = imported - set(sys.stdlib_module_names) - set(PACKAGES)
    assert {name for name in foreign if aliases.get(name, name) not in {*names, ""}} <= {"aiohttp"}
