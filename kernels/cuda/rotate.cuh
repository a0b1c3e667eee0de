/* rotate.cuh - pairs of a head turned by their position
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#pragma once

#include "kernels/cuda/common.cuh"

/* N neighbouring numbers of each half: y from x, by cosines at `cosine` and
 * sines half a row behind. */
template <typename T, int N>
static __device__ __forceinline__ void
rotate (T *y, const float *x, const float *cosine, int half)
{
  typedef Some<float, N> Floats;
  Floats a = *(const Floats *) x, b = *(const Floats *) (x + half);
  Floats c = *(const Floats *) cosine, s = *(const Floats *) (cosine + half);
  Some<T, N> first, second;
  for (int i = 0; i < N; i++) {
    store (&first.v[i], a.v[i] * c.v[i] - b.v[i] * s.v[i]);
    store (&second.v[i], b.v[i] * c.v[i] + a.v[i] * s.v[i]);
  }
  *(Some<T, N> *) y = first;
  *(Some<T, N> *) (y + half) = second;
}

/* Calls f with how many pairs of heads of c channels go at a time. */
template <typename T, typename F>
static inline void
with_pairs (int c, const float *table, const float *x, const T *y, F f)
{
  with_some (is_aligned (table) && c % 8 == 0 ? 4 : 1, x, y, f);
}
