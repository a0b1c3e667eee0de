/* attention-mma.cuh - attention of bf16 and f16 on tensor cores
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * 64 queries of one head over 64 keys at a time, with a running maximum (Dao,
 * FlashAttention-2, 2023). A warp has 16 of the queries, all its life in
 * registers; keys and values pass through two places in shared memory, the
 * next 64 of them arriving while these are used. Scores and sums are f32;
 * weights are rounded to T before they meet the values. A query's arithmetic
 * depends on its own keys alone, from key 0 on in steps of 64; what none of a
 * warp's queries sees is left out, which changes no sum.
 */
#pragma once

#include "kernels/cuda/attention-block.cuh"
#include "kernels/cuda/mma.cuh"

#define MMA_ROWS 64 /* queries of a block, and keys at a time */
#define MMA_MAX_WIDTH 128
#define LOG2_E 1.44269504f

/* MMA_ROWS rows of WIDTH numbers in shared memory. The chunks of a row change
 * places, so that a chunk of eight rows below each other is in all banks. */
template <typename T, int WIDTH> struct MmaTile {
  static constexpr int CHUNK = 16, PER_CHUNK = CHUNK / sizeof (T);
  static constexpr int N_CHUNKS = WIDTH / PER_CHUNK;
  SharedAddress memory;

  /* A chunk, from which those of rows 8 apart and pairs of chunks are found. */
  struct Place {
    SharedAddress row;
    uint32_t chunk; /* bytes */

    __device__ __forceinline__ SharedAddress
    at (int rows_below, int pair) const
    {
      return row + rows_below * N_CHUNKS * CHUNK +
             (chunk ^ (uint32_t) (pair * 2 * CHUNK));
    }
  };

  __device__ __forceinline__ Place
  place (int row, int i) const
  {
    int swap = N_CHUNKS % 8 ? row / 2 % 4 : row % 8;
    Place place = { memory + row * N_CHUNKS * CHUNK,
      (uint32_t) ((i ^ swap) * CHUNK) };
    return place;
  }

  /* Begins to bring n rows of c numbers, `stride` apart; else zeros. */
  __device__ __forceinline__ void
  fill (const T *from, size_t stride, int n, int c) const
  {
    constexpr int LANES = N_CHUNKS == 12 ? 16 : N_CHUNKS; /* to a row */
    constexpr int STEP = ATT_THREADS / LANES;
    int first = threadIdx.x / LANES, i = threadIdx.x % LANES;
    Place to = place (first, i);
    n = i * PER_CHUNK < c ? n : 0;
    from += first * stride + i * PER_CHUNK;
    if (i < N_CHUNKS)
      for (int row = 0; row < MMA_ROWS; row += STEP, from += STEP * stride)
        copy_async (to.at (row, 0), from, first + row < n);
  }
};

/* Two stages of keys and values. */
template <typename T, int WIDTH> struct MmaShared {
  typedef MmaTile<T, WIDTH> Tile;
  static constexpr int COUNT = MMA_ROWS * WIDTH;
  static constexpr size_t BYTES = 4 * COUNT * sizeof (T);
  SharedAddress memory;

  __device__ __forceinline__ Tile
  k (int stage) const
  {
    return Tile{ memory + 2 * stage * COUNT * (int) sizeof (T) };
  }
  __device__ __forceinline__ Tile
  v (int stage) const
  {
    return Tile{ memory + (2 * stage + 1) * COUNT * (int) sizeof (T) };
  }
};

/* What a lane holds: fragments of its warp's queries and results, and of its
 * rows g and g + 8 the running maximum and its own part of the sum. */
template <int WIDTH> struct MmaState {
  uint32_t q[WIDTH / 16][4];
  float y[WIDTH / 8][4];
  float largest[2], sum[2];
};

typedef float MmaScores[MMA_ROWS / 8][4]; /* 8 keys a fragment */

template <typename T, int WIDTH>
static __device__ __forceinline__ void
mma_take_queries (MmaState<WIDTH> &state, const MmaTile<T, WIDTH> &q)
{
  int lane = threadIdx.x % WARP, first = threadIdx.x / WARP * 16;
  state = {};
  state.largest[0] = state.largest[1] = -INFINITY;
  auto place = q.place (first + lane % 16, lane / 16);
  for (int i = 0; i < WIDTH / 16; i++)
    load_matrices (state.q[i], place.at (0, i), T ());
}

#define MMA_GROUPS (MMA_ROWS / 16)

/* Of 64 keys, those that the warp's rows see, the same for all its lanes. */
struct MmaSeen {
  int groups; /* of 16 keys, up to the last that a row sees */
  bool all;   /* every row sees every key */
};

/* Keys from `at` on; a warp without queries sees none. */
template <typename T>
static __device__ __forceinline__ MmaSeen
mma_seen (const AttQueries<T> &queries, int at)
{
  int first = threadIdx.x / WARP * 16, end = min (first + 16, queries.n);
  AttRange least = queries.range (first), most = queries.range (end - 1);
  int groups = first < end ? (most.high - at + 16) / 16 : 0;
  MmaSeen seen = { min (max (groups, 0), MMA_GROUPS),
    first < end && at > most.low && at + MMA_ROWS - 1 <= least.high };
  return seen;
}

/* Below, ALL: every row sees every key, and there is nothing to ask. */
template <bool ALL, typename T, int WIDTH>
static __device__ __forceinline__ void
mma_scores (MmaScores &s, const MmaState<WIDTH> &state,
    const MmaTile<T, WIDTH> &k, int groups)
{
  int lane = threadIdx.x % WARP;
  auto place = k.place (lane / 16 * 8 + lane % 8, lane / 8 % 2);
  uint32_t b[4];
#pragma unroll 4
  for (int j = 0; j < MMA_GROUPS; j++)
    if (ALL || j < groups)
      for (int i = 0; i < WIDTH / 16; i++) {
        load_matrices (b, place.at (16 * j, i), T ());
        mma (s[2 * j], state.q[i], b, T ());
        mma (s[2 * j + 1], state.q[i], b + 2, T ());
      }
}

/* Over the four lanes that share a row. */
static __device__ __forceinline__ float
quad_max (float x)
{
  x = fmaxf (x, __shfl_xor_sync (ALL_LANES, x, 1));
  return fmaxf (x, __shfl_xor_sync (ALL_LANES, x, 2));
}

static __device__ __forceinline__ float
quad_sum (float x)
{
  x += __shfl_xor_sync (ALL_LANES, x, 1);
  return x + __shfl_xor_sync (ALL_LANES, x, 2);
}

/* Makes weights of the scores of row g (half 0) or g + 8 (half 1), key 0 of
 * them being `at`; scale, above 0, is for powers of two. A row that has seen
 * nothing yet has a maximum of minus infinity, and weights of 0. */
template <bool ALL, int WIDTH>
static __device__ __forceinline__ void
mma_weigh (MmaState<WIDTH> &state, MmaScores &s, int half, AttRange range,
    int groups, int at, float scale)
{
  int key = at + threadIdx.x % 4 * 2;
  float before = state.largest[half], largest = before, sum = 0;
#pragma unroll 4
  for (int j = 0; j < MMA_GROUPS; j++)
    for (int i = 0; i < 4 && (ALL || j < groups); i++) {
      float *x = &s[2 * j + i / 2][2 * half + i % 2];
      if (!ALL && !range.has (key + j * 16 + i / 2 * 8 + i % 2))
        *x = -INFINITY;
      largest = fmaxf (largest, *x);
    }
  state.largest[half] = largest = quad_max (largest);
  float base = largest == -INFINITY ? 0 : largest * scale;
#pragma unroll 4
  for (int j = 0; j < MMA_GROUPS; j++)
    for (int i = 0; i < 4 && (ALL || j < groups); i++) {
      float *x = &s[2 * j + i / 2][2 * half + i % 2];
      sum += *x = power_of_two (*x * scale - base);
    }
  float rescale = power_of_two (before * scale - base);
  state.sum[half] = state.sum[half] * rescale + sum;
  for (int i = 0; i < WIDTH / 8; i++) {
    state.y[i][2 * half] *= rescale;
    state.y[i][2 * half + 1] *= rescale;
  }
}

/* Two fragments of weights side by side are one of the left operand. */
template <bool ALL, typename T, int WIDTH>
static __device__ __forceinline__ void
mma_add_values (MmaState<WIDTH> &state, const MmaScores &p,
    const MmaTile<T, WIDTH> &v, int groups)
{
  int lane = threadIdx.x % WARP;
  auto place = v.place (lane % 16, lane / 16);
#pragma unroll 4
  for (int j = 0; j < MMA_GROUPS; j++) {
    uint32_t a[4], b[4];
    if (!ALL && j >= groups)
      continue;
    for (int i = 0; i < 4; i++) {
      const float *two = &p[2 * j + i / 2][i % 2 * 2];
      a[i] = pack_pair (two[0], two[1], T ());
    }
    for (int i = 0; i < WIDTH / 16; i++) {
      load_transposed (b, place.at (16 * j, i), T ());
      mma (state.y[2 * i], a, b, T ());
      mma (state.y[2 * i + 1], a, b + 2, T ());
    }
  }
}

template <typename T, int WIDTH>
static __device__ __forceinline__ void
mma_finish (MmaState<WIDTH> &state, const AttQueries<T> &queries, int c)
{
  int lane = threadIdx.x % WARP, first = threadIdx.x / WARP * 16 + lane / 4;
  for (int half = 0; half < 2; half++) {
    int row = first + 8 * half;
    float share = 1 / quad_sum (state.sum[half]);
    T *y = queries.y + (size_t) row * queries.stride + lane % 4 * 2;
    for (int i = 0; i < WIDTH / 8; i++)
      if (row < queries.n && i * 8 < c)
        *(uint32_t *) (y + i * 8) = pack_pair (state.y[i][2 * half] * share,
            state.y[i][2 * half + 1] * share, T ());
  }
}

/* Heads of c <= WIDTH channels, a multiple of 8, rows aligned to 16 bytes. */
template <typename T, int WIDTH> struct AttMma {
  typedef T Act;
  static constexpr int BLOCKS = WIDTH <= 64 ? 4 : 2; /* beside each other */
  static constexpr int QUERIES = MMA_ROWS;

  static size_t
  bytes (int)
  {
    return MmaShared<T, WIDTH>::BYTES;
  }

  template <typename Keys>
  static __device__ void
  fill (const MmaShared<T, WIDTH> &shared, int stage, const Keys &keys, int at,
      int last, int c)
  {
    int n = last + 1 - at;
    shared.k (stage).fill (keys.key (at), keys.stride (), n, c);
    shared.v (stage).fill (keys.value (at), keys.stride (), n, c);
  }

  /* 64 keys from `at` on, of which the warp's rows see some. */
  template <bool ALL>
  static __device__ __forceinline__ void
  step (MmaState<WIDTH> &state, const MmaShared<T, WIDTH> &shared, int stage,
      const AttQueries<T> &queries, int groups, int at, float scale)
  {
    int row = threadIdx.x / WARP * 16 + threadIdx.x % WARP / 4;
    MmaScores s = {};
    mma_scores<ALL> (s, state, shared.k (stage), groups);
    for (int half = 0; half < 2; half++)
      mma_weigh<ALL> (
          state, s, half, queries.range (row + 8 * half), groups, at, scale);
    mma_add_values<ALL> (state, s, shared.v (stage), groups);
  }

  /* Keys `first`, rounded down to a whole step, to `last`. */
  template <typename Keys>
  static __device__ void
  run (void *memory, const AttQueries<T> &queries, const Keys &keys, int first,
      int last, int c, float scale)
  {
    MmaShared<T, WIDTH> shared = { shared_address (memory) };
    MmaState<WIDTH> state;
    int stage = 0;
    first = first / MMA_ROWS * MMA_ROWS;
    shared.k (1).fill (queries.q, queries.stride, queries.n, c);
    fill (shared, 0, keys, first, last, c);
    copies_wait ();
    __syncthreads ();
    mma_take_queries (state, shared.k (1));
    for (int at = first; at <= last; at += MMA_ROWS, stage ^= 1) {
      copies_wait ();
      __syncthreads (); /* the other stage is free, this one is complete */
      if (at + MMA_ROWS <= last)
        fill (shared, stage ^ 1, keys, at + MMA_ROWS, last, c);
      MmaSeen seen = mma_seen (queries, at);
      if (seen.all)
        step<true> (
            state, shared, stage, queries, MMA_GROUPS, at, scale * LOG2_E);
      else if (seen.groups > 0)
        step<false> (
            state, shared, stage, queries, seen.groups, at, scale * LOG2_E);
    }
    mma_finish (state, queries, c);
  }
};
