/* A shared library: works for so many ms of CPU time in a function of its own that no symbol is exported for. */
#include "cpu_clock.h"

static NOINLINE void inside_library(long long ns)
{
	spend_ns(ns);
}

NOINLINE void library_entry(long long ns)
{
	inside_library(ns);
}
