/* key-scores.cuh - what a token thinks of its keys
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * A block takes 64 keys of one key head for up to eight of its query heads, a
 * warp every fourth group of four, its lanes the channels. Bound by reading the
 * keys.
 */
#pragma once

#include "kernels/cuda/paged.cuh"

#define SCORE_THREADS 128
#define SCORE_KEYS 64 /* of a block */
#define SCORE_HEADS 8 /* query heads of a block */
#define SCORE_STEP 4  /* keys at a time */

/* The block of a grid [splits, key heads * groups of query heads, sequences].
 */
struct ScoreBlock {
  int kv_head, head, n_heads, first;
};

static __device__ __forceinline__ ScoreBlock
score_block (int h, int n_kv_heads)
{
  int group = h / n_kv_heads;
  int n_groups = (group + SCORE_HEADS - 1) / SCORE_HEADS;
  int kv_head = blockIdx.y / n_groups;
  int from = blockIdx.y % n_groups * SCORE_HEADS;
  ScoreBlock block = { kv_head, kv_head * group + from,
    min (group - from, SCORE_HEADS), (int) blockIdx.x * SCORE_KEYS };
  return block;
}

static inline dim3
score_grid (int max_kv_len, int h, int n_kv_heads, int n_seqs)
{
  return dim3 (blocks_for (max_kv_len, SCORE_KEYS),
      n_kv_heads * blocks_for (h / n_kv_heads, SCORE_HEADS), n_seqs);
}

/* score[i,j] = scale q[i].key j, q[n_heads,c], rows of scores being stride
 * apart, for the block's keys j < length; minus infinity below `low`. */
template <typename T, int PER>
static __device__ __forceinline__ void
score_keys (float *score, size_t stride, const T *q, const PagedKeys<T> &keys,
    const ScoreBlock &block, int low, int length, float scale)
{
  int lane = threadIdx.x % WARP, c = keys.c;
  int end = min (block.first + SCORE_KEYS, length);
  for (int at = block.first + threadIdx.x / WARP * SCORE_STEP; at < end;
       at += SCORE_THREADS / WARP * SCORE_STEP) {
    float k[SCORE_STEP][PER];
    for (int j = 0; j < SCORE_STEP; j++) {
      bool seen = at + j >= low && at + j < end;
      const T *key = seen ? keys.key (at + j) : NULL;
      for (int i = 0; i < PER; i++)
        k[j][i] =
            seen && lane + i * WARP < c ? to_float (key[lane + i * WARP]) : 0;
    }
    for (int head = 0; head < block.n_heads; head++) {
      float sum[SCORE_STEP] = {}, mine = 0;
      for (int i = 0; i < PER; i++) {
        const T *x = q + head * c + lane + i * WARP;
        float part = lane + i * WARP < c ? to_float (*x) : 0;
        for (int j = 0; j < SCORE_STEP; j++)
          sum[j] += part * k[j][i];
      }
      for (int j = 0; j < SCORE_STEP; j++) {
        float whole = warp_sum (sum[j]);
        mine = lane == j ? scale * whole : mine;
      }
      if (lane < SCORE_STEP && at + lane < end)
        score[head * stride + at + lane] = at + lane < low ? -INFINITY : mine;
    }
  }
}

/* Scores from `low` on to probabilities, by a block. A thread has every
 * blockDim.x-th key throughout. */
static __device__ void
soften (float *x, int low, int n)
{
  float largest = -INFINITY, sum = 0;
  for (int j = threadIdx.x; j < n; j += blockDim.x)
    largest = j < low ? largest : fmaxf (largest, x[j]);
  largest = block_max (largest);
  for (int j = threadIdx.x; j < n; j += blockDim.x)
    if (j >= low)
      sum += x[j] = expf (x[j] - largest);
  sum = block_sum (sum);
  for (int j = threadIdx.x; j < n; j += blockDim.x)
    if (j >= low)
      x[j] /= sum;
}
