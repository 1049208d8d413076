// Stacks of a known depth, always the same or always new ones. Runs until it is ended.
// Usage: cpu_stacks DEPTH [many]: DEPTH calls below main, by one path, or by another of 2^DEPTH paths each time.
// Built with -O1 -fno-omit-frame-pointer -fno-optimize-sibling-calls.
#include <stdint.h>
#include <stdlib.h>

static volatile uint64_t sink;
static uint64_t dice = 23;

__attribute__((noinline)) static void work(void) {
  for (int step = 0; step < 20000; step++) sink += (uint64_t)step;
}

static void descend(int depth, uint64_t path);

__attribute__((noinline)) static void left(int depth, uint64_t path) { descend(depth, path); sink++; }
__attribute__((noinline)) static void right(int depth, uint64_t path) { descend(depth, path); sink++; }

static inline __attribute__((always_inline)) void descend(int depth, uint64_t path) {
  if (depth == 0) work();
  else if (path & 1) left(depth - 1, path >> 1);
  else right(depth - 1, path >> 1);
}

int main(int count, char **words) {
  int depth = count > 1 ? atoi(words[1]) : 1;
  for (uint64_t path = 0;; path = count > 2 ? dice : 0) {
    dice ^= dice << 13, dice ^= dice >> 7, dice ^= dice << 17;
    descend(depth, path);
  }
}
