"""The kernel's side of the agent: system calls, maps, programs, rings and events, by ctypes and mmap alone."""
