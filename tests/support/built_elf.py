"""ELF files built when a test runs, with the machine's own compiler, assembler and binutils."""

import shutil
import subprocess
from pathlib import Path

import pytest

TOOLS = ("gcc", "nm", "objcopy", "strip", "readelf")

ASSEMBLY = """
        .text
        .globl first, alias_long, alias
        .type first, @function
        .type alias, @function
        .type alias_long, @function
first:
alias:
alias_long:
        nop
inside_label:
        nop
        nop
        ret
        .size first, . - first
        .size alias, . - alias
        .size alias_long, . - alias_long
        .skip 16, 0x90
        .weak weak_name
        .type weak_name, @function
        .globl strong_name_that_is_longer
        .type strong_name_that_is_longer, @function
        .type local_name, @function
weak_name:
strong_name_that_is_longer:
local_name:
        .skip 8, 0x90
        .size weak_name, . - weak_name
        .size strong_name_that_is_longer, . - strong_name_that_is_longer
        .size local_name, . - local_name
        .skip 24, 0x90
        .type without_size, @function
without_size:
        .skip 40, 0x90
        .type outer, @function
outer:
        .skip 16, 0x90
        .type inner, @function
inner:
        .skip 16, 0x90
        .size inner, . - inner
        .skip 16, 0x90
        .size outer, . - outer
        .section .other,"ax",@progbits
        .skip 32, 0x90
"""
"""Aliases, a label inside a function, ranks of binding, a function without a size, one inside another."""

C_SOURCE = """
#include <string.h>
#include <stdlib.h>
static __attribute__((noinline)) int hidden(const char *text) { return (int)strlen(text) * 3 + rand(); }
__attribute__((noinline)) int exported(const char *text) { return hidden(text) + 1; }
int main(int count, char **arguments) { return exported(arguments[count - 1]); }
"""


def need(*tools: str) -> None:
    """Skip the test when a tool is absent."""
    missing = [tool for tool in tools if shutil.which(tool) is None]
    if missing:
        pytest.skip(f"not installed: {', '.join(missing)}")


def run(*command: str | Path) -> str:
    """What a command prints."""
    return subprocess.run([str(each) for each in command], check=True, capture_output=True, text=True).stdout


def compiled(folder: Path, name: str, source: str, *flags: str, suffix: str = ".c") -> Path:
    """A program or library made from source."""
    text, output = folder / f"{name}{suffix}", folder / name
    text.write_text(source)
    run("gcc", "-O1", *flags, "-o", output, text)
    return output


def symbols_of(path: Path, *flags: str) -> dict[str, tuple[int, int]]:
    """Start and size of each defined symbol of code, by name, as nm has them."""
    found = {}
    for line in run("nm", "-P", "--defined-only", *flags, path).splitlines():
        fields = line.split()
        if len(fields) >= 3 and fields[1] in "tTwWiu":
            found[fields[0].partition("@")[0]] = (int(fields[2], 16), int(fields[3], 16) if len(fields) > 3 else 0)
    return found
