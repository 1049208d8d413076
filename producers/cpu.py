"""On-CPU samples of every process: fixed records in one ring, the addresses of new stacks in another."""

from __future__ import annotations

import select
import struct
import time
from dataclasses import dataclass
from enum import IntEnum
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from producers.kernel.bytecode import load_bytecode
from producers.kernel.clock_events import ClockEvents
from producers.kernel.maps import BpfMap, MapSpec, MapType, online_cpus
from producers.kernel.programs import PERF_EVENT, Program, ProgramStats
from producers.kernel.ring import RingBuffer

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from numpy.typing import NDArray

MAX_FRAMES = 127
FLAG_USER_MODE, FLAG_USER_STACK_UNSENT, FLAG_KERNEL_STACK_UNSENT = 1, 2, 4
SEEN_WAYS, SEEN_SETS = 8, 1_024  # 8,192 distinct stacks that the kernel remembers to have sent; 64 KiB
_STACK_RING_BYTES = 1 << 20  # 4,000 new stacks of 30 frames between two drains
_RECORD_BYTES = 48
_BUSY_WAIT_SECONDS = 0.01  # a record is half written for microseconds, unless the hypervisor took the CPU away

RECORD = np.dtype(
    [
        ("length", "<u4"),
        ("reserved", "<u4"),
        ("time_boot_nano", "<u8"),
        ("tgid", "<u4"),
        ("tid", "<u4"),
        ("user_hash", "<u8"),
        ("kernel_hash", "<u8"),
        ("cpu", "<u2"),
        ("flags", "<u2"),
        ("weight_us", "<u4"),
    ]
)
"""``struct sample`` of ``bpf/records.h`` behind the ring's own header."""

STACK_HEADER = struct.Struct("<QII")
"""What goes before the addresses in ``struct stack_record``: hash, count, tgid."""

SETTINGS = struct.Struct("<IIIIQQ")
"""``struct settings``: only_tgid, epoch, weight_us, most_frames, samples_wakeup_bytes, stacks_wakeup_bytes."""

LOSS_BYTES = 16
"""``struct loss``: samples and value_us, u64 each."""

MAX_STACK_SETTING = Path("/proc/sys/kernel/perf_event_max_stack")
"""Where the kernel says how many frames it walks at most."""


class LossReason(IntEnum):
    """``enum loss_reason`` of ``bpf/records.h``: why a sample, or a part of it, did not reach us."""

    SAMPLE_RING_FULL = 0
    STACK_RING_FULL = 1
    USER_STACK_FAULT = 2
    USER_STACK_TRUNCATED = 3
    KERNEL_STACK_TRUNCATED = 4


class MapNumber(IntEnum):
    """``enum map_number`` of ``bpf/records.h``."""

    SAMPLES = 1
    STACKS = 2
    SEEN = 3
    LOSSES = 4
    SETTINGS = 5
    SCRATCH = 6


@dataclass(frozen=True, slots=True)
class Loss:
    """How much one reason cost.

    Attributes:
        samples_count: samples concerned.
        value_ns: CPU time they stood for, ns.
    """

    samples_count: int
    value_ns: int


@dataclass(frozen=True, slots=True)
class CpuDrain:
    """What one drain found; columns of shape ``(n_samples,)``, in the order the kernel wrote them.

    Attributes:
        time_boot_nano: u64, ns of the boot clock.
        tgid: u32, process.
        tid: u32, thread.
        user_hash: u64, key of the user stack, 0 for none.
        kernel_hash: u64, key of the kernel stack, 0 for none.
        cpu: u16.
        flags: u16, bits ``FLAG_…``.
        weight_us: u32, µs of CPU time each sample stands for.
        new_stacks: of hashes not sent before (or sent again after an eviction) the addresses, packed because whoever
            keeps them keeps thousands: see :func:`unpacked`. Call :meth:`CpuProducer.forget_stacks` when throwing them
            away.
        losses: since the last drain, only reasons that occurred.
    """

    time_boot_nano: NDArray[np.uint64]
    tgid: NDArray[np.uint32]
    tid: NDArray[np.uint32]
    user_hash: NDArray[np.uint64]
    kernel_hash: NDArray[np.uint64]
    cpu: NDArray[np.uint16]
    flags: NDArray[np.uint16]
    weight_us: NDArray[np.uint32]
    new_stacks: dict[int, bytes]
    losses: dict[LossReason, Loss]


def unpacked(addresses: bytes) -> list[int]:
    """Addresses of a stack as numbers, leaf first."""
    return memoryview(addresses).cast("Q").tolist()


def sample_ring_bytes(cpus_count: int, hz: float, interval_seconds: float) -> int:
    """Size of the sample ring: two drain intervals of full load, as the power of two (≥ 64 KiB) that rings need."""
    wanted = int(cpus_count * hz * 2 * interval_seconds * _RECORD_BYTES)
    return max(1 << 16, 1 << (wanted - 1).bit_length())


def stack_ceiling(setting: Path = MAX_STACK_SETTING) -> int:
    """Most frames that a stack can have: the kernel's setting, and never more than we have room for."""
    try:
        return min(MAX_FRAMES, int(setting.read_text(encoding="ascii")))
    except (OSError, ValueError):
        return MAX_FRAMES


class CpuProducer:
    """Samples all online CPUs by the cpu-clock software event, idle excluded. One thread at a time.

    Why not by hardware cycles: docs/decisions/0006-cpu-clock-only.md.
    """

    def __init__(
        self,
        *,
        only_tgid: int = 0,
        sample_ring_bytes_limit: int | None = None,
        stack_ring_bytes: int = _STACK_RING_BYTES,
        interval_seconds: float = 1.0,
        cache: Path | None = None,
        online: Callable[[], Iterable[int]] = online_cpus,
        max_stack_setting: Path = MAX_STACK_SETTING,
    ) -> None:
        """Nothing happens yet.

        Args:
            only_tgid: sample only this process; 0 for all.
            sample_ring_bytes_limit: size of the sample ring, a power of two; by default from CPUs and rate.
            stack_ring_bytes: size of the ring of new stacks, a power of two.
            interval_seconds: how often it will be drained.
            cache: folder of compiled bytecode; by default the user's.
            online: numbers of the CPUs to sample, asked at every drain.
            max_stack_setting: ``kernel.perf_event_max_stack``.
        """
        self._only_tgid = only_tgid
        self._ring_bytes = sample_ring_bytes_limit
        self._stack_ring_bytes = stack_ring_bytes
        self._interval_seconds = interval_seconds
        self._cache = cache
        self._online, self._max_stack_setting = online, max_stack_setting
        self._epoch = 1
        self._weight_us = 0
        self._maps: dict[int, BpfMap] = {}
        self._rings: dict[int, RingBuffer] = {}
        self._wakeups = select.epoll()  # nothing is registered before start
        self._events: ClockEvents | None = None
        self._program: Program | None = None
        self._losses = np.zeros((len(LossReason), 2), dtype=np.uint64)

    def start(self, hz: float) -> None:
        """Load the program and sample every online CPU ``hz`` times a second.

        Raises:
            KernelUnavailableError: no bytecode, no right, or a kernel without what is needed; nothing stays attached.
        """
        instructions = load_bytecode("cpu", self._cache).programs["cpu_sample"]
        try:
            self._make_maps(hz)
            self._program = Program("cpu_sample", instructions, self._maps, PERF_EVENT)
            self._events = ClockEvents(self._program.fd, round(1e9 / hz), self._online)
        except BaseException:  # supervisor: gives back what was opened, and raises
            self.stop()
            raise

    def _make_maps(self, hz: float) -> None:
        cpus_count = len(list(self._online()))
        rings = {
            MapNumber.SAMPLES: self._ring_bytes or sample_ring_bytes(cpus_count, hz, self._interval_seconds),
            MapNumber.STACKS: self._stack_ring_bytes,
        }
        for number, size in rings.items():
            ring = BpfMap(MapSpec(f"fb_{number.name.lower()}", MapType.RING_BUFFER, 0, 0, size))
            self._maps[number] = ring
            self._rings[number] = RingBuffer(ring.fd, size)
            # Edge-triggered: a ring with any data in it is always "readable"; only the kernel's wake-up call matters.
            self._wakeups.register(ring.fd, select.EPOLLIN | select.EPOLLET)
        for number, kind, key, value, entries in (
            (MapNumber.SEEN, MapType.ARRAY, 4, 8 * SEEN_WAYS, SEEN_SETS),
            (MapNumber.LOSSES, MapType.PER_CPU_ARRAY, 4, LOSS_BYTES * len(LossReason), 1),
            (MapNumber.SETTINGS, MapType.ARRAY, 4, SETTINGS.size, 1),
            (MapNumber.SCRATCH, MapType.PER_CPU_ARRAY, 4, STACK_HEADER.size + 8 * (MAX_FRAMES + 1), 1),
        ):
            self._maps[number] = BpfMap(MapSpec(f"fb_{number.name.lower()}", kind, key, value, entries))
        self._weight_us = round(1e6 / hz)
        self._write_settings()

    def _write_settings(self) -> None:
        half = [self._maps[number].spec.max_entries // 2 for number in (MapNumber.SAMPLES, MapNumber.STACKS)]
        most_frames = stack_ceiling(self._max_stack_setting)
        self._maps[MapNumber.SETTINGS].write(
            0, SETTINGS.pack(self._only_tgid, self._epoch, self._weight_us, most_frames, *half)
        )

    def set_rate(self, hz: float) -> None:
        """Change the rate of the running events.

        The kernel goes on reporting the period that a cpu-clock event was opened with, so the weight of samples is told
        to the program here; at most one sample per CPU falls between the two steps and has the other rate's weight.
        """
        self._weight_us = round(1e6 / hz)
        self._write_settings()
        if self._events:
            self._events.set_period(round(1e9 / hz))

    def forget_stacks(self) -> None:
        """Have the kernel send the addresses of every stack again: call it after throwing away ``new_stacks``."""
        self._epoch = (self._epoch + 1) & 0xFFFFFFFF
        self._write_settings()

    def wait(self, timeout_seconds: float) -> bool:
        """Sleep until the time is up or a ring is half full; returns whether one is."""
        deadline = time.monotonic() + timeout_seconds
        while not self._is_half_full():
            left = deadline - time.monotonic()
            if left <= 0:
                return False
            self._wakeups.poll(left)
        return True

    def fileno(self) -> int:
        """A descriptor that becomes readable when a ring gets half full, until :meth:`is_due` is asked."""
        return self._wakeups.fileno()

    def is_due(self) -> bool:
        """Whether a ring is half full, so that the next drain should not wait for its time."""
        self._wakeups.poll(0)
        return self._is_half_full()

    def _is_half_full(self) -> bool:
        return any(ring.is_half_full for ring in self._rings.values())

    def waiting_tgids(self) -> set[int]:
        """Processes of the samples that wait in the ring; they stay there."""
        return set(self._rings[MapNumber.SAMPLES].fixed(RECORD)["tgid"].tolist())

    def drain(self) -> CpuDrain:
        """Everything since the last drain; samples first, then stacks, so that no sample's stack is still to come.

        CPUs that came or went since the last drain are followed here.
        """
        ring = self._rings[MapNumber.SAMPLES]
        records = ring.fixed(RECORD)
        columns = {name: records[name].copy() for name in RECORD.names or () if name not in {"length", "reserved"}}
        position = ring.consumer_position + records.nbytes
        del records
        ring.release(position)
        if self._events:
            self._events.follow(set(columns["cpu"].tolist()))
        return CpuDrain(**columns, new_stacks=self._drain_stacks(), losses=self._drain_losses())

    def _drain_stacks(self) -> dict[int, bytes]:
        ring = self._rings[MapNumber.STACKS]
        found: dict[int, bytes] = {}
        goal = ring.producer_position  # all that samples already drained may refer to
        deadline = time.monotonic() + _BUSY_WAIT_SECONDS
        while ring.consumer_position < goal and time.monotonic() < deadline:
            position = ring.consumer_position
            for behind, payload in ring.each():
                stack_hash, count, _ = STACK_HEADER.unpack_from(payload)
                found[stack_hash] = bytes(payload[STACK_HEADER.size : STACK_HEADER.size + 8 * count])
                position = behind
            ring.release(position)
        return found

    def _drain_losses(self) -> dict[LossReason, Loss]:
        now = self._maps[MapNumber.LOSSES].read_per_cpu(0).sum(axis=0).reshape(-1, 2)
        new = now - self._losses
        self._losses = now
        return {r: Loss(int(new[r, 0]), int(new[r, 1]) * 1000) for r in LossReason if new[r, 0]}

    def stats(self) -> ProgramStats:
        """Runs and run time of the program, counted while ``programs.enable_stats()`` is in force."""
        return self._program.stats() if self._program else ProgramStats(0, 0)

    def locked_bytes(self) -> int:
        """Kernel memory of all maps, bytes."""
        return sum(each.locked_bytes() for each in self._maps.values())

    def detach(self) -> None:
        """Sample no more; what waits in the rings stays, so that a last :meth:`drain` misses nothing."""
        if self._events:
            self._events.close()
            self._events = None

    def stop(self) -> None:
        """Detach and give everything back; may be called twice. A producer is started once."""
        self.detach()
        for ring in self._rings.values():
            ring.close()
        for each in self._maps.values():
            each.close()
        if self._program:
            self._program.close()
        if not self._wakeups.closed:
            self._wakeups.close()
        self._rings, self._maps, self._program = {}, {}, None
