/* stream.h - reading memory as fast as the processor can
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * What a product with one token is bounded by: the probe measures it, nothing
 * else calls it.
 */
#pragma once

#include "kernels/cpu/cpu.h"

/* How the bytes are walked: from one end to the other, or as a product walks
 * panels, in four places at once with prefetching. Which is faster is the
 * processor's. */
typedef enum CpuWalk {
  CPU_WALK_STRAIGHT,
  CPU_WALK_FOUR,
  CPU_N_WALKS,
} CpuWalk;

/* Reads data, aligned to 64 bytes, on all threads; bytes beyond the last whole
 * MiB are left out. The sum is there for the compiler to keep the loads. */
uint32_t cpu_stream (Device *dev, const void *data, size_t bytes, CpuWalk walk);
