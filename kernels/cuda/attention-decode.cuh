/* attention-decode.cuh - one token's attention by several blocks
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * A block takes 64 keys of one key head and all query heads that read it
 * (four at most), a warp a quarter of them, its lanes the channels; the splits
 * are joined afterwards (Dao et al., Flash-Decoding, 2023). Where splits begin
 * depends on the sequence alone. There are few warps for a sequence, so each
 * asks for all its keys and values at once, if registers hold them.
 */
#pragma once

#include "kernels/cuda/attention-block.cuh"
#include "kernels/cuda/paged.cuh"

#define DECODE_THREADS 128
#define DECODE_WARPS (DECODE_THREADS / WARP)
#define DECODE_SPLIT 64 /* keys of a block */
#define DECODE_GROUP 4  /* query heads of a block */

/* What a split leaves of a query head: maximum, sum, values [c]. */
static __host__ __device__ __forceinline__ int
part_floats (int c)
{
  return 2 + c;
}

/* How a block works: on HEADS query heads at most, of which a lane has PER
 * channels, N neighbours at a time. Loops over heads are unrolled and leave out
 * those from n_heads on, so that arrays are registers. */
template <int HEADS_, int PER_, int N_> struct DecodeShape {
  static constexpr int HEADS = HEADS_, PER = PER_, N = N_;

  static __device__ __forceinline__ int
  channel (int i)
  {
    return (i / N * WARP + threadIdx.x % WARP) * N + i % N;
  }

  /* A lane's part of a row of c, without asking, so that many reads can be
   * under way: past the row's end are its last channels. */
  template <typename T>
  static __device__ __forceinline__ void
  read (T *to, const T *row, int c)
  {
#pragma unroll
    for (int i = 0; i < PER; i += N) {
      Some<T, N> some = *(const Some<T, N> *) (row + min (channel (i), c - N));
      for (int j = 0; j < N; j++)
        to[i + j] = some.v[j];
    }
  }

  /* Keys at a time: 128 bytes of a lane's registers, and as many for values. */
  template <typename T>
  static __device__ constexpr int
  step ()
  {
    constexpr int fit = 128 / (PER * (int) sizeof (T));
    constexpr int all = DECODE_SPLIT / DECODE_WARPS;
    return fit < all ? fit : all;
  }
};

/* Calls f with a shape for groups of `group` heads. */
template <int PER, int N, typename F>
static inline void
with_heads (int group, F f)
{
  if (group == 1)
    f (DecodeShape<1, PER, N> ());
  else
    f (DecodeShape<DECODE_GROUP, PER, N> ());
}

/* Rows of any width can be read one number at a time. The width's affair where
 * the arrays are aligned, so that a token's result does not depend on others.
 */
template <typename T, typename F>
static inline void
with_shape (const PagedArgs<T> &a, int group, F f)
{
  constexpr int MOST = sizeof (T) == 2 ? 8 : 4;
  auto fits = [&] (int most, int n) {
    size_t bytes = n * sizeof (T);
    return a.c <= most && a.c % n == 0 && (uintptr_t) a.q % bytes == 0 &&
           (uintptr_t) a.k % bytes == 0 && (uintptr_t) a.v % bytes == 0;
  };
  if (fits (2 * WARP, 2))
    with_heads<2, 2> (group, f);
  else if (fits (4 * WARP, 4))
    with_heads<4, 4> (group, f);
  else if (fits (8 * WARP, MOST) && a.c % 8 == 0)
    with_heads<8, MOST> (group, f);
  else
    f (DecodeShape<DECODE_GROUP, MAX_HEAD_WIDTH / WARP, 1> ());
}

/* What a warp has of its keys so far. */
template <typename Shape> struct DecodeState {
  float largest[Shape::HEADS], sum[Shape::HEADS];
  float y[Shape::HEADS][Shape::PER];
};

/* The keys of first .. high from `at` on, as many as go at a time; past high
 * its row is read again. */
template <typename T, typename Shape, typename Keys>
static __device__ __forceinline__ void
add_keys (DecodeState<Shape> &state, const float (*q)[Shape::PER],
    const Keys &keys, int at, int high, int n_heads, int c, float scale)
{
  constexpr int PER = Shape::PER, STEP = Shape::template step<T> ();
  T k[STEP][PER], v[STEP][PER];
  size_t row[STEP];
  bool seen[STEP];
  for (int j = 0; j < STEP; j++) {
    row[j] = keys.find (min (at + j, high), &seen[j]);
    seen[j] = seen[j] && at + j <= high;
  }
#pragma unroll
  for (int j = 0; j < STEP; j++) {
    Shape::read (k[j], keys.k + row[j], c);
    Shape::read (v[j], keys.v + row[j], c);
  }
  __syncwarp (); /* the compiler would read each where it is needed */
#pragma unroll
  for (int head = 0; head < Shape::HEADS; head++) {
    if (head >= n_heads)
      continue;
    float score[STEP], largest = state.largest[head];
    for (int j = 0; j < STEP; j++) {
      float sum = 0;
      for (int i = 0; i < PER; i++)
        sum += q[head][i] * to_float (k[j][i]);
      score[j] = scale * warp_sum (sum);
      if (seen[j])
        largest = fmaxf (largest, score[j]);
    }
    float before = state.largest[head];
    float rescale = largest == before ? 1 : expf (before - largest);
    state.largest[head] = largest;
    state.sum[head] *= rescale;
    for (int i = 0; i < PER; i++)
      state.y[head][i] *= rescale;
    for (int j = 0; j < STEP; j++) {
      if (!seen[j])
        continue;
      float p = expf (score[j] - largest);
      state.sum[head] += p;
      for (int i = 0; i < PER; i++)
        state.y[head][i] += p * to_float (v[j][i]);
    }
  }
}

/* A part without keys has no weight; one of NaN only has a maximum of minus
 * infinity too, but a sum. */
static __device__ __forceinline__ float
part_weight (const float *part, float largest)
{
  return part[1] == 0 ? 0 : part[0] == largest ? 1 : expf (part[0] - largest);
}

/* Joins parts `stride` floats apart: y[channel] over the common sum. */
static __device__ float
join (const float *parts, int n, size_t stride, int channel, float *largest,
    float *sum)
{
  float y = 0;
  *largest = -INFINITY;
  *sum = 0;
  for (int i = 0; i < n; i++)
    *largest = fmaxf (*largest, parts[i * stride]);
  for (int i = 0; i < n; i++) {
    const float *part = parts + i * stride;
    float weight = part_weight (part, *largest);
    *sum += part[1] * weight;
    y += part[2 + channel] * weight;
  }
  return y;
}

/* The warps' states as parts in shared memory, [heads,DECODE_WARPS]. */
template <typename Shape>
static __device__ void
leave_parts (float *parts, const DecodeState<Shape> &state, int n_heads, int c)
{
  int lane = threadIdx.x % WARP, warp = threadIdx.x / WARP;
#pragma unroll
  for (int head = 0; head < Shape::HEADS; head++) {
    if (head >= n_heads)
      continue;
    float *part = parts + (head * DECODE_WARPS + warp) * part_floats (c);
    if (lane == 0) {
      part[0] = state.largest[head];
      part[1] = state.sum[head];
    }
    for (int i = 0; i < Shape::PER; i++)
      if (Shape::channel (i) < c)
        part[2 + Shape::channel (i)] = state.y[head][i];
  }
}

/* y over what it is divided by; nothing seen is nothing. */
static __device__ __forceinline__ float
over (float y, float sum)
{
  return sum == 0 ? 0 : y / sum;
}

/* Keys first .. high, DECODE_SPLIT at most, for query heads
 * head .. head+n_heads-1 of sequence s, which has one token: keys.find (i)
 * says where behind keys.k and keys.v a row of c is, and whether it counts.
 * out: parts [n_seqs,h,n_splits], or NULL if there is one split: then y is
 * written. */
template <typename T, typename Shape, typename Keys>
static __device__ void
decode_block (float *parts, const PagedArgs<T> &a, const Keys &keys, int s,
    int head, int n_heads, int first, int high, float *out, int n_splits)
{
  constexpr int PER = Shape::PER, STEP = Shape::template step<T> ();
  int row = a.q_start[s];
  DecodeState<Shape> state = {};
  float q[Shape::HEADS][PER];
#pragma unroll
  for (int i = 0; i < Shape::HEADS; i++) {
    T of_head[PER];
    Shape::read (of_head,
        a.q + ((size_t) row * a.h + head + min (i, n_heads - 1)) * a.c, a.c);
    for (int k = 0; k < PER; k++)
      q[i][k] = Shape::channel (k) < a.c ? to_float (of_head[k]) : 0;
    state.largest[i] = -INFINITY;
  }
  if (first <= high)
    for (int at = 0; at < DECODE_SPLIT; at += DECODE_WARPS * STEP)
      add_keys<T> (state, q, keys, first + at + threadIdx.x / WARP * STEP, high,
          n_heads, a.c, a.scale);
  leave_parts (parts, state, n_heads, a.c);
  __syncthreads ();
  for (int at = threadIdx.x; at < n_heads * a.c; at += DECODE_THREADS) {
    int i = at / a.c, channel = at % a.c;
    float largest, sum;
    float y = join (parts + i * DECODE_WARPS * part_floats (a.c), DECODE_WARPS,
        part_floats (a.c), channel, &largest, &sum);
    size_t to = (size_t) row * a.h + head + i;
    if (!out) {
      store (&a.y[to * a.c + channel], over (y, sum));
      continue;
    }
    float *part =
        out + (((size_t) s * a.h + head + i) * n_splits + blockIdx.x) *
                  part_floats (a.c);
    part[2 + channel] = y;
    if (channel == 0) {
      part[0] = largest;
      part[1] = sum;
    }
  }
}

/* y of one head of sequence s from its first `used` parts, by a block: a thread
 * weighs a part, then has every DECODE_THREADS-th channel. */
template <typename T>
static __device__ void
join_block (const PagedArgs<T> &a, const float *parts, int s, int head,
    int used, int n_splits)
{
  constexpr int PER = MAX_HEAD_WIDTH / DECODE_THREADS;
  __shared__ float weight[DECODE_THREADS], weighed[DECODE_THREADS];
  size_t stride = part_floats (a.c);
  float largest = -INFINITY, sum = 0, y[PER] = {};
  parts += ((size_t) s * a.h + head) * n_splits * stride;
  for (int i = threadIdx.x; i < used; i += DECODE_THREADS)
    largest = fmaxf (largest, parts[i * stride]);
  largest = block_max (largest);
  for (int from = 0; from < used; from += DECODE_THREADS) {
    const float *part = parts + (from + threadIdx.x) * stride;
    int n = min (used - from, DECODE_THREADS);
    __syncthreads ();
    if ((int) threadIdx.x < n) {
      weight[threadIdx.x] = part_weight (part, largest);
      weighed[threadIdx.x] = part[1] * weight[threadIdx.x];
    }
    __syncthreads ();
    for (int i = 0; i < n; i++) {
      sum += weighed[i];
      for (int k = 0; k < PER; k++) {
        int channel = threadIdx.x + k * DECODE_THREADS;
        y[k] += channel < a.c
                    ? weight[i] * parts[(from + i) * stride + 2 + channel]
                    : 0;
      }
    }
  }
  for (int k = 0; k < PER; k++) {
    int channel = threadIdx.x + k * DECODE_THREADS;
    if (channel < a.c)
      store (&a.y[((size_t) a.q_start[s] * a.h + head) * a.c + channel],
          over (y[k], sum));
  }
}
