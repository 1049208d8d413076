// The demonstration's three small services: each burns part of one CPU in its own way until it is told to stop.
// Usage: demo_workload checkout|search|archive
// demo_workload.py builds it with frame pointers and unoptimised, so that stacks show the call tree below.
#define _GNU_SOURCE
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

enum { CART_ITEMS = 24, DOCUMENTS = 3000, TERMS = 6, BLOCK_BYTES = 32768, HASH_SLOTS = 4096 };
enum { BUSY_MS = 50, IDLE_MS = 110 };  // a third of one CPU: enough to see, too little to be in the way

static uint64_t state = 23;
static volatile uint64_t sink;  // what is computed must be used, or the compiler leaves it out

static int scratch_file(void) {
  static int file = -1;
  if (file < 0) file = memfd_create("scratch", MFD_CLOEXEC);
  return file;
}

static uint32_t random_u32(void) {
  state ^= state << 13;
  state ^= state >> 7;
  state ^= state << 17;
  return (uint32_t)(state >> 11);
}

// checkout: parse an order, price it, check the customer's password, print a receipt

struct item { uint32_t sku, quantity, price_cents; };
struct order { struct item items[CART_ITEMS]; uint64_t total_cents; };
static char order_text[4096], receipt[4096];

static size_t put_number(char *out, uint64_t number) {
  char digits[20];
  size_t count = 0, index = 0;
  do digits[count++] = (char)('0' + number % 10); while (number /= 10);
  while (count) out[index++] = digits[--count];
  return index;
}

static void receive_order(void) {
  size_t at = 0;
  for (int index = 0; index < CART_ITEMS * 3; index++) {
    at += put_number(order_text + at, random_u32() % 90000 + 1);
    order_text[at++] = ',';
  }
  order_text[at] = 0;
}

static const char *parse_number(const char *text, uint32_t *number) {
  for (*number = 0; *text >= '0' && *text <= '9'; text++) *number = *number * 10 + (uint32_t)(*text - '0');
  return text + (*text == ',');
}

static void parse_order(struct order *order) {
  const char *text = order_text;
  for (int index = 0; index < CART_ITEMS; index++) {
    text = parse_number(text, &order->items[index].sku);
    text = parse_number(text, &order->items[index].quantity);
    text = parse_number(text, &order->items[index].price_cents);
  }
}

static uint64_t discount_cents(const struct item *item) {
  uint64_t best = 0;
  for (uint32_t rule = 1; rule < 25; rule++) {
    uint64_t cents = (item->sku * rule) % 97 == 0 ? item->price_cents / rule : 0;
    if (cents > best) best = cents;
  }
  return best;
}

static uint64_t sales_tax_cents(uint64_t cents) {
  for (int step = 0; step < 12; step++) cents = (cents * 119 + 50) / 118;
  return cents / 5;
}

static void price_cart(struct order *order) {
  order->total_cents = 0;
  for (int index = 0; index < CART_ITEMS; index++) {
    const struct item *item = &order->items[index];
    uint64_t cents = item->quantity * (uint64_t)item->price_cents - discount_cents(item);
    order->total_cents += cents + sales_tax_cents(cents);
  }
}

static uint64_t mix_round(uint64_t hash, uint64_t word) {
  hash ^= word;
  hash *= 0x9e3779b97f4a7c15u;
  return hash ^ (hash >> 29);
}

static uint64_t stretch_password(uint64_t password, int rounds) {
  uint64_t hash = password;
  for (int round = 0; round < rounds; round++) hash = mix_round(hash, (uint64_t)round);
  return hash;
}

static int verify_password(void) { return stretch_password(random_u32(), 9000) != 0; }

static size_t render_receipt(const struct order *order) {
  size_t at = 0;
  for (int index = 0; index < CART_ITEMS; index++) {
    at += put_number(receipt + at, order->items[index].sku);
    receipt[at++] = ' ';
    at += put_number(receipt + at, order->items[index].price_cents);
    receipt[at++] = '\n';
  }
  return at + put_number(receipt + at, order->total_cents);
}

static void append_to_journal(size_t count) {
  static off_t end;
  if (pwrite(scratch_file(), receipt, count, end) < 0) exit(1);
  end = (end + (off_t)count) % (1 << 20);
}

static void handle_checkout(void) {
  struct order order;
  receive_order();
  for (int again = 0; again < 12; again++) {
    parse_order(&order);
    price_cart(&order);
    append_to_journal(render_receipt(&order));
  }
  if (random_u32() % 4 == 0) verify_password();
  sink += order.total_cents;
}

// search: look terms up, intersect their postings, rank what is left

static uint32_t postings[TERMS][DOCUMENTS], matches[DOCUMENTS];
static double scores[DOCUMENTS];

static void read_postings(int term) {
  uint32_t document = 0;
  for (int index = 0; index < DOCUMENTS; index++) postings[term][index] = document += 1 + random_u32() % 3;
}

static int intersect(const uint32_t *left, int left_count, const uint32_t *right, uint32_t *out) {
  int a = 0, b = 0, count = 0;
  while (a < left_count && b < DOCUMENTS) {
    if (left[a] == right[b]) out[count++] = left[a], a++, b++;
    else if (left[a] < right[b]) a++;
    else b++;
  }
  return count;
}

static int match_documents(void) {
  int count = DOCUMENTS;
  memcpy(matches, postings[0], sizeof matches);
  for (int term = 1; term < 3; term++) count = intersect(matches, count, postings[term], matches);
  return count;
}

static double score_document(uint32_t document) {
  double score = 0;
  for (int term = 0; term < TERMS; term++) score += 1.0 / (1.0 + (document * (unsigned)(term + 7)) % 101);
  return score;
}

static void sift_down(double *heap, int at, int count) {
  for (int child; (child = 2 * at + 1) < count; at = child) {
    if (child + 1 < count && heap[child + 1] > heap[child]) child++;
    if (heap[at] >= heap[child]) return;
    double swapped = heap[at];
    heap[at] = heap[child], heap[child] = swapped;
  }
}

static void sort_scores(double *heap, int count) {
  for (int at = count / 2; at-- > 0;) sift_down(heap, at, count);
  for (int last = count; --last > 0;) {
    double swapped = heap[0];
    heap[0] = heap[last], heap[last] = swapped;
    sift_down(heap, 0, last);
  }
}

static void rank(int count) {
  for (int index = 0; index < count; index++) scores[index] = score_document(matches[index]);
  sort_scores(scores, count);
}

static void handle_query(void) {
  for (int term = 0; term < 3; term++) read_postings(term);
  int count = match_documents();
  rank(count);
  sink += (uint64_t)count;
}

// archive: fill a fresh block, compress it, checksum it, write it away; much of this is the kernel's work

static uint32_t longest_match(const uint8_t *block, uint32_t at, uint32_t candidate) {
  uint32_t length = 0;
  while (at + length < BLOCK_BYTES && length < 255 && block[candidate + length] == block[at + length]) length++;
  return length;
}

static uint32_t compress_block(const uint8_t *block, uint8_t *out) {
  static uint32_t heads[HASH_SLOTS];
  uint32_t written = 0;
  for (uint32_t at = 0; at + 4 < BLOCK_BYTES;) {
    uint32_t word, length = 0;
    memcpy(&word, block + at, sizeof word);
    uint32_t *head = &heads[word * 2654435761u >> 20];
    if (*head < at) length = longest_match(block, at, *head);
    *head = at;
    if (length > 4) out[written++] = (uint8_t)length, at += length;
    else out[written++] = block[at++];
  }
  return written;
}

static uint32_t checksum(const uint8_t *bytes, uint32_t count) {
  uint32_t low = 1, high = 0;
  for (uint32_t index = 0; index < count; index++) low = (low + bytes[index]) % 65521, high = (high + low) % 65521;
  return high << 16 | low;
}

static void fill_block(uint8_t *block) {
  for (uint32_t at = 0; at < BLOCK_BYTES; at++) block[at] = (uint8_t)(random_u32() % 3 + 'a');
}

static void write_block(int file, const uint8_t *bytes, uint32_t count) {
  for (uint32_t at = 0; at < count; at += 512)
    if (pwrite(file, bytes + at, count - at < 512 ? count - at : 512, at) < 0) exit(1);
}

static void archive_block(void) {
  int file = scratch_file();
  uint8_t *block = mmap(NULL, 2 * BLOCK_BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (block == MAP_FAILED) exit(1);
  fill_block(block);
  uint32_t written = compress_block(block, block + BLOCK_BYTES);
  sink += checksum(block + BLOCK_BYTES, written);
  write_block(file, block + BLOCK_BYTES, written);
  if (ftruncate(file, 0) < 0) exit(1);
  munmap(block, 2 * BLOCK_BYTES);
}

static uint64_t now_ms(void) {
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

static void serve(void (*handle)(void)) {
  for (;;) {
    for (uint64_t end = now_ms() + BUSY_MS; now_ms() < end;) handle();
    usleep(IDLE_MS * 1000);
  }
}

int main(int count, char **arguments) {
  const char *service = count == 2 ? arguments[1] : "";
  if (!strcmp(service, "checkout")) serve(handle_checkout);
  if (!strcmp(service, "search")) serve(handle_query);
  if (!strcmp(service, "archive")) serve(archive_block);
  fprintf(stderr, "usage: %s checkout|search|archive\n", arguments[0]);
  return 2;
}
