from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flamebus.errors import UsageError
from flamebus.profile import attribute
from producers.cgroup import CgroupIdentity, cgroup_path, identify_cgroup
from producers.identity import MAX_VALUE_CHARACTERS, Facts, identify, resource_attributes
from producers.interpreters import script_name
from producers.service_rules import ServiceRules, read_rules

if TYPE_CHECKING:
    from pathlib import Path

ID = "4f797c539e6c745de61a93ca3ff892358ecbcaccd8414d5db545c38428142970"
OTHER = "9ec39b91f3d70e1beff50a308f77067065ea6be0d91a3378375056cd4422cf3d"
UID = "ac04f3f2-1f2c-11e9-b015-1ebee232acfa"
UNDERSCORED = UID.replace("-", "_")
NO_RULES = ServiceRules()


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("/", CgroupIdentity()),
        (f"/docker/{ID}", CgroupIdentity(ID)),
        (f"/system.slice/docker-{ID}.scope", CgroupIdentity(ID)),
        (f"/docker/{ID}/system.slice/nginx.service", CgroupIdentity(ID, "", "nginx.service")),
        (f"/docker/{ID}/docker/{OTHER}", CgroupIdentity(OTHER)),
        (f"/system.slice/containerd.service/cri/{ID}", CgroupIdentity(ID)),
        (f"/default/{ID}", CgroupIdentity(ID)),
        (f"/kubepods/besteffort/pod{UID}/{ID}", CgroupIdentity(ID, UID)),
        (
            f"/kubepods.slice/kubepods-burstable-pod{UNDERSCORED}.slice/cri-containerd-{ID}.scope",
            CgroupIdentity(ID, UID),
        ),
        (f"/kubepods-burstable-pod{UNDERSCORED}.slice:cri-containerd:{ID}", CgroupIdentity(ID, UID)),
        (f"/kubepods.slice/kubepods-pod{UNDERSCORED}.slice/crio-{ID}.scope", CgroupIdentity(ID, UID)),
        (f"/kubepods.slice/kubepods-pod{UNDERSCORED}.slice/crio-{ID}.scope/container", CgroupIdentity(ID, UID)),
        (f"/kubepods.slice/kubepods-pod{UNDERSCORED}.slice/crio-conmon-{ID}.scope", CgroupIdentity("", UID)),
        (f"/kubepods/burstable/pod{ID[:32]}/{ID}", CgroupIdentity(ID, ID[:32])),
        (
            f"/kubelet.slice/kubelet-kubepods.slice/kubelet-kubepods-pod{UNDERSCORED}.slice/cri-containerd-{ID}.scope",
            CgroupIdentity(ID, UID),
        ),
        (f"/machine.slice/libpod-{ID}.scope", CgroupIdentity(ID)),
        (f"/machine.slice/libpod-{ID}.scope/container", CgroupIdentity(ID)),
        (f"/machine.slice/libpod-conmon-{ID}.scope", CgroupIdentity()),
        (f"/libpod_parent/libpod-{ID}", CgroupIdentity(ID)),
        (f"/user.slice/user-1000.slice/user@1000.service/user.slice/libpod-{ID}.scope", CgroupIdentity(ID)),
        (f"/ecs/0410eff2-7e59-4111-823e-1e0d98ef7f30/{ID}", CgroupIdentity(ID)),
        (f"/ecs/{ID[:32]}/{ID[:32]}-2158957498", CgroupIdentity(f"{ID[:32]}-2158957498")),
        ("/system.slice/ssh.service", CgroupIdentity("", "", "ssh.service")),
        ("/system.slice/system-getty.slice/getty@tty1.service", CgroupIdentity("", "", "getty@tty1.service")),
        ("/system.slice/my\\x2dapp.service", CgroupIdentity("", "", "my-app.service")),
        ("/user.slice/user-0.slice/session-3.scope", CgroupIdentity()),
        (f"/builds/{ID[:40]}", CgroupIdentity()),
    ],
)
def test_what_a_cgroup_says(path: str, expected: CgroupIdentity) -> None:
    assert identify_cgroup(path) == expected


@pytest.mark.parametrize(
    ("lines", "expected"),
    [
        ("0::/system.slice/ssh.service", "/system.slice/ssh.service"),
        (f"12:cpuset:/docker/{ID}\n1:name=systemd:/docker/{ID}/init.scope\n0::/", f"/docker/{ID}/init.scope"),
        (f"9:memory:/a/{ID}\n8:pids:/\n0::/", f"/a/{ID}"),
        ("9:memory:/a\n0::/b", "/b"),
        ("", "/"),
        ("nonsense", "/"),
        ("3:cpu,cpuacct:/with:colon", "/with:colon"),
    ],
)
def test_of_several_hierarchies_the_one_that_says_most_counts(lines: str, expected: str) -> None:
    assert cgroup_path(lines) == expected


def test_resource_attributes_are_percent_decoded_and_broken_parts_passed_over() -> None:
    text = "service.name=caf%C3%A9, service.version = 1.2 ,=x,novalue=,nonsense,deployment.environment=prod,a=b%3Dc%2Cd"
    assert resource_attributes(text) == {
        "service.name": "café",
        "service.version": "1.2",
        "deployment.environment.name": "prod",
        "a": "b=c,d",
    }


@given(st.text(max_size=200))
def test_any_environment_gives_attributes_that_can_be_published(text: str) -> None:
    resource = identify(
        Facts("c", "/bin/c", environment={"OTEL_RESOURCE_ATTRIBUTES": text, "OTEL_SERVICE_NAME": text}), NO_RULES
    )
    assert [name for name, _ in resource] == sorted({name for name, _ in resource})
    assert attribute(resource, "service.name")
    for _, value in resource:
        assert value.encode().decode().isprintable()
        assert len(value) <= MAX_VALUE_CHARACTERS


def test_only_known_attributes_leave_the_host() -> None:
    said = "service.name=shop,db.password=hunter2,api_key=s3cret,k8s.namespace.name=live,service.instance.id=77"
    resource = identify(Facts("c", "/opt/shop (deleted)", environment={"OTEL_RESOURCE_ATTRIBUTES": said}), NO_RULES)
    assert resource == (
        ("k8s.namespace.name", "live"),
        ("process.executable.name", "shop"),
        ("service.name", "shop"),
    )


def test_what_the_kernel_says_of_containers_wins_over_what_the_environment_says() -> None:
    facts = Facts(
        "c",
        cgroup=f"/kubepods/besteffort/pod{UID}/{ID}",
        environment={"OTEL_RESOURCE_ATTRIBUTES": f"container.id={OTHER},k8s.pod.uid=other,k8s.pod.name=shop-0"},
    )
    assert dict(identify(facts, NO_RULES)) == {
        "container.id": ID,
        "k8s.pod.uid": UID,
        "k8s.pod.name": "shop-0",
        "service.name": "c",
    }


UNIT = "/system.slice/worker@7.service"


@pytest.mark.parametrize(
    ("facts", "rules", "service", "expected"),
    [
        (Facts("c"), "", "", "c"),
        (Facts(""), "", "", "unknown_service"),
        (Facts("python3", "/usr/bin/python3.11", ("python3", "/srv/job.py")), "", "", "job"),
        (Facts("job.sh", "/bin/bash", ("/bin/bash", "/srv/job.sh"), cgroup=UNIT), "", "", "worker"),
        (Facts("c", cgroup="/user.slice/user@1000.service/app.slice/sync.service"), "", "", "sync"),
        (Facts("c", cgroup="/user.slice/user@1000.service/init.scope"), "", "", "c"),
        (Facts("c", cgroup=UNIT, environment={"OTEL_RESOURCE_ATTRIBUTES": "service.name=a"}), "", "", "a"),
        (
            Facts("c", environment={"OTEL_RESOURCE_ATTRIBUTES": "service.name=a", "OTEL_SERVICE_NAME": "b"}),
            "",
            "",
            "b",
        ),
        (Facts("c", environment={"OTEL_SERVICE_NAME": "b"}), 'rule=[{command="c",service="d"}]', "", "d"),
        (Facts("c", environment={"OTEL_SERVICE_NAME": "b"}), 'rule=[{command="c",service="d"}]', "e", "e"),
        (Facts("kworker/0:1", is_kernel_thread=True), "", "", "kernel"),
        (Facts("x" * 400), "", "", "x" * MAX_VALUE_CHARACTERS),
    ],
)
def test_the_service_comes_from_the_strongest_source(facts: Facts, rules: str, service: str, expected: str) -> None:
    assert attribute(identify(facts, read_rules(rules), service), "service.name") == expected


@pytest.mark.parametrize(
    ("executable", "arguments", "expected"),
    [
        ("/usr/bin/python3.11", "python3 -X dev -W error /srv/report.py --secret=1", "report"),
        ("/usr/bin/python3.11", "python -m gunicorn.app.wsgiapp shop:app", "gunicorn"),
        ("/usr/bin/python3.11", "python -c print(1)", ""),
        ("/usr/bin/python3.11", "python", ""),
        ("/usr/bin/python3.11", "python /srv/checkout/main.py", "checkout"),
        ("/usr/bin/python3.11", "python main.py", "main"),
        ("/usr/bin/python3.11", "python /tmp/0a1b.py", ""),
        ("/usr/bin/node", "node --require ./tracing.js --max-old-space-size=99 /srv/api/server.js", "api"),
        ("/usr/bin/node", "node -e 1", ""),
        ("/usr/lib/jvm/bin/java", "java -Xmx1g -cp a.jar:b.jar com.example.Shop --port 1", "Shop"),
        ("/usr/lib/jvm/bin/java", "java -jar /srv/shop-1.2.jar", "shop-1.2"),
        ("/usr/bin/dash", "sh /usr/local/bin/backup.sh", "backup"),
        ("/usr/bin/bash", "bash -c x", ""),
        ("/usr/bin/bash", "-bash", ""),
        ("/usr/bin/perl", "perl -w /usr/bin/exim-stats", "exim-stats"),
        ("/usr/bin/ruby3.1", "ruby -I lib bin/worker.rb", "worker"),
        ("/usr/sbin/nginx", "nginx -c x.conf", ""),
        ("/usr/bin/python3-config", "python3-config /x.py", ""),
    ],
)
def test_the_script_of_an_interpreter(executable: str, arguments: str, expected: str) -> None:
    assert script_name(executable, tuple(arguments.split(" "))) == expected


FACTS = Facts("worker-7", "/opt/acme/bin/worker", cgroup="/jobs/night/worker@7.service")


@pytest.mark.parametrize(
    ("rules", "expected"),
    [
        ('rule=[{command="worker-*", service="w"}]', "w"),
        ('rule=[{command="worker-*", service="w{1}"}]', "w7"),
        ('rule=[{command="worker-?", executable="/opt/*/bin/*", service="{1}-{2}"}]', "acme-worker"),
        ('rule=[{command="worker", service="w"}, {unit="*@*.service", service="{2}of{1}"}]', "7ofworker"),
        ('rule=[{cgroup="~^/jobs/(?P<when>[a-z]+)/", service="{when}"}]', "night"),
        ('rule=[{executable="~acme", command="nothing", service="w"}]', "worker"),
        ('rule=[{command="[w]orker-7", service="glob"}]', "worker"),
        ('rule=[{command="~.", service="first"}, {command="~.", service="second"}]', "first"),
    ],
)
def test_rules(rules: str, expected: str) -> None:
    assert attribute(identify(FACTS, read_rules(rules)), "service.name") == expected


@pytest.mark.parametrize(
    ("rules", "message"),
    [
        ('rule=[{command="~(", service="w"}]', r"rule 1 .*command.*no regular expression"),
        (
            'rule=[{command="a", service="w"}, {comand="a", service="w"}]',
            "rule 2 .*unknown comand.*command, executable",
        ),
        ('rule=[{service="w"}]', "rule 1 .*needs a service and at least one of command"),
        ('rule=[{command="w"}]', "needs a service"),
        ('rule=[{command="w", service=""}]', "needs a service"),
        ('rule=[{command="w*", service="{2}"}]', r"\{2\}.*has 1 groups|have 1 groups"),
        ('rule=[{command="w", service="{name}"}]', "have 0 groups"),
        ('rule=[{command="w", service="{"}]', "does not fit"),
        ('rule=[{command=7, service="w"}]', "must be a string"),
        ('rules=[{command="a", service="w"}]', r"\[\[rule\]\]"),
        ("rule=7", r"\[\[rule\]\]"),
        ("rule=[", "not TOML"),
        ("/no/such/file.toml", "cannot read service rules /no/such/file.toml: No such file"),
    ],
)
def test_a_wrong_rule_is_said_at_the_start(rules: str, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        read_rules(rules)


def test_rules_from_a_file(tmp_path: Path) -> None:
    path = tmp_path / "rules.toml"
    path.write_text('[[rule]]\ncommand = "worker-*"\nservice = "from-file"\n')
    assert attribute(identify(FACTS, read_rules(str(path))), "service.name") == "from-file"
    path.write_bytes(b"\xff\xfe")
    with pytest.raises(UsageError, match="not TOML"):
        read_rules(str(path))
