"""What ``flamebus doctor`` says of a host: one small function per question, each with a record for an answer.

A check looks, and changes nothing that stays. What it asks is what the agent will do: where the agent has the code for
it, that code is run, and its error is the answer.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence


class State(StrEnum):
    """How a check came out."""

    OK = "ok"
    MISSING = "missing"  # the agent does not work without it
    UNREACHABLE = "unreachable"  # a server that was named does not answer, or refuses us
    WARNING = "warning"  # the agent works, and something will be worse
    ABSENT = "absent"  # no kind of today needs it


@dataclass(frozen=True, slots=True)
class Finding:
    """What one check found.

    Attributes:
        state: how it came out.
        found: what is there, for people.
        remedy: what to do; empty when nothing has to be done.
    """

    state: State
    found: str
    remedy: str = ""


@dataclass(frozen=True, slots=True)
class Check:
    """One question.

    Attributes:
        name: stable, lower case; docs/operations.md has a row for each.
        why: what depends on it, a phrase.
        look: finds the answer; raises nothing.
    """

    name: str
    why: str
    look: Callable[[], Finding]


@dataclass(frozen=True, slots=True)
class Result:
    """A question with its answer."""

    name: str
    why: str
    state: State
    found: str
    remedy: str


def examine(checks: Sequence[Check]) -> tuple[Result, ...]:
    """Look, in order."""
    results = []
    for check in checks:
        finding = check.look()
        results.append(Result(check.name, check.why, finding.state, finding.found, finding.remedy))
    return tuple(results)


def host_checks(spool: str, spool_bytes: int) -> tuple[Check, ...]:
    """Everything that the agent needs of this host, and what later kinds would.

    Args:
        spool: folder where batches wait while the bus is away.
        spool_bytes: most bytes it may take.
    """
    from producers.doctor_host import agent_checks
    from producers.doctor_kernel import kernel_checks, optional_checks
    from producers.doctor_rights import rights_checks

    return (*kernel_checks(), *rights_checks(), *agent_checks(spool, spool_bytes), *optional_checks())
