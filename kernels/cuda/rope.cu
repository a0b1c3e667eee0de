/* rope.cu - rotary position embedding
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Bound by memory.
 */
#include "kernels/cuda/rotate.cuh"

#define THREADS 256

/* The angle is rounded before cosine and sine, as transformers does. */
__global__ void
rope_table_kernel (float *table, const int *pos, const float *inv_freq, int n,
    int half, float scale)
{
  int at = blockIdx.x * THREADS + threadIdx.x;
  begin_early ();
  if (at >= n * half)
    return;
  int i = at / half, j = at % half;
  float angle = __fmul_rn ((float) pos[i], inv_freq[j]);
  table[(size_t) i * 2 * half + j] = cosf (angle) * scale;
  table[(size_t) i * 2 * half + half + j] = sinf (angle) * scale;
}

/* A thread has N pairs, neighbours in both halves of a head. */
template <typename T, int N>
__global__ void
__launch_bounds__ (THREADS) rope_kernel (
    T *y, const float *x, const float *table, size_t count, int h, int half)
{
  size_t at = (size_t) blockIdx.x * THREADS + threadIdx.x;
  begin_early ();
  if (at >= count)
    return;
  size_t head = at / (half / N), j = at % (half / N) * N;
  rotate<T, N> (y + head * 2 * half + j, x + head * 2 * half + j,
      table + head / h * 2 * half + j, half);
}

static void
rope_table (Device *dev, float *table, const int *pos, const float *inv_freq,
    int n, int c, float scale)
{
  int half = c / 2;
  if (n * half == 0)
    return;
  LAUNCH_EARLY (rope_table_kernel, blocks_for (n * half, THREADS), THREADS, 0,
      dev, table, pos, inv_freq, n, half, scale);
  cuda_launched (dev, "rope_table");
}

static void
rope (Device *dev, Act *y, const float *x, const float *table, int n, int h,
    int c)
{
  int half = c / 2;
  size_t count = (size_t) n * h * half;
  if (count == 0)
    return;
  with_act (dev, [&] (auto act) {
    typedef decltype (act) T;
    with_pairs (c, table, x, (T *) y, [&] (auto pairs) {
      constexpr int N = decltype (pairs)::value;
      LAUNCH_EARLY ((rope_kernel<T, N>), blocks_for (count / N, THREADS),
          THREADS, 0, dev, (T *) y, x, table, count / N, h, half);
    });
  });
  cuda_launched (dev, "rope");
}

void
cuda_init_rope (Ops *op)
{
  op->rope_table = rope_table;
  op->rope = rope;
}
