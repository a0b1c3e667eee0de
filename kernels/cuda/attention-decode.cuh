/* attention-decode.cuh - one token's attention by several blocks
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * A block takes 64 keys of one key head and all query heads that read it
 * (eight at most), a warp every fourth group of four keys, its lanes the
 * channels; the splits are joined afterwards (Dao et al., Flash-Decoding,
 * 2023). Where splits begin depends on the sequence alone.
 */
#pragma once

#include "kernels/cuda/attention-block.cuh"
#include "kernels/cuda/paged.cuh"

#define DECODE_THREADS 128
#define DECODE_WARPS (DECODE_THREADS / WARP)
#define DECODE_SPLIT 64 /* keys of a block */
#define DECODE_GROUP 8  /* query heads of a block */
#define DECODE_STEP 4   /* keys at a time */

/* What a split leaves of a query head: maximum, sum, values [c]. */
static __host__ __device__ __forceinline__ int
part_floats (int c)
{
  return 2 + c;
}

/* Loops over heads have DECODE_GROUP rounds and leave at n_heads: unrolled, so
 * that these arrays are registers. */
template <int PER> struct DecodeState {
  float largest[DECODE_GROUP], sum[DECODE_GROUP], y[DECODE_GROUP][PER];
};

/* DECODE_STEP keys from `first` on: keys.sees (i) says which there are,
 * keys.key (i) and keys.value (i) point to rows of c. */
template <typename T, int PER, typename Keys>
static __device__ __forceinline__ void
add_keys (DecodeState<PER> &state, const float (*q)[PER], const Keys &keys,
    int first, int n_heads, int c, float scale)
{
  int lane = threadIdx.x % WARP;
  float k[DECODE_STEP][PER], v[DECODE_STEP][PER];
  bool seen[DECODE_STEP];
  for (int j = 0; j < DECODE_STEP; j++) {
    seen[j] = keys.sees (first + j);
    const T *key = seen[j] ? keys.key (first + j) : NULL;
    const T *value = seen[j] ? keys.value (first + j) : NULL;
    for (int i = 0; i < PER; i++) {
      bool there = seen[j] && lane + i * WARP < c;
      k[j][i] = there ? to_float (key[lane + i * WARP]) : 0;
      v[j][i] = there ? to_float (value[lane + i * WARP]) : 0;
    }
  }
#pragma unroll 8
  for (int head = 0; head < DECODE_GROUP; head++) {
    if (head >= n_heads)
      continue;
    float score[DECODE_STEP], largest = state.largest[head];
    for (int j = 0; j < DECODE_STEP; j++) {
      float sum = 0;
      for (int i = 0; i < PER; i++)
        sum += q[head][i] * k[j][i];
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
    for (int j = 0; j < DECODE_STEP; j++) {
      float p = seen[j] ? expf (score[j] - largest) : 0;
      state.sum[head] += p;
      for (int i = 0; i < PER; i++)
        state.y[head][i] += p * v[j][i];
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
template <int PER>
static __device__ void
leave_parts (float *parts, const DecodeState<PER> &state, int n_heads, int c)
{
  int lane = threadIdx.x % WARP, warp = threadIdx.x / WARP;
#pragma unroll 8
  for (int head = 0; head < DECODE_GROUP; head++) {
    if (head >= n_heads)
      continue;
    float *part = parts + (head * DECODE_WARPS + warp) * part_floats (c);
    if (lane == 0) {
      part[0] = state.largest[head];
      part[1] = state.sum[head];
    }
    for (int i = 0; i < PER; i++)
      if (lane + i * WARP < c)
        part[2 + lane + i * WARP] = state.y[head][i];
  }
}

/* y over what it is divided by; nothing seen is nothing. */
static __device__ __forceinline__ float
over (float y, float sum)
{
  return sum == 0 ? 0 : y / sum;
}

/* Keys `first` .. `high` for query heads head .. head+n_heads-1 of sequence s,
 * which has one token. out: parts [n_seqs,h,n_splits], or NULL if there is one
 * split: then y is written. */
template <typename T, int PER, typename Keys>
static __device__ void
decode_block (float *parts, const PagedArgs<T> &a, const Keys &keys, int s,
    int head, int n_heads, int first, int high, float *out, int n_splits)
{
  int lane = threadIdx.x % WARP, row = a.q_start[s];
  DecodeState<PER> state = {};
  float q[DECODE_GROUP][PER];
  for (int i = 0; i < DECODE_GROUP; i++) {
    state.largest[i] = -INFINITY;
    for (int k = 0; k < PER; k++) {
      bool there = i < n_heads && lane + k * WARP < a.c;
      const T *from_q = a.q + ((size_t) row * a.h + head + i) * a.c;
      q[i][k] = there ? to_float (from_q[lane + k * WARP]) : 0;
    }
  }
  for (int at = first + threadIdx.x / WARP * DECODE_STEP; at <= high;
       at += DECODE_WARPS * DECODE_STEP)
    add_keys<T, PER> (state, q, keys, at, n_heads, a.c, a.scale);
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
