/* Works in before_exec for argument 1 ms of CPU time, then becomes the program that the other arguments say. */
#include <stdlib.h>
#include <unistd.h>

#include "cpu_clock.h"

NOINLINE void before_exec(long long ns)
{
	spend_ns(ns);
}

int main(int count, char **arguments)
{
	if (count < 3)
		return 2;
	before_exec(atoi(arguments[1]) * 1000000LL);
	execv(arguments[2], arguments + 2);
	return 1;
}
