"""Reading who a process is, once per image: from itself while it lives, else from what its ancestors passed on."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from producers import agent_metrics as metrics
from producers.address_space import MAX_MAPPINGS, AddressSpace
from producers.identity import Facts

if TYPE_CHECKING:
    from collections.abc import Callable

    from flamebus.profile import Resource
    from producers.image import Image
    from producers.procfs import ProcFs


_ATTEMPTS = 10


class Acquaintance:
    """Fills in facts, resource and mappings of images."""

    def __init__(self, proc: ProcFs, identify: Callable[[Facts], Resource]) -> None:
        self._proc, self._identify = proc, identify
        self._last_key = 0

    def new_key(self) -> int:
        """A number that no address space has had."""
        self._last_key += 1
        return self._last_key

    def new_space(self) -> AddressSpace:
        """One without mappings."""
        return AddressSpace(self.new_key())

    def meet(self, image: Image) -> None:
        """Read it, or if it has gone take what fork and exec leave unchanged from its ancestors.

        One that is on its way into or out of a program cannot be read just now: it is met again, a few times.
        """
        facts = image.facts = self._read(image)
        if facts is None:
            facts = self._inherited(image)
            image.attempts_count += 1
            if image.is_over or image.attempts_count >= _ATTEMPTS:
                metrics.PROCESSES_INHERITED.inc()
                image.facts = facts
        image.executable = image.executable or facts.executable
        image.command = image.command or facts.command
        if image.space is None:
            image.space = self._space(image)
        image.resource = self._identify(facts)

    def settle(self, image: Image) -> None:
        """Meet it here and now: what cannot be read of it is taken from its ancestors for good."""
        if image.facts is None:
            self.meet(image)
        if image.facts is None:
            self.presume(image, self._inherited(image))

    def presume(self, image: Image, facts: Facts) -> None:
        """Take these facts for its own: it cannot be asked."""
        image.facts, image.resource = facts, self._identify(facts)

    def _read(self, image: Image) -> Facts | None:
        if image.is_over:
            return None
        stat = self._proc.stat(image.tgid)
        if stat is None or stat.is_dying or stat.start_boot_nano > image.seen_boot_nano + self._proc.tick_ns:
            return None
        return self._proc.facts(image.tgid, stat, is_patient=image.attempts_count >= _ATTEMPTS - 1)

    def _inherited(self, image: Image) -> Facts:
        """Environment and control group of the nearest ancestor that tells; its arguments only if there was no exec."""
        has_exec = image.is_exec
        for ancestor in image.lineage():
            if ancestor.facts is None and not ancestor.is_over:
                self.meet(ancestor)  # once for all its children
            facts = ancestor.facts
            if facts is not None:
                return replace(
                    facts,
                    command=image.command or facts.command,
                    executable=image.executable or facts.executable,
                    arguments=() if has_exec else facts.arguments,
                    is_kernel_thread=facts.is_kernel_thread and not has_exec,
                )
            has_exec = has_exec or ancestor.is_exec
        command = image.command or ("" if image.is_over else self._proc.thread_name(image.tgid, image.tgid))
        return Facts(command=command, executable=image.executable)

    def _space(self, image: Image) -> AddressSpace:
        """Its mappings by ``/proc``; of a fork that has gone those of its parent, of which it was a copy."""
        if not image.is_over and (mapped := self._proc.mapped(image.tgid)):
            return AddressSpace(self.new_key(), mapped[:MAX_MAPPINGS])
        for ancestor in image.lineage():
            if ancestor.space is not None:
                ancestor.space.users_count += 1
                return ancestor.space
            if not ancestor.is_over and (mapped := self._proc.mapped(ancestor.tgid)):
                return AddressSpace(self.new_key(), mapped[:MAX_MAPPINGS])
        return self.new_space()

    def read_mappings_again(self, image: Image) -> None:
        """Take the mappings from ``/proc``; the key changes only if they do. Build ids that were known are kept."""
        old, mapped = image.space, self._proc.mapped(image.tgid)[:MAX_MAPPINGS]
        if old is None or not mapped:
            return
        known = {(each.start, each.file.path): each.file.build_id for each in old.mapped}
        mapped = [
            replace(each, file=replace(each.file, build_id=known.get((each.start, each.file.path), "")))
            for each in mapped
        ]
        if [(m.start, m.limit, m.file.path) for m in mapped] == [(m.start, m.limit, m.file.path) for m in old.mapped]:
            return
        old.users_count -= 1
        image.space = AddressSpace(self.new_key(), mapped)
