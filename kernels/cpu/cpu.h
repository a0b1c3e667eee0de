/* cpu.h - what the files of the CPU backend share
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Every family file has one init that sets its own slots. cpu_open calls the
 * plain C ones first, which together fill all of Ops, and then those of each
 * level up to the processor's, which overwrite what they do better.
 */
#pragma once

#include "kernels/cpu/pool.h"
#include "kernels/ops.h"

#include <time.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Instruction sets with variants of their own, each containing the former. */
typedef enum CpuLevel {
  CPU_LEVEL_PLAIN,  /* the compiler's baseline */
  CPU_LEVEL_AVX2,   /* with FMA and F16C */
  CPU_LEVEL_AVX512, /* F, BW, DQ, VL */
  CPU_N_LEVELS,
  CPU_LEVEL_BEST = CPU_N_LEVELS, /* the highest the processor has */
} CpuLevel;

/* Device.backend */
typedef struct Cpu {
  struct Ops op; /* Device.op points here */
  CpuLevel level;
  CpuPool *pool;
  struct Onednn *onednn; /* where it has faster products, or NULL */
  void *scratch;         /* see cpu_scratch */
  size_t scratch_bytes;
  struct timespec marks[DEVICE_MARKS];
} Cpu;

/* Opens the processor, held down to `level` (device names "cpu:plain",
 * "cpu:avx2", "cpu:avx512"). NULL with the reason in *status if the processor
 * lacks it. n_threads 0: one per processor available. */
Device *cpu_open (CpuLevel level, int n_threads, DeviceStatus *status);

/* "plain", "avx2", "avx512" */
const char *cpu_level_name (int level);

/* The highest level this processor runs, and whether it multiplies bf16. */
CpuLevel cpu_level_probe (bool *has_bf16);

/* At least `bytes` of working memory, 64-byte aligned, undefined contents,
 * valid until the next call. It only grows, so that steady work allocates
 * nothing. NULL if it does not fit, which the device then reports. */
void *cpu_scratch (Device *dev, size_t bytes);

/* Multiply-adds under which a second thread costs more than it brings, and
 * what a value that is read, computed with and written counts as. */
#define CPU_WORTH ((size_t) 1 << 20)
#define CPU_VALUE 64

/* Does items 0 .. n-1, on all threads if `cost`, in multiply-adds, is worth
 * it, in pieces of `piece` items; 0: a few pieces for each thread. */
void cpu_run (
    Device *dev, size_t cost, int n, int piece, CpuWork work, void *data);

/* Aligned memory as device_alloc gives it, zeroed where asked for. NULL if it
 * does not fit, without reporting it. Released with free(). */
void *cpu_bytes_new (size_t bytes);

/* Where a page of KvLayer keeps the keys and values of one head. Values lie
 * [KV_PAGE_TOKENS,c]. Keys lie in panels of KEY_PANEL, each [c,KEY_PANEL]: one
 * channel of a panel is a cache line, so that scores need no sums across lanes,
 * and a lone key's channels are lines one after another. */
static inline size_t
cpu_kv_offset (int page, int head, int n_kv_heads, int c)
{
  return ((size_t) page * n_kv_heads + head) * KV_PAGE_TOKENS * c;
}

#define KEY_PANEL 16

/* Channel 0 of the key at `place` of a page; the others follow KEY_PANEL
 * apart. */
static inline size_t
cpu_key_offset (int place, int c)
{
  return (size_t) (place / KEY_PANEL) * KEY_PANEL * c + place % KEY_PANEL;
}

/* plain C */
void cpu_init_memory (Ops *op);
void cpu_init_matmul (Ops *op);
void cpu_init_norm (Ops *op);
void cpu_init_elementwise (Ops *op);
void cpu_init_merge (Ops *op);
void cpu_init_attention (Ops *op);
void cpu_init_key_attention (Ops *op);
void cpu_init_listed (Ops *op);
void cpu_init_listed_choice (Ops *op);
void cpu_init_choice (Ops *op);
void cpu_init_rope (Ops *op);
void cpu_init_sample (Ops *op);
void cpu_init_resize (Ops *op);
void cpu_init_patches (Ops *op);
void cpu_init_pixels (Ops *op);

#ifdef __cplusplus
}
#endif
