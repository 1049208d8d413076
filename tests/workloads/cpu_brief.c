/* A short life: spends as many ms of CPU time as its argument says, in brief_work, and ends. */
#include <stdlib.h>

#include "cpu_clock.h"

NOINLINE void brief_work(long long ns)
{
	spend_ns(ns);
}

int main(int count, char **arguments)
{
	brief_work(atoi(count > 1 ? arguments[1] : "50") * 1000000LL);
	return 0;
}
