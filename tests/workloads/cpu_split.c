/*
 * A known split: 23 steps, each 70 parts of its CPU time in hot, 20 in warm, 10 in cold; a part is argument 1 µs.
 * Prints what each really took, in ns: hot warm cold.
 */
#include <stdio.h>
#include <stdlib.h>

#include "cpu_clock.h"

#define STEPS 23

NOINLINE void hot(long long ns) { spend_ns(ns); }
NOINLINE void warm(long long ns) { spend_ns(ns); }
NOINLINE void cold(long long ns) { spend_ns(ns); }

static void (*const functions[])(long long) = { hot, warm, cold };
static const int parts[] = { 70, 20, 10 };

int main(int count, char **arguments)
{
	long long part_ns = atoi(count > 1 ? arguments[1] : "1000") * 1000LL;
	long long spent_ns[3] = { 0, 0, 0 };

	for (int step = 0; step < STEPS; step++) {
		for (int i = 0; i < 3; i++) {
			long long before = thread_cpu_ns();

			functions[i](parts[i] * part_ns);
			spent_ns[i] += thread_cpu_ns() - before;
		}
	}
	printf("%lld %lld %lld\n", spent_ns[0], spent_ns[1], spent_ns[2]);
	return 0;
}
