"""bpf/records.h, as a C compiler lays it out, beside what producers/cpu.py reads and writes."""

from __future__ import annotations

import json
import re
import subprocess
from typing import TYPE_CHECKING

import bpf
from producers import cpu
from producers.cpu import (
    LOSS_BYTES,
    MAX_FRAMES,
    RECORD,
    SEEN_SETS,
    SEEN_WAYS,
    SETTINGS,
    STACK_HEADER,
    LossReason,
    MapNumber,
)

if TYPE_CHECKING:
    from pathlib import Path

_TYPES = (
    "typedef unsigned char u8; typedef unsigned short u16; typedef unsigned int u32; typedef unsigned long long u64;"
)
_RING_HEADER_BYTES = 8
_SETTINGS = ["only_tgid", "epoch", "weight_us", "most_frames", "samples_wakeup_bytes", "stacks_wakeup_bytes"]
_STRUCTS = {
    "sample": [name for name in RECORD.names or () if name not in {"length", "reserved"}],
    "stack_record": ["hash", "count", "tgid", "addresses"],
    "seen": ["marks"],
    "loss": ["samples", "value_us"],
    "losses": ["of"],
    "settings": _SETTINGS,
}
_NUMBERS = {
    "MAX_FRAMES": MAX_FRAMES,
    "SEEN_WAYS": SEEN_WAYS,
    "SEEN_SETS": SEEN_SETS,
    "FLAG_USER_MODE": cpu.FLAG_USER_MODE,
    "FLAG_USER_STACK_UNSENT": cpu.FLAG_USER_STACK_UNSENT,
    "FLAG_KERNEL_STACK_UNSENT": cpu.FLAG_KERNEL_STACK_UNSENT,
    "LOSS_REASONS": len(LossReason),
    **{f"LOSS_{reason.name}": reason.value for reason in LossReason},
    **{f"MAP_{number.name}": number.value for number in MapNumber},
}


def laid_out(folder: Path) -> dict[str, list[int]]:
    """Offsets of each structure's fields and behind them its size; and each number."""
    lines = ["#include <stddef.h>", "#include <stdio.h>", _TYPES, bpf.source("records.h"), "int main(void) {"]
    for name, fields in _STRUCTS.items():
        offsets = ", ".join(f"offsetof(struct {name}, {field})" for field in fields)
        form = ", ".join(["%zu"] * (len(fields) + 1))
        lines.append(f'printf("{{\\"{name}\\": [{form}]", {offsets}, sizeof(struct {name}));')
        lines.append('printf("}\\n");')
    lines += [f'printf("{{\\"{name}\\": [%d]}}\\n", {name});' for name in _NUMBERS]
    (folder / "layout.c").write_text("\n".join([*lines, "}"]))
    subprocess.run(["gcc", "-o", folder / "layout", folder / "layout.c"], check=True)
    output = subprocess.run([folder / "layout"], check=True, capture_output=True, text=True).stdout
    found: dict[str, list[int]] = {}
    for line in output.splitlines():
        found |= json.loads(line)
    return found


def test_reader_and_program_agree_on_every_byte(tmp_path: Path) -> None:
    found = laid_out(tmp_path)
    fields = RECORD.fields
    assert fields is not None
    own = [fields[name][1] - _RING_HEADER_BYTES for name in _STRUCTS["sample"]]
    assert found["sample"] == [*own, RECORD.itemsize - _RING_HEADER_BYTES]
    assert found["stack_record"] == [0, 8, 12, STACK_HEADER.size, STACK_HEADER.size + 8 * (MAX_FRAMES + 1)]
    assert found["seen"] == [0, 8 * SEEN_WAYS]
    assert found["loss"] == [0, 8, LOSS_BYTES]
    assert found["losses"] == [0, LOSS_BYTES * len(LossReason)]
    assert found["settings"] == [0, 4, 8, 12, 16, 24, SETTINGS.size]


def test_reader_and_program_number_alike(tmp_path: Path) -> None:
    found = laid_out(tmp_path)
    assert {name: found[name] for name in _NUMBERS} == {name: [number] for name, number in _NUMBERS.items()}


def test_every_field_and_number_of_the_header_is_compared() -> None:
    text = re.sub(r"/\*.*?\*/", "", bpf.source("records.h"), flags=re.DOTALL)
    structs = dict(re.findall(r"struct (\w+) \{(.*?)\};", text, re.DOTALL))
    named = {name: re.findall(r"(\w+)(?:\[[^]]*\])?;", body) for name, body in structs.items()}
    assert named == _STRUCTS
    assert set(re.findall(r"\b((?:LOSS|MAP|FLAG)_\w+) = ", text)) | set(re.findall(r"#define (\w+) \d", text)) == set(
        _NUMBERS
    )
