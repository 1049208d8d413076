/* Forks as many children as argument 1 says, one after another; each works in child_work for argument 2 ms. No exec. */
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include "cpu_clock.h"

NOINLINE void child_work(long long ns)
{
	spend_ns(ns);
}

int main(int count, char **arguments)
{
	if (count < 3)
		return 2;
	for (int i = atoi(arguments[1]); i > 0; i--) {
		pid_t child = fork();

		if (child == 0) {
			child_work(atoi(arguments[2]) * 1000000LL);
			_exit(0);
		}
		waitpid(child, NULL, 0);
	}
	return 0;
}
