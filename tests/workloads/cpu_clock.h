/* What the CPU workloads share: spending an exact amount of a thread's CPU time. */
#ifndef CPU_CLOCK_H
#define CPU_CLOCK_H

#include <time.h>

/* CPU time of the calling thread, ns. */
static inline long long thread_cpu_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
	return now.tv_sec * 1000000000LL + now.tv_nsec;
}

/*
 * Runs in its caller: the caller is the function that is seen. The clock is asked rarely, because libc keeps no frame
 * pointer: a sample taken there misses the caller.
 */
static inline __attribute__((always_inline)) void spend_ns(long long ns)
{
	long long end = thread_cpu_ns() + ns;
	volatile unsigned long sink = 0;

	do {
		for (int i = 0; i < 100000; i++)
			sink += i;
	} while (thread_cpu_ns() < end);
}

#define NOINLINE __attribute__((noinline, noclone))

#endif
