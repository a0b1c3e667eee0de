/* attention-scalar.cuh - attention of any type and width
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * 32 queries of one head over 32 keys at a time, with a running maximum (Dao
 * et al., FlashAttention, 2022). A warp has eight of the queries: its lanes
 * stand for keys while scores are made, for channels while values are added.
 * A query's arithmetic depends on its own keys alone, from key 0 on in steps
 * of 32, whatever queries it shares the block with.
 */
#pragma once

#include "kernels/cuda/attention-block.cuh"

#define ATT_KEYS WARP
#define ATT_WARP_QUERIES 8
#define ATT_QUERIES (ATT_WARP_QUERIES * ATT_THREADS / WARP)

/* Floats of shared memory: queries, probabilities, keys and values. Keys are
 * padded so that lanes reading 32 of them meet 32 banks. */
template <typename T> struct AttShared {
  float *q; /* [ATT_QUERIES,c] */
  float *p; /* [warps,ATT_KEYS,ATT_WARP_QUERIES] */
  T *k;     /* [ATT_KEYS,c+PAD] */
  T *v;     /* [ATT_KEYS,c] */
  static constexpr int PAD = 4 / sizeof (T);

  static size_t
  bytes (int c)
  {
    return (ATT_QUERIES * c + ATT_QUERIES * ATT_KEYS) * sizeof (float) +
           ATT_KEYS * (2 * c + PAD) * sizeof (T);
  }

  __device__
  AttShared (float *memory, int c)
  {
    q = memory;
    p = q + ATT_QUERIES * c;
    k = (T *) (p + ATT_QUERIES * ATT_KEYS);
    v = k + ATT_KEYS * (c + PAD);
  }
};

template <typename T>
static __device__ void
att_load_queries (const AttShared<T> &s, const AttQueries<T> &queries, int c)
{
  for (int at = threadIdx.x; at < ATT_QUERIES * c; at += ATT_THREADS) {
    int i = at / c;
    s.q[at] = i < queries.n
                  ? to_float (queries.q[(size_t) i * queries.stride + at % c])
                  : 0;
  }
}

/* Rows past the last key are zero: what memory holds there is not read. */
template <typename T, typename Keys>
static __device__ void
att_load_keys (
    const AttShared<T> &s, const Keys &keys, int first, int last, int c)
{
  for (int at = threadIdx.x; at < ATT_KEYS * c; at += ATT_THREADS) {
    int j = at / c, i = at % c;
    T k, v;
    if (first + j <= last) {
      k = keys.key (first + j)[i];
      v = keys.value (first + j)[i];
    } else {
      store (&k, 0);
      store (&v, 0);
    }
    s.k[j * (c + AttShared<T>::PAD) + i] = k;
    s.v[at] = v;
  }
}

/* score[i]: the lane's key against each of the warp's queries. */
template <typename T>
static __device__ __forceinline__ void
att_scores (float *score, const AttShared<T> &s, int c, float scale)
{
  int lane = threadIdx.x % WARP;
  const float *q = s.q + threadIdx.x / WARP * ATT_WARP_QUERIES * c;
  const T *k = s.k + lane * (c + AttShared<T>::PAD);
  for (int i = 0; i < ATT_WARP_QUERIES; i++)
    score[i] = 0;
  for (int channel = 0; channel < c; channel++) {
    float x = to_float (k[channel]);
    for (int i = 0; i < ATT_WARP_QUERIES; i++)
      score[i] += q[i * c + channel] * x;
  }
  for (int i = 0; i < ATT_WARP_QUERIES; i++)
    score[i] *= scale;
}

/* A warp's running softmax: maximum, this lane's part of the sum, and the
 * lane's channels of the values added up. */
template <int PER> struct AttState {
  float largest[ATT_WARP_QUERIES], sum[ATT_WARP_QUERIES];
  float y[ATT_WARP_QUERIES][PER];
};

/* Takes 32 scores of query i; leaves the key's weight. */
template <int PER>
static __device__ __forceinline__ float
att_weigh (AttState<PER> &state, int i, float score, bool seen)
{
  float before = state.largest[i];
  float largest = fmaxf (before, warp_max (seen ? score : -INFINITY));
  float rescale = largest == before ? 1 : expf (before - largest);
  float p = seen ? expf (score - largest) : 0;
  state.largest[i] = largest;
  state.sum[i] = state.sum[i] * rescale + p;
  for (int k = 0; k < PER; k++)
    state.y[i][k] *= rescale;
  return p;
}

template <typename T, int PER>
static __device__ __forceinline__ void
att_add_values (
    AttState<PER> &state, const AttShared<T> &s, const float *p, int c)
{
  int lane = threadIdx.x % WARP;
  for (int j = 0; j < ATT_KEYS; j++)
    for (int k = 0; k < PER; k++) {
      int channel = lane + k * WARP;
      float v = channel < c ? to_float (s.v[j * c + channel]) : 0;
      for (int i = 0; i < ATT_WARP_QUERIES; i++)
        state.y[i][k] += p[j * ATT_WARP_QUERIES + i] * v;
    }
}

template <typename T, int PER>
static __device__ void
att_finish (AttState<PER> &state, const AttQueries<T> &queries, int c)
{
  int lane = threadIdx.x % WARP;
  int first = threadIdx.x / WARP * ATT_WARP_QUERIES;
  for (int i = 0; i < ATT_WARP_QUERIES; i++) {
    float sum = warp_sum (state.sum[i]);
    T *y = queries.y + (size_t) (first + i) * queries.stride;
    for (int k = 0; k < PER && first + i < queries.n; k++)
      if (lane + k * WARP < c)
        store (&y[lane + k * WARP], state.y[i][k] / sum);
  }
}

template <typename T, int PER> struct AttScalar {
  typedef T Act;
  static constexpr int QUERIES = ATT_QUERIES, BLOCKS = 1;

  static size_t
  bytes (int c)
  {
    return AttShared<T>::bytes (c);
  }

  /* Keys `first`, rounded down to a whole step, to `last`. */
  template <typename Keys>
  static __device__ void
  run (void *memory, const AttQueries<T> &queries, const Keys &keys, int first,
      int last, int c, float scale)
  {
    AttShared<T> s ((float *) memory, c);
    AttState<PER> state = {};
    int lane = threadIdx.x % WARP, warp = threadIdx.x / WARP;
    float score[ATT_WARP_QUERIES];
    float *p = s.p + warp * ATT_KEYS * ATT_WARP_QUERIES;
    for (int i = 0; i < ATT_WARP_QUERIES; i++)
      state.largest[i] = -INFINITY;
    att_load_queries (s, queries, c);
    for (int at = first / ATT_KEYS * ATT_KEYS; at <= last; at += ATT_KEYS) {
      __syncthreads ();
      att_load_keys (s, keys, at, last, c);
      __syncthreads ();
      att_scores (score, s, c, scale);
      for (int i = 0; i < ATT_WARP_QUERIES; i++)
        p[lane * ATT_WARP_QUERIES + i] = att_weigh (state, i, score[i],
            queries.range (warp * ATT_WARP_QUERIES + i).has (at + lane));
      __syncwarp ();
      att_add_values (state, s, p, c);
      __syncwarp ();
    }
    att_finish (state, queries, c);
  }
};
