# The face of bcc (Debian's python3-bpfcc) that producers/_bcc.py uses.

from collections.abc import Sequence

__version__: str

class _Library:
    def bpf_num_functions(self, module: int) -> int: ...
    def bpf_function_name(self, module: int, index: int) -> bytes: ...

lib: _Library

class BPF:
    module: int
    def __init__(self, *, text: bytes, cflags: Sequence[str] = ...) -> None: ...
    def dump_func(self, func_name: bytes) -> bytes: ...
