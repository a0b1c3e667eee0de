/* variants.h - inits of the *-simd.c files, once per vector level
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#pragma once

#include "kernels/ops.h"

/* Each sets the slots of its family; simd calls all of them. stream.h has what
 * cpu_stream is. */
#define VARIANTS(level)                                                        \
  void cpu_init_attention_##level (Ops *op);                                   \
  void cpu_init_elementwise_##level (Ops *op);                                 \
  void cpu_init_listed_##level (Ops *op);                                      \
  void cpu_init_matmul_##level (Ops *op);                                      \
  void cpu_init_merge_##level (Ops *op);                                       \
  void cpu_init_norm_##level (Ops *op);                                        \
  void cpu_init_resize_##level (Ops *op);                                      \
  void cpu_init_simd_##level (Ops *op);                                        \
  uint32_t cpu_stream_##level (const char *data, size_t bytes, bool four);

VARIANTS (avx2)
VARIANTS (avx512)
VARIANTS (halves) /* the tests' */

/* Over AVX-512's, where the processor multiplies bf16. */
void cpu_init_matmul_bf16 (Ops *op);
