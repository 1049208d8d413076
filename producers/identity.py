"""Who a process is: the attributes of its samples, from what was read of it. Pure.

Names are those of OpenTelemetry's semantic conventions. Nothing here differs between two processes that do the same
job: no pid, no arguments. Of the environment only two variables are ever looked at, and of those only known attributes
are kept, so that a secret cannot leave the host.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING
from urllib.parse import unquote

from flamebus.profile import CONTAINER_ATTRIBUTE, SERVICE_ATTRIBUTE, UNKNOWN_SERVICE, Resource
from producers.cgroup import CgroupIdentity, identify_cgroup
from producers.interpreters import script_name

if TYPE_CHECKING:
    from collections.abc import Mapping

    from producers.service_rules import ServiceRules

KERNEL_SERVICE = "kernel"
"""Service of all kernel threads; their names are the threads'."""
POD_ATTRIBUTE = "k8s.pod.uid"
UNIT_ATTRIBUTE = "systemd.unit"
EXECUTABLE_ATTRIBUTE = "process.executable.name"
VARIABLES = (b"OTEL_SERVICE_NAME", b"OTEL_RESOURCE_ATTRIBUTES")
"""What is read of a process's environment."""
KEPT_ATTRIBUTES = frozenset(
    {
        SERVICE_ATTRIBUTE, "service.namespace", "service.version", "deployment.environment.name",
        CONTAINER_ATTRIBUTE, "container.name", POD_ATTRIBUTE, "k8s.cluster.name", "k8s.namespace.name", "k8s.pod.name",
        "k8s.container.name", "k8s.deployment.name", "k8s.statefulset.name", "k8s.daemonset.name", "k8s.cronjob.name",
        "k8s.job.name",
    }
)  # fmt: skip
"""What is published of ``OTEL_RESOURCE_ATTRIBUTES``; the rest of it stays on the host."""
_RENAMED = {"deployment.environment": "deployment.environment.name"}
MAX_VALUE_CHARACTERS = 255
_DELETED = " (deleted)"


@dataclass(frozen=True, slots=True)
class Facts:
    """What was read of a process.

    Attributes:
        command: the main thread's name (comm).
        executable: path of the program, empty when not known.
        arguments: what it was started with, itself first; empty when not known.
        environment: ``VARIABLES`` that it has, as text.
        cgroup: path of its control group.
        is_kernel_thread: whether it has no user side at all.
    """

    command: str = ""
    executable: str = ""
    arguments: tuple[str, ...] = ()
    environment: Mapping[str, str] = field(default_factory=dict)
    cgroup: str = "/"
    is_kernel_thread: bool = False


def resource_attributes(text: str) -> dict[str, str]:
    """``OTEL_RESOURCE_ATTRIBUTES``: ``key=value,…``, values percent-encoded. Parts that are not so are passed over."""
    found = {}
    for part in text.split(","):
        key, separator, value = part.partition("=")
        key, value = unquote(key.strip()), unquote(value.strip())
        if separator and key and value:
            found[_RENAMED.get(key, key)] = value
    return found


def identify(facts: Facts, rules: ServiceRules, service: str = "") -> Resource:
    """The attributes of a process, sorted by name; ``service.name`` is always among them.

    The service is, in this order: ``service``; the first rule that matches; ``OTEL_SERVICE_NAME``; ``service.name`` of
    ``OTEL_RESOURCE_ATTRIBUTES``; the systemd unit; the script that an interpreter runs; the command.
    """
    if facts.is_kernel_thread:
        return ((SERVICE_ATTRIBUTE, service or KERNEL_SERVICE),)
    group = identify_cgroup(facts.cgroup)
    said = resource_attributes(facts.environment.get("OTEL_RESOURCE_ATTRIBUTES", ""))
    found = {name: value for name, value in said.items() if name in KEPT_ATTRIBUTES}
    # What the kernel says of containers is certain; what the environment says may be copied from elsewhere.
    found |= {
        name: value
        for name, value in (
            (CONTAINER_ATTRIBUTE, group.container_id),
            (POD_ATTRIBUTE, group.pod_uid),
            (UNIT_ATTRIBUTE, group.unit),
            (EXECUTABLE_ATTRIBUTE, facts.executable.removesuffix(_DELETED).rpartition("/")[2]),
        )
        if value
    }
    found[SERVICE_ATTRIBUTE] = (
        service
        or rules.service(_fields(facts, group))
        or facts.environment.get("OTEL_SERVICE_NAME", "").strip()
        or said.get(SERVICE_ATTRIBUTE, "")
        or _unit_service(group.unit)
        or script_name(facts.executable or facts.command, facts.arguments)
        or facts.command
        or UNKNOWN_SERVICE
    )
    return tuple((name, _publishable(value)) for name, value in sorted(found.items()))


def _fields(facts: Facts, group: CgroupIdentity) -> dict[str, str]:
    return {
        "command": facts.command,
        "executable": facts.executable.removesuffix(_DELETED),
        "cgroup": facts.cgroup,
        "unit": group.unit,
    }


_SESSION_MANAGER = re.compile(r"user@\d*\.service|init\.scope")


def _unit_service(unit: str) -> str:
    """``nginx.service`` → ``nginx``, ``getty@tty1.service`` → ``getty``; a user's session manager says nothing."""
    if _SESSION_MANAGER.fullmatch(unit):
        return ""
    return unit.removesuffix(".service").partition("@")[0]


def _publishable(value: str) -> str:
    """Valid UTF-8 of bounded length without control characters."""
    text = value[:MAX_VALUE_CHARACTERS].encode(errors="replace").decode()
    return "".join(character if character.isprintable() else "?" for character in text)
