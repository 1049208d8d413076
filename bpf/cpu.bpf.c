/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/*
 * On-CPU samples: a fixed record per sample in one ring, and in another the addresses of a stack the first time it is seen.
 * Maps are made by the loader (producers/cpu.py), which knows how many CPUs and samples per second they must hold.
 */
#include "records.h"

#define MAP(number) ((uintptr_t)bpf_pseudo_fd(1, number))

#if defined(__x86_64__)
struct event_context {
	u64 registers_before_cs[17];
	u64 cs;
	u64 registers_after_cs[3];
	u64 period;
};
#define IS_USER_MODE(context) (((context)->cs & 3) == 3)
#define USER_CODE_64 0x33 /* the code segment of 64-bit programs */
#define PROGRAM_COUNTER(context) ((context)->registers_before_cs[16])
#define FRAME_POINTER(context) ((context)->registers_before_cs[4])
#elif defined(__aarch64__)
struct event_context {
	u64 registers_before_pstate[33];
	u64 pstate;
	u64 period;
};
#define IS_USER_MODE(context) (((context)->pstate & 0xf) == 0)
#else
#error "flamebus samples x86-64 and arm64 only"
#endif

static __always_inline void count_loss(enum loss_reason reason, u64 weight_us)
{
	u32 slot = 0;
	struct losses *losses = bpf_map_lookup_elem_(MAP(MAP_LOSSES), &slot);

	if (losses) {
		losses->of[reason].samples++;
		losses->of[reason].value_us += weight_us;
	}
}

static __always_inline u64 wakeup_flag(uintptr_t ring, u64 wakeup_bytes)
{
	u64 waiting_bytes = bpf_ringbuf_query((void *)ring, BPF_RB_AVAIL_DATA);

	return waiting_bytes >= wakeup_bytes ? BPF_RB_FORCE_WAKEUP : BPF_RB_NO_WAKEUP;
}

/* Murmur-like: 64 bits of it keep 10^6 different stacks apart with odds of 1 in 4 × 10^7 for any collision at all. */
static __always_inline u64 hash_addresses(const struct stack_record *stack)
{
	u32 count = stack->count;
	u64 hash = 0x9e3779b97f4a7c15ULL ^ count;

	/* Unrolled, or with an induction variable the compiler has rewritten, the verifier gives up: hence the barrier. */
#pragma clang loop unroll(disable)
	for (u32 i = 0; i < MAX_FRAMES; i++) {
		asm volatile("" : "+r"(i));
		if (i >= count)
			break;
		hash = (hash ^ stack->addresses[i & MAX_FRAMES]) * 0xff51afd7ed558ccdULL;
		hash ^= hash >> 32;
	}
	return hash ? hash : 1;
}

#if defined(__x86_64__)
#define LOWEST_FRAME 4096 /* what lies below is no address; asking for it would cost a page fault */

/*
 * By frame pointers, a word of the caller's frame and the return address beside it at a time. It finds what the kernel's
 * walker finds, in two thirds of its time where caches are cold, which they are at 99 Hz.
 */
static __always_inline long walk_frame_pointers(struct event_context *context, struct stack_record *stack, u32 most_frames)
{
	u64 frame = FRAME_POINTER(context);
	u64 saved[2]; /* the caller's frame pointer, the return address */
	u32 count = 1;

	stack->addresses[0] = PROGRAM_COUNTER(context);
#pragma clang loop unroll(disable)
	for (; count < MAX_FRAMES; count++) {
		asm volatile("" : "+r"(count));
		if (count >= most_frames || frame < LOWEST_FRAME)
			break;
		if (bpf_probe_read_user(saved, sizeof(saved), (void *)frame) || !saved[1])
			break;
		stack->addresses[count & MAX_FRAMES] = saved[1];
		frame = saved[0];
	}
	return count * sizeof(u64);
}
#endif

/*
 * The one place that walks user stacks. Where the program was in the kernel, and for 32-bit programs, the kernel's own
 * walker knows where the user's registers are. A walk by unwind tables takes its place here: it needs tail calls (16
 * frames each), so it ends by calling the rest of the sample as a program. Returns bytes written, or a negative errno.
 */
static __always_inline long walk_user(struct event_context *context, struct stack_record *stack, u32 most_frames)
{
#if defined(__x86_64__)
	if (context->cs == USER_CODE_64)
		return walk_frame_pointers(context, stack, most_frames);
#endif
	return bpf_get_stack(context, stack->addresses, MAX_FRAMES * sizeof(u64), BPF_F_USER_STACK);
}

static __always_inline long walk_kernel(void *context, struct stack_record *stack)
{
	return bpf_get_stack(context, stack->addresses, MAX_FRAMES * sizeof(u64), 0);
}

/*
 * Sends the addresses unless user space has them. "Seen" is set only after they are in the ring: two CPUs may both send
 * a stack (harmless), but none can refer to one that is not on its way; and a full ring means the next sight sends it.
 */
static __always_inline int send_once(struct stack_record *stack, const struct settings *settings)
{
	u64 mark = stack->hash ^ ((u64)settings->epoch << 32);
	u32 set = stack->hash & (SEEN_SETS - 1);
	u32 count = stack->count & MAX_FRAMES;
	struct seen *seen = bpf_map_lookup_elem_(MAP(MAP_SEEN), &set);

	if (!seen)
		return -1;
#pragma clang loop unroll(full)
	for (u32 way = 0; way < SEEN_WAYS; way++)
		if (seen->marks[way] == mark)
			return 0;
	if (bpf_ringbuf_output((void *)MAP(MAP_STACKS), stack, 16 + count * sizeof(u64),
			       wakeup_flag(MAP(MAP_STACKS), settings->stacks_wakeup_bytes)))
		return -1;
	/* Which one has to go is left to chance, so that stacks which take turns in a set do not always hit each other. */
	seen->marks[bpf_get_prandom_u32() & (SEEN_WAYS - 1)] = mark;
	return 0;
}

/* Fills in the record of a stack just walked; returns whether it reached the ceiling. */
static __always_inline bool seal(struct stack_record *stack, long bytes, u32 tgid, const struct settings *settings)
{
	stack->count = (u32)(bytes / sizeof(u64)) & MAX_FRAMES;
	stack->tgid = tgid;
	stack->hash = hash_addresses(stack);
	return stack->count >= settings->most_frames;
}

static __always_inline u64 take_user(struct event_context *context, const struct settings *settings, u32 tgid,
				     u64 weight_us, u16 *flags)
{
	u32 slot = 0;
	struct stack_record *stack = bpf_map_lookup_elem_(MAP(MAP_SCRATCH), &slot);
	long bytes;

	if (!stack)
		return 0;
	bytes = walk_user(context, stack, settings->most_frames);
	if (bytes <= 0) {
		/* In kernel mode it is a kernel thread, or a process that is being torn down: nothing was lost. */
		if (*flags & FLAG_USER_MODE)
			count_loss(LOSS_USER_STACK_FAULT, weight_us);
		return 0;
	}
	if (seal(stack, bytes, tgid, settings))
		count_loss(LOSS_USER_STACK_TRUNCATED, weight_us);
	if (send_once(stack, settings)) {
		count_loss(LOSS_STACK_RING_FULL, weight_us);
		*flags |= FLAG_USER_STACK_UNSENT;
	}
	return stack->hash;
}

static __always_inline u64 take_kernel(struct event_context *context, const struct settings *settings, u64 weight_us,
				       u16 *flags)
{
	u32 slot = 0;
	struct stack_record *stack = bpf_map_lookup_elem_(MAP(MAP_SCRATCH), &slot);
	long bytes;

	if (!stack || *flags & FLAG_USER_MODE)
		return 0;
	bytes = walk_kernel(context, stack);
	if (bytes <= 0)
		return 0;
	if (seal(stack, bytes, 0, settings))
		count_loss(LOSS_KERNEL_STACK_TRUNCATED, weight_us);
	if (send_once(stack, settings)) {
		count_loss(LOSS_STACK_RING_FULL, weight_us);
		*flags |= FLAG_KERNEL_STACK_UNSENT;
	}
	return stack->hash;
}

int cpu_sample(struct event_context *context)
{
	u32 slot = 0;
	struct settings *settings = bpf_map_lookup_elem_(MAP(MAP_SETTINGS), &slot);
	u64 both = bpf_get_current_pid_tgid();
	u32 tgid = both >> 32;
	struct sample sample = {};
	u64 weight_us, period = context->period;

	if (!settings || (settings->only_tgid && settings->only_tgid != tgid))
		return 0;
	weight_us = settings->weight_us ? settings->weight_us : (period + 500) / 1000;
	sample.time_boot_nano = bpf_ktime_get_boot_ns();
	sample.tgid = tgid;
	sample.tid = (u32)both;
	sample.cpu = bpf_get_smp_processor_id();
	sample.weight_us = weight_us;
	sample.flags = IS_USER_MODE(context) ? FLAG_USER_MODE : 0;
	sample.user_hash = take_user(context, settings, tgid, weight_us, &sample.flags);
	sample.kernel_hash = take_kernel(context, settings, weight_us, &sample.flags);
	if (bpf_ringbuf_output((void *)MAP(MAP_SAMPLES), &sample, sizeof(sample),
			       wakeup_flag(MAP(MAP_SAMPLES), settings->samples_wakeup_bytes)))
		count_loss(LOSS_SAMPLE_RING_FULL, weight_us);
	return 0;
}
