"""From addresses to names: kernel, ELF files, the vdso and the maps that just-in-time compilers write.

How to use it: one :class:`~producers.symbols.user.UserSymbols` over one :class:`~producers.symbols.images.Images`, and
one :class:`~producers.symbols.kernel.KernelSymbols`. Read in this order: :mod:`source` (bytes), :mod:`elf` (layout),
:mod:`table` (symbols), :mod:`plt`, :mod:`go_table` and :mod:`debug_files` (where there are none), :mod:`demangle`,
:mod:`image` (one file), :mod:`images` (the cache), :mod:`vdso`, :mod:`generated_code` (perf maps), :mod:`user` (all of
it together), :mod:`kernel`.
"""
