"""Whose samples they are: environment, control groups, rules and interpreters, seen by the real agent."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import time
import uuid
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from flamebus.profile import attribute
from tests.kernel.profiled import Profile, agent_command, build, profiling

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.kernel

SECRET = "hunter2-never-to-be-published"
CONTAINER, NESTED = uuid.uuid4().hex * 2, uuid.uuid4().hex * 2
POD = str(uuid.uuid4())
RULES = """
[[rule]]
service = "rule-{1}"
command = "ruled-*"
executable = "*/ruled-*"
"""


def cgroup_root() -> Path:
    """Where groups can be made: version 2's hierarchy, or version 1's that only names processes."""
    for path in (Path("/sys/fs/cgroup/unified"), Path("/sys/fs/cgroup/systemd"), Path("/sys/fs/cgroup")):
        if (path / "cgroup.procs").exists():
            return path
    pytest.skip("no cgroup hierarchy is mounted here")


@contextlib.contextmanager
def group(path: str) -> Iterator[Path]:
    """A control group for the block, with those above it that were not there; removed when its processes have gone."""
    folder = cgroup_root()
    made = []
    for part in path.strip("/").split("/"):
        folder /= part
        if not folder.exists():
            folder.mkdir()
            made.append(folder)
    try:
        yield folder
    finally:
        for each in reversed(made):
            deadline = time.monotonic() + 10
            while each.exists():
                try:
                    each.rmdir()
                except OSError:
                    assert time.monotonic() < deadline, f"{each} cannot be removed"
                    time.sleep(0.02)


def run(*command: str | Path, cgroup: Path | None = None, **variables: str) -> None:
    """Run in a control group and with further environment; moved before the exec, as container runtimes do."""
    words = [str(each) for each in command]
    if cgroup is not None:
        words = ["sh", "-ec", f'echo $$ > {cgroup}/cgroup.procs; exec "$@"', "sh", *words]
    environment = {name: value for name, value in os.environ.items() if not name.startswith("OTEL_")}
    subprocess.run(words, check=True, env={**environment, **variables})


def identities(folder: Path) -> None:
    """Everything that the tests below ask about; each program has a name of its own."""

    def program(name: str) -> Path:
        return build(folder, "cpu_brief.c", name)

    run(program("has-variable"), "300", OTEL_SERVICE_NAME="named-by-variable")
    said = f"service.name=named%20by%20attributes,service.version=1.2.3,db.password={SECRET},deployment.environment=ci"
    run(program("has-attributes"), "300", OTEL_RESOURCE_ATTRIBUTES=said, API_TOKEN=SECRET)
    with group(f"/docker/{CONTAINER}") as own:
        run(program("in-docker"), "300", cgroup=own)
        with group(f"/docker/{CONTAINER}/docker/{NESTED}") as inner:
            run(program("in-nested"), "300", cgroup=inner)
    slices = f"/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod{POD.replace('-', '_')}.slice"
    with group(f"{slices}/cri-containerd-{CONTAINER}.scope") as own:
        run(program("in-pod"), "300", cgroup=own)
    with group("/flamebus-test.slice/flamebus-test@7.service") as own:
        run(program("in-unit"), "300", cgroup=own)
    run(program("ruled-out"), "300", OTEL_SERVICE_NAME="not this")
    script = folder / "nightly_report.py"
    script.write_text("import time\nend = time.process_time() + .2\nwhile time.process_time() < end: pass\n")
    run(sys.executable, script)
    inherits = program("inherits-it")
    # A hundred lives too short to be read: what they have from their parent is what is known of them.
    loop = f"for i in $(seq 100); do {inherits} 5; done"
    run("sh", "-c", loop, OTEL_SERVICE_NAME="named-by-parent")


@pytest.fixture(scope="module")
def profile(kernel: None, tmp_path_factory: pytest.TempPathFactory) -> Profile:
    folder = tmp_path_factory.mktemp("identity")
    (folder / "rules.toml").write_text(RULES)
    with profiling(folder, "--service-rules", str(folder / "rules.toml")) as found:
        identities(folder)
    return found


def resource_of(profile: Profile, executable: str) -> dict[str, str]:
    """Attributes of the program's samples, of which there is one set."""
    found = {
        sample.resource
        for sample in profile.samples
        if attribute(sample.resource, "process.executable.name") == executable
    }
    assert len(found) == 1, found
    return dict(found.pop())


def test_the_service_is_what_the_environment_says(profile: Profile) -> None:
    assert resource_of(profile, "has-variable")["service.name"] == "named-by-variable"
    assert resource_of(profile, "has-attributes") == {
        "deployment.environment.name": "ci",
        "process.executable.name": "has-attributes",
        "service.name": "named by attributes",
        "service.version": "1.2.3",
    }


def test_a_secret_of_the_environment_never_leaves_the_host(profile: Profile) -> None:
    assert b"named by attributes" in b"".join(profile.raw)
    assert SECRET.encode() not in b"".join(profile.raw)


def test_containers_and_pods_are_known_by_their_control_group(profile: Profile) -> None:
    assert resource_of(profile, "in-docker")["container.id"] == CONTAINER
    assert resource_of(profile, "in-nested")["container.id"] == NESTED
    pod = resource_of(profile, "in-pod")
    assert (pod["container.id"], pod["k8s.pod.uid"], pod["service.name"]) == (CONTAINER, POD, "in-pod")


def test_a_unit_names_its_service(profile: Profile) -> None:
    found = resource_of(profile, "in-unit")
    assert (found["systemd.unit"], found["service.name"]) == ("flamebus-test@7.service", "flamebus-test")


def test_a_rule_wins_over_the_environment(profile: Profile) -> None:
    assert resource_of(profile, "ruled-out")["service.name"] == "rule-out"


def test_the_agent_names_itself(profile: Profile) -> None:
    assert profile.of("flamebus-agent")


def test_a_script_names_its_service(profile: Profile) -> None:
    assert profile.of("nightly_report")


def test_lives_too_short_to_be_read_belong_to_their_parents_service(profile: Profile) -> None:
    assert resource_of(profile, "inherits-it")["service.name"] == "named-by-parent"


@pytest.mark.parametrize(
    ("rules", "message"),
    [
        ('rule=[{command="~(", service="x"}]', "rule 1 in the setting service_rules: command"),
        ("/no/such/rules.toml", "cannot read service rules /no/such/rules.toml"),
    ],
)
def test_a_wrong_rule_stops_the_agent_at_once(tmp_path: Path, rules: str, message: str) -> None:
    command = agent_command("kafka://127.0.0.1:9", tmp_path, "--service-rules", rules)
    ended = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert (ended.returncode, message in ended.stderr) == (2, True), ended.stderr
