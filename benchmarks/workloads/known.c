// Work whose truth is known, for the agent's benchmarks. The last line it prints is a JSON object of what it did.
// Usage: known split SECONDS            three functions that take 70, 20 and 10 % of SECONDS of CPU time
//        known bursts COUNT BUSY_MS SLEEP_MS
//        known lives COUNT BUSY_MS SLEEP_MS   COUNT children that live BUSY_MS of CPU time each
//        known once BUSY_MS
//        known spin DEPTH SECONDS       in user mode, in a stack of DEPTH frames; SECONDS of CPU time
//        known kernel DEPTH SECONDS     the same, mostly inside system calls
//        known fixed DEPTH UNITS        the same amount of work in user mode each time
// benchmarks/load.py builds it with frame pointers, and once more without.
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define KEEP __attribute__((noinline, noclone))
enum { TENTHS = 10, UNIT_STEPS = 40000 };  // a unit is about 40 µs: far below a sampling period of 10 ms

static volatile uint64_t sink;  // what is computed must be used, or the compiler leaves it out
static uint64_t dice = 23;

static uint64_t now_ns(clockid_t clock) {
  struct timespec time;
  clock_gettime(clock, &time);
  return (uint64_t)time.tv_sec * 1000000000u + (uint64_t)time.tv_nsec;
}

static double cpu_s_of(int who) {
  struct rusage used;
  getrusage(who, &used);
  return (double)(used.ru_utime.tv_sec + used.ru_stime.tv_sec) +
         (double)(used.ru_utime.tv_usec + used.ru_stime.tv_usec) / 1e6;
}

static double cpu_s(void) { return cpu_s_of(RUSAGE_SELF); }

static inline __attribute__((always_inline)) void work(uint32_t units) {
  uint64_t value = sink;
  for (uint64_t step = 0; step < (uint64_t)units * UNIT_STEPS; step++) {
    value = value * 6364136223846793005u + step;
    __asm__ volatile("" : "+r"(value));
  }
  sink = value;
}

KEEP static void seventy_percent(uint32_t units) { work(units * 7); sink++; }
KEEP static void twenty_percent(uint32_t units) { work(units * 2); sink++; }
KEEP static void ten_percent(uint32_t units) { work(units); sink++; }

// A round of random length: rounds of one length could keep step with the sampling clock.
static uint32_t units_of_round(void) {
  dice ^= dice << 13, dice ^= dice >> 7, dice ^= dice << 17;
  return 1 + (uint32_t)(dice >> 33) % TENTHS;
}

static void split(double seconds) {
  uint64_t spent_ns[3] = {0, 0, 0};
  for (double end = cpu_s() + seconds; cpu_s() < end;) {
    uint32_t units = units_of_round();
    uint64_t a = now_ns(CLOCK_THREAD_CPUTIME_ID);
    seventy_percent(units);
    uint64_t b = now_ns(CLOCK_THREAD_CPUTIME_ID);
    twenty_percent(units);
    uint64_t c = now_ns(CLOCK_THREAD_CPUTIME_ID);
    ten_percent(units);
    uint64_t d = now_ns(CLOCK_THREAD_CPUTIME_ID);
    spent_ns[0] += b - a, spent_ns[1] += c - b, spent_ns[2] += d - c;
  }
  printf("{\"seventy_percent\": %.6f, \"twenty_percent\": %.6f, \"ten_percent\": %.6f, ", (double)spent_ns[0] / 1e9,
         (double)spent_ns[1] / 1e9, (double)spent_ns[2] / 1e9);
}

KEEP static void busy(uint64_t until_cpu_ns) {
  while (now_ns(CLOCK_PROCESS_CPUTIME_ID) < until_cpu_ns) work(1);
  sink++;
}

static void bursts(int count, long busy_ms, long sleep_ms) {
  struct timespec nap = {sleep_ms / 1000, sleep_ms % 1000 * 1000000};
  for (int burst = 0; burst < count; burst++) {
    busy(now_ns(CLOCK_PROCESS_CPUTIME_ID) + (uint64_t)busy_ms * 1000000);
    nanosleep(&nap, NULL);
  }
  printf("{\"bursts\": %d, ", count);
}

static void lives(char **words) {
  long sleep_ms = atol(words[4]);
  struct timespec nap = {sleep_ms / 1000, sleep_ms % 1000 * 1000000};
  for (int child = atoi(words[2]); child > 0; child--) {
    pid_t started = fork();
    if (started == 0) execl("/proc/self/exe", words[0], "once", words[3], (char *)NULL), _exit(1);
    if (started < 0 || waitpid(started, NULL, 0) != started) exit(1);
    nanosleep(&nap, NULL);
  }
  printf("{\"children_cpu_s\": %.6f, ", cpu_s_of(RUSAGE_CHILDREN));
}

enum place { USER, KERNEL, FIXED };

KEEP static void at_the_bottom(enum place place, double limit) {
  static char buffer[65536];
  int file = open("/proc/self/smaps", O_RDONLY | O_CLOEXEC);
  if (place == FIXED) work((uint32_t)limit);
  while (place != FIXED && cpu_s() < limit)
    for (int round = 0; round < 50; round++) {
      if (place == USER) work(1);
      else if (pread(file, buffer, sizeof buffer, 0) < 0) exit(1);
    }
  close(file);
}

KEEP static void descend(int depth, enum place place, double limit) {
  if (depth <= 0) at_the_bottom(place, limit);
  else descend(depth - 1, place, limit);
  sink++;  // behind the call, so that it is none in tail position
}

// main, at_the_bottom and the first descend belong to the depth asked for; the C library has no frame pointers.
static void stay_deep(const char *depth, enum place place, double limit) {
  descend(atoi(depth) - 3, place, limit);
  printf("{");
}

int main(int count, char **words) {
  const char *mode = count > 1 ? words[1] : "";
  double started_s = cpu_s();
  if (count == 3 && !strcmp(mode, "split")) split(atof(words[2]));
  else if (count == 5 && !strcmp(mode, "bursts")) bursts(atoi(words[2]), atol(words[3]), atol(words[4]));
  else if (count == 5 && !strcmp(mode, "lives")) lives(words);
  else if (count == 4 && !strcmp(mode, "spin")) stay_deep(words[2], USER, started_s + atof(words[3]));
  else if (count == 4 && !strcmp(mode, "kernel")) stay_deep(words[2], KERNEL, started_s + atof(words[3]));
  else if (count == 4 && !strcmp(mode, "fixed")) stay_deep(words[2], FIXED, atof(words[3]));
  else if (count == 3 && !strcmp(mode, "once")) busy((uint64_t)atol(words[2]) * 1000000), printf("{");
  else return fprintf(stderr, "known: see the top of its source for its usage\n"), 2;
  printf("\"cpu_s\": %.6f}\n", cpu_s());
  return 0;
}
