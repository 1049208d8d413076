/* Spends argument 1 ms of CPU time reading /dev/zero: nearly all of it in the kernel. */
#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

#include "cpu_clock.h"

static char block[1 << 20];

int main(int count, char **arguments)
{
	long long end = thread_cpu_ns() + atoi(count > 1 ? arguments[1] : "200") * 1000000LL;
	int zero = open("/dev/zero", O_RDONLY);

	while (thread_cpu_ns() < end)
		if (read(zero, block, sizeof block) < 0)
			return 1;
	return 0;
}
