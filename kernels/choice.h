/* choice.h - the best of some scores, exactly: the rule of every choice
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * The highest scores win, of equal ones those in the lowest places; both zeros
 * are one, and NaN is above everything. Plain C over host memory, for the
 * processor's ops and for policies that choose on the host;
 * kernels/cuda/choice.cuh is the same for the GPU. Compiles as C and as C++.
 */
#pragma once

#include <stdint.h>
#include <string.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Ascending ranks for ascending scores. */
static inline uint32_t
choice_rank (float score)
{
  uint32_t bits;
  float one_zero = score + 0.0f;

  memcpy (&bits, &one_zero, sizeof bits);
  if (score != score)
    return UINT32_MAX;
  return bits >> 31 ? ~bits : bits | 0x80000000;
}

/* The rank of the n_best-th best of score[rows,cols], rows `stride` apart. The
 * best are those of higher rank and the first *n_at of this one. 1 <= n_best
 * <= rows*cols. */
uint32_t choice_cut (
    const float *score, int stride, int rows, int cols, int n_best, int *n_at);

#ifdef __cplusplus
}
#endif
