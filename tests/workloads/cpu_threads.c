/* Three threads, named thread-0 to thread-2, that each work in thread_work for argument 1 ms of CPU time. */
#define _GNU_SOURCE
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

#include "cpu_clock.h"

static long long each_ns;

NOINLINE void thread_work(long long ns)
{
	spend_ns(ns);
}

static void *run(void *number)
{
	char name[16];

	snprintf(name, sizeof name, "thread-%d", (int)(long)number);
	pthread_setname_np(pthread_self(), name);
	thread_work(each_ns);
	return NULL;
}

int main(int count, char **arguments)
{
	pthread_t threads[3];

	each_ns = atoi(count > 1 ? arguments[1] : "100") * 1000000LL;
	for (long i = 0; i < 3; i++)
		pthread_create(&threads[i], NULL, run, (void *)i);
	for (int i = 0; i < 3; i++)
		pthread_join(threads[i], NULL);
	return 0;
}
