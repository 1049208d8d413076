/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/* What the CPU program and its reader (producers/cpu.py) share; tests/kernel/test_records.py holds them together. */
#ifndef FLAMEBUS_RECORDS_H
#define FLAMEBUS_RECORDS_H

/* The kernel's default ceiling (kernel.perf_event_max_stack), and the most that we have room for. */
#define MAX_FRAMES 127

/* Numbers by which the code names its maps; the loader puts the descriptors of the maps it made in their place. */
enum map_number {
	MAP_SAMPLES = 1,
	MAP_STACKS = 2,
	MAP_SEEN = 3,
	MAP_LOSSES = 4,
	MAP_SETTINGS = 5,
	MAP_SCRATCH = 6,
};

/* Why a sample or a part of it did not reach user space. */
enum loss_reason {
	LOSS_SAMPLE_RING_FULL = 0,	/* the whole sample */
	LOSS_STACK_RING_FULL = 1,	/* the addresses of a new stack; sent when it is seen next */
	LOSS_USER_STACK_FAULT = 2,	/* sampled in user mode, yet no user frame could be read */
	LOSS_USER_STACK_TRUNCATED = 3,	/* the root side of a user stack at the ceiling of frames */
	LOSS_KERNEL_STACK_TRUNCATED = 4,	/* the same of a kernel stack */
	LOSS_REASONS = 5,
};

enum sample_flag {
	FLAG_USER_MODE = 1,		/* the CPU was in user mode */
	FLAG_USER_STACK_UNSENT = 2,	/* LOSS_STACK_RING_FULL hit this sample's user stack */
	FLAG_KERNEL_STACK_UNSENT = 4,	/* … its kernel stack */
};

/* One sample, 40 bytes. Hashes are of addresses alone (not of the process); 0 means there is no such stack. */
struct sample {
	u64 time_boot_nano;
	u32 tgid;
	u32 tid;
	u64 user_hash;
	u64 kernel_hash;
	u16 cpu;
	u16 flags;
	u32 weight_us;	/* CPU time this sample stands for: its period */
};

/*
 * The addresses behind a hash, leaf first; on the ring only `count` of them. One spare slot lets the code mask. The
 * program has one per CPU, for the user's and then the kernel's stack: cold cache lines are most of what a sample costs.
 */
struct stack_record {
	u64 hash;
	u32 count;
	u32 tgid;	/* who was first seen with it; 0 for a kernel stack */
	u64 addresses[MAX_FRAMES + 1];
};

/* Hashes of stacks whose addresses were sent: a set of them fills one cache line. */
#define SEEN_WAYS 8
#define SEEN_SETS 1024
struct seen {
	u64 marks[SEEN_WAYS];
};

struct loss {
	u64 samples;
	u64 value_us;
};

/* Per CPU, since the start; one value for all reasons, so that user space reads them in one call. */
struct losses {
	struct loss of[LOSS_REASONS];
};

/* Written by user space at any time. */
struct settings {
	u32 only_tgid;		/* 0: every process */
	u32 epoch;		/* a new value makes every stack count as unseen */
	u32 weight_us;		/* 0: the period in ns that the event was opened with (the kernel does not update it) */
	u32 most_frames;	/* kernel.perf_event_max_stack, at most MAX_FRAMES: a stack this long may have been cut */
	u64 samples_wakeup_bytes;	/* wake the reader once this much waits in the ring */
	u64 stacks_wakeup_bytes;
};

#endif
