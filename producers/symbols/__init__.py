"""From addresses to names: kernel, ELF files, the vdso and the maps that just-in-time compilers write.

Read in this order: :mod:`source` (bytes), :mod:`elf` (layout), :mod:`table` (symbols), :mod:`demangle` (names),
:mod:`image`
(one file's locations), :mod:`images` (the cache), :mod:`kernel`, :mod:`perfmap`, :mod:`resolver` (all of it together).
"""
