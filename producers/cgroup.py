"""What the path of a control group says: container, pod, systemd unit. Pure text."""

from __future__ import annotations

import re
from dataclasses import dataclass

# What engines make of a container's id: a bare directory (cgroupfs), docker-ID.scope, cri-containerd-ID.scope,
# crio-ID.scope, libpod-ID.scope (systemd), slice:cri-containerd:ID (runc given a systemd path without systemd).
_CONTAINER = re.compile(r"(?:^|[:_-])([0-9a-f]{64})(?:\.scope)?$")
_FARGATE = re.compile(r"^([0-9a-f]{32}-\d+)$")
_SUPERVISOR = re.compile(r"(?:^|[-_])conmon[-_]")  # of CRI-O and podman: beside the container, not in it
_POD = re.compile(
    r"pod([0-9a-f]{8}[-_][0-9a-f]{4}[-_][0-9a-f]{4}[-_][0-9a-f]{4}[-_][0-9a-f]{12}"
    r"|[0-9a-f]{32})(?:\.slice)?(?=$|:)"  # the second form is of the kubelet's own manifests
)
_ESCAPE = re.compile(r"\\x([0-9a-f]{2})")


@dataclass(frozen=True, slots=True)
class CgroupIdentity:
    """Whom a control group belongs to; each part empty when it does not say.

    Attributes:
        container_id: the innermost container.
        pod_uid: Kubernetes' uid of the pod, with dashes.
        unit: systemd service, such as ``ssh.service``; inside a container that container's own.
    """

    container_id: str = ""
    pod_uid: str = ""
    unit: str = ""


def cgroup_path(text: str) -> str:
    """The one path that says most, of the lines of ``/proc/PID/cgroup`` (version 1, 2 or both).

    Version 2's line (``0::``) wins unless it is the root; then version 1's systemd hierarchy, then the longest path.
    """
    best, best_rank = "/", (-1, 0)
    for line in text.splitlines():
        number, _, rest = line.partition(":")
        controllers, _, path = rest.partition(":")
        rank = (2 if number == "0" else 1 if controllers == "name=systemd" else 0, len(path))
        if path not in {"", "/"} and rank > best_rank:
            best, best_rank = path, rank
    return best


def identify_cgroup(path: str) -> CgroupIdentity:
    """Read the parts of a path; the innermost of each kind counts.

    Groups that a container makes below its own (systemd in it, a nested engine) leave its id in force.
    """
    container = pod = unit = ""
    for part in path.split("/"):
        pod_found, container_found = _POD.search(part), _container_id(part)
        if pod_found:
            pod, unit = pod_found.group(1).replace("_", "-"), ""
        if container_found:
            container, unit = container_found, ""
        elif part.endswith(".service"):
            unit = _ESCAPE.sub(lambda match: chr(int(match.group(1), 16)), part)
    return CgroupIdentity(container, pod, unit)


def _container_id(part: str) -> str:
    found = None if _SUPERVISOR.search(part) else _CONTAINER.search(part) or _FARGATE.match(part)
    return found.group(1) if found else ""
