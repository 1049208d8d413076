"""What the lines of perf maps say in the forms that runtimes are known to write; everything else stays as it is."""

from __future__ import annotations

import re
from dataclasses import dataclass

from flamebus.frames import FrameKind
from producers.symbols.demangle import bounded

_V8 = re.compile(
    r"(?P<code>JS|LazyCompile|Function|Script|Eval|InterpretedFunction):[~^+*'=]?(?P<function>.*?)"
    r"(?: (?P<file>[^ ]+):(?P<line>\d+):\d+)?",
    re.DOTALL,
)
_V8_CODE = re.compile(r"(?:Builtin|BytecodeHandler|Stub|RegExp|Handler|WasmToJS|Wasm):.*", re.DOTALL)
_CPYTHON = re.compile(r"py::(?P<function>[^:]+):(?P<file>.*)", re.DOTALL)
_JVM_AGENT = re.compile(r"L(?P<class>[\w$/]+);::(?P<method>[^ (]+).*", re.DOTALL)
_JVM_JCMD = re.compile(r"(?:[\w.$\[\]]+ )?(?P<class>[\w$]+(?:\.[\w$]+)*)\.(?P<method>[\w$<>]+)\(.*\)", re.DOTALL)


@dataclass(frozen=True, slots=True)
class JitName:
    """Generated code as people know it.

    Attributes:
        function: never empty.
        file: of the source, empty when not said; line: 0 when not said.
        kind: native where the runtime is not certain.
    """

    function: str
    file: str = ""
    line: int = 0
    kind: FrameKind = FrameKind.NATIVE


def jit_name(text: str, *, is_java: bool) -> JitName:
    """What a perf map calls a piece of generated code.

    Marks of V8's compiler tiers (``~``, ``^``, ``*``) are dropped: one function is one frame however it was compiled.

    Args:
        text: the line's third field.
        is_java: whether the process has a Java virtual machine, whose ``jcmd Compiler.perfmap`` writes lines that could
            be anyone's.
    """
    v8 = _V8.fullmatch(text)
    if v8 is not None:
        return _v8_name(v8)
    if _V8_CODE.fullmatch(text):
        return JitName(bounded(text), kind=FrameKind.V8JS)
    cpython = _CPYTHON.fullmatch(text)
    if cpython is not None:
        return JitName(bounded(cpython["function"]), bounded(cpython["file"]), 0, FrameKind.CPYTHON)
    java = _JVM_AGENT.fullmatch(text) or (_JVM_JCMD.fullmatch(text) if is_java else None)
    if java is not None:
        name = f"{java['class'].replace('/', '.')}.{java['method']}"
        return JitName(bounded(name), kind=FrameKind.JVM)
    return JitName(bounded(text) or "[anon]", kind=FrameKind.JVM if is_java else FrameKind.NATIVE)


def _v8_name(found: re.Match[str]) -> JitName:
    file, line = found["file"] or "", int((found["line"] or "0")[:9])
    function = found["function"].strip()
    if not function:
        # Functions without a name are told apart by their place; a stack's identity does not include the file.
        place = f"{file.rpartition('/')[2]}:{line}" if file else ""
        function = f"(anonymous) {place}".rstrip() if found["code"] != "Script" else f"(script) {place}".rstrip()
    return JitName(bounded(function), bounded(file), line, FrameKind.V8JS)
