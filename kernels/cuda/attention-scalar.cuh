/* attention-scalar.cuh - attention of any type and width
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Up to 32 queries of one head over 32 keys at a time, with a running maximum
 * (Dao et al., FlashAttention, 2022). A warp has eight of the queries: its
 * lanes stand for keys while scores are made, for channels while values are
 * added. Keys and values lie in one place in turn, and come into registers
 * while the others are used. A query's arithmetic depends on its own keys
 * alone, from key 0 on in steps of 32, whatever queries it shares the block
 * with.
 */
#pragma once

#include "kernels/cuda/attention-block.cuh"

#define ATT_KEYS WARP
#define ATT_WARPS (ATT_THREADS / WARP)

/* What a thread has of it. PER: channels of a lane, c <= PER * WARP. */
template <typename T, int PER> struct AttLane {
  /* Of a warp; of wide heads no more fit into 64 KiB. */
  static constexpr int QUERIES = PER > 4 ? 4 : 8;
  /* Rows are padded so that lanes reading 32 of them meet 32 banks. */
  static constexpr int PAD = 4 / sizeof (T);

  float *q; /* shared: the warp's queries, [QUERIES,c] */
  float *p; /* the weights of its keys, [ATT_KEYS,QUERIES] */
  T *rows;  /* keys or values, [ATT_KEYS,c+PAD] */
  int c, lane, warp;
  T coming[ATT_KEYS / ATT_WARPS][PER]; /* of the next rows, its channels */
  /* The running softmax: maximum, this lane's part of the sum, and the lane's
   * channels of the values added up. */
  float largest[QUERIES], sum[QUERIES], y[QUERIES][PER];

  static __host__ __device__ size_t
  bytes (int c)
  {
    return ATT_WARPS * QUERIES * (c + ATT_KEYS) * sizeof (float) +
           ATT_KEYS * (c + PAD) * sizeof (T);
  }

  __device__ __forceinline__
  AttLane (float *memory, int width)
      : c (width), lane (threadIdx.x % WARP), warp (threadIdx.x / WARP)
  {
    q = memory + warp * QUERIES * c;
    p = memory + ATT_WARPS * QUERIES * c + warp * QUERIES * ATT_KEYS;
    rows = (T *) (memory + ATT_WARPS * QUERIES * (c + ATT_KEYS));
    for (int i = 0; i < QUERIES; i++) {
      largest[i] = -INFINITY;
      sum[i] = 0;
      for (int k = 0; k < PER; k++)
        y[i][k] = 0;
    }
  }

  __device__ __forceinline__ void
  load_queries (const AttQueries<T> &queries)
  {
    for (int i = 0; i < QUERIES; i++) {
      int row = warp * QUERIES + i;
      for (int channel = lane; channel < c; channel += WARP)
        q[i * c + channel] =
            row < queries.n
                ? to_float (queries.q[(size_t) row * queries.stride + channel])
                : 0;
    }
  }

  /* Every ATT_WARPS-th row from `first` on is on its way; those past the last
   * are zero: what memory holds there is not read. */
  template <typename Row>
  __device__ __forceinline__ void
  fetch (int first, int last, Row row)
  {
    for (int i = 0; i < ATT_KEYS / ATT_WARPS; i++) {
      int j = first + warp + i * ATT_WARPS;
      const T *from = j <= last ? row (j) : NULL;
      for (int k = 0; k < PER; k++)
        if (from && lane + k * WARP < c)
          coming[i][k] = from[lane + k * WARP];
        else
          store (&coming[i][k], 0);
    }
  }

  /* Everybody's rows are there, and those before were used. */
  __device__ __forceinline__ void
  arrive ()
  {
    __syncthreads ();
    for (int i = 0; i < ATT_KEYS / ATT_WARPS; i++)
      for (int k = 0; k < PER; k++)
        if (lane + k * WARP < c)
          rows[(warp + i * ATT_WARPS) * (c + PAD) + lane + k * WARP] =
              coming[i][k];
    __syncthreads ();
  }

  /* score[i]: the lane's key against each of the warp's queries. */
  __device__ __forceinline__ void
  multiply (float *score, float scale)
  {
    const T *key = rows + lane * (c + PAD);
    for (int i = 0; i < QUERIES; i++)
      score[i] = 0;
    for (int channel = 0; channel < c; channel++) {
      float x = to_float (key[channel]);
      for (int i = 0; i < QUERIES; i++)
        score[i] += q[i * c + channel] * x;
    }
    for (int i = 0; i < QUERIES; i++)
      score[i] *= scale;
  }

  /* Takes the warp's 32 scores of query i; leaves the keys' weights. */
  __device__ __forceinline__ void
  weigh (int i, float score, bool seen)
  {
    float before = largest[i];
    largest[i] = fmaxf (before, warp_max (seen ? score : -INFINITY));
    float rescale = largest[i] == before ? 1 : expf (before - largest[i]);
    float weight = seen ? expf (score - largest[i]) : 0;
    sum[i] = sum[i] * rescale + weight;
    for (int k = 0; k < PER; k++)
      y[i][k] *= rescale;
    p[lane * QUERIES + i] = weight;
  }

  __device__ __forceinline__ void
  add_values ()
  {
    for (int j = 0; j < ATT_KEYS; j++)
      for (int k = 0; k < PER; k++) {
        int channel = lane + k * WARP;
        float v = channel < c ? to_float (rows[j * (c + PAD) + channel]) : 0;
        for (int i = 0; i < QUERIES; i++)
          y[i][k] += p[j * QUERIES + i] * v;
      }
  }

  __device__ __forceinline__ void
  finish (const AttQueries<T> &queries)
  {
    for (int i = 0; i < QUERIES; i++) {
      int row = warp * QUERIES + i;
      float all = warp_sum (sum[i]);
      T *to = queries.y + (size_t) row * queries.stride;
      for (int k = 0; k < PER && row < queries.n; k++)
        if (lane + k * WARP < c)
          store (&to[lane + k * WARP], y[i][k] / all);
    }
  }
};

template <typename T, int PER> struct AttScalar {
  typedef T Act;
  typedef AttLane<T, PER> Lane;
  static constexpr int QUERIES = Lane::QUERIES * ATT_WARPS, BLOCKS = 1;

  static size_t
  bytes (int c)
  {
    return Lane::bytes (c);
  }

  /* Keys `first`, rounded down to a whole step, to `last`. */
  template <typename Keys>
  static __device__ void
  run (void *memory, const AttQueries<T> &queries, const Keys &keys, int first,
      int last, int c, float scale)
  {
    Lane l ((float *) memory, c);
    float score[Lane::QUERIES];
    auto key = [&keys] (int j) { return keys.key (j); };
    auto value = [&keys] (int j) { return keys.value (j); };
    first = first / ATT_KEYS * ATT_KEYS;
    l.load_queries (queries);
    l.fetch (first, last, key);
    for (int at = first; at <= last; at += ATT_KEYS) {
      l.arrive ();
      l.fetch (at, last, value);
      l.multiply (score, scale);
      for (int i = 0; i < Lane::QUERIES; i++)
        l.weigh (i, score[i],
            queries.range (l.warp * Lane::QUERIES + i).has (at + l.lane));
      l.arrive ();
      l.fetch (at + ATT_KEYS, last, key);
      l.add_values ();
    }
    l.finish (queries);
  }
};
