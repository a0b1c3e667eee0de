/* sample.cu - logits to an id
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Greedy: the first largest. Else, as kernels/cpu/sample.c: temperature,
 * top-k, top-p, one draw walked through the ids in ascending order. Instead
 * of sorting, thresholds are found digit by digit over keys that order as the
 * logits do; probabilities are summed as integers of 2^-40, so that no order
 * of additions shows. One block; bound by its passes over the logits.
 */
#include "kernels/cuda/common.cuh"

#define THREADS 1024
#define DIGITS 256
#define MASS_BITS 40
#define AHEAD 8 /* logits that a thread has asked for before it uses one */

typedef unsigned long long Mass;

/* Ascending keys for ascending numbers; both zeros have the same. */
static __device__ __forceinline__ unsigned
key_of (float x)
{
  unsigned bits = x == 0 ? 0 : __float_as_uint (x);
  return bits & 0x80000000 ? ~bits : bits | 0x80000000;
}

/* Calls f with each id and its logit, all lanes of a warp at once: past the
 * last id with NaN. */
template <typename F>
static __device__ __forceinline__ void
each_logit (const float *logits, int v, F f)
{
  for (int first = threadIdx.x; first < v + (int) threadIdx.x;
       first += AHEAD * THREADS) {
    float x[AHEAD];
    for (int k = 0; k < AHEAD; k++)
      x[k] = first + k * THREADS < v ? logits[first + k * THREADS] : NAN;
    for (int k = 0; k < AHEAD; k++)
      f (first + k * THREADS, x[k]);
  }
}

__global__ void
penalise_kernel (float *logits, const int *seen, int n, float penalty)
{
  int i = blockIdx.x * THREADS + threadIdx.x;
  begin_early ();
  if (i >= n)
    return;
  float *x = &logits[seen[i]];
  *x = *x > 0 ? *x / penalty : *x * penalty;
}

/* ---- greedy ---- */

/* The larger logit, of equal ones the lower id; id -1 is none. */
static __device__ __forceinline__ void
take_larger (float *x, int *id, float other, int other_id)
{
  bool better = other_id >= 0 &&
                (*id < 0 || other > *x || (other == *x && other_id < *id));
  *x = better ? other : *x;
  *id = better ? other_id : *id;
}

static __device__ void
warp_largest (float *x, int *id)
{
  for (int bits = WARP / 2; bits; bits /= 2) {
    float other = __shfl_xor_sync (ALL_LANES, *x, bits);
    int other_id = __shfl_xor_sync (ALL_LANES, *id, bits);
    take_larger (x, id, other, other_id);
  }
}

static __device__ int
block_largest (const float *logits, int v)
{
  __shared__ float best[WARP];
  __shared__ int best_id[WARP];
  int lane = threadIdx.x % WARP, warp = threadIdx.x / WARP, id = -1;
  float x = 0;
  each_logit (logits, v, [&] (int i, float other) {
    if (!isnan (other))
      take_larger (&x, &id, other, i);
  });
  warp_largest (&x, &id);
  if (lane == 0) {
    best[warp] = x;
    best_id[warp] = id;
  }
  __syncthreads ();
  x = best[lane];
  id = best_id[lane];
  warp_largest (&x, &id);
  return id;
}

/* NaN at the front is never exceeded: the processor's answer too. */
__global__ void
__launch_bounds__ (THREADS, 1)
    greedy_kernel (int *id, const float *logits, int v)
{
  begin_early ();
  int best = block_largest (logits, v);
  if (threadIdx.x == 0)
    *id = isnan (logits[0]) || best < 0 ? 0 : best;
}

/* ---- drawn ---- */

/* What a pass over the logits counts: each key from `least` on, for 1 or for
 * its probability. */
typedef struct Weights {
  unsigned least;
  float largest;
  bool as_mass;
} Weights;

/* Probability of a logit, not normalised. */
static __device__ __forceinline__ Mass
mass_of (float x, float largest)
{
  return (Mass) (expf (x - largest) * (float) (1ull << MASS_BITS));
}

static __device__ __forceinline__ Mass
weight_of (const Weights &w, float x)
{
  if (key_of (x) < w.least)
    return 0;
  return w.as_mass ? mass_of (x, w.largest) : 1;
}

/* Sum of everybody's x before this thread, and of all in *total. */
static __device__ Mass
block_scan (Mass x, Mass *total)
{
  __shared__ Mass parts[WARP];
  int lane = threadIdx.x % WARP, warp = threadIdx.x / WARP;
  Mass sum = x;
  for (int by = 1; by < WARP; by *= 2) {
    Mass before = __shfl_up_sync (ALL_LANES, sum, by);
    sum += lane >= by ? before : 0;
  }
  __syncthreads ();
  if (lane == WARP - 1)
    parts[warp] = sum;
  __syncthreads ();
  Mass before_warp = 0;
  *total = 0;
  for (int i = 0; i < WARP; i++) {
    before_warp += i < warp ? parts[i] : 0;
    *total += parts[i];
  }
  return before_warp + sum - x;
}

/* Sums of weights by digit, in halves: the GPU adds 32 bits at once, 64 in a
 * loop that waits for everybody else's. */
typedef struct Digits {
  unsigned low[DIGITS], high[DIGITS];
} Digits;

static __device__ __forceinline__ void
add_to_digit (Digits *digits, unsigned digit, Mass weight)
{
  unsigned low = (unsigned) weight;
  unsigned before = atomicAdd (&digits->low[digit], low);
  unsigned high = (unsigned) (weight >> 32) + (before + low < before);
  if (high)
    atomicAdd (&digits->high[digit], high);
}

/* A lane's weight, if it has one. Most of a warp's logits share a few digits:
 * those of the first `common` are added up before. */
static __device__ __forceinline__ void
add_weight (Digits *digits, unsigned digit, Mass weight, int common)
{
  unsigned left;
  while (common-- > 0 && (left = __ballot_sync (ALL_LANES, weight > 0))) {
    unsigned first = __shfl_sync (ALL_LANES, digit, __ffs (left) - 1);
    Mass sum = digit == first ? weight : 0;
    weight -= sum;
    for (int bits = WARP / 2; bits; bits /= 2)
      sum += __shfl_xor_sync (ALL_LANES, sum, bits);
    if (threadIdx.x % WARP == 0)
      add_to_digit (digits, first, sum);
  }
  if (weight > 0)
    add_to_digit (digits, digit, weight);
}

/* The key at which the weights, added up from the lowest key on, first exceed
 * `limit`; *below is the weight of all lower keys. */
static __device__ unsigned
find_key (
    const float *logits, int v, const Weights &weights, Mass limit, Mass *below)
{
  __shared__ Digits digits;
  __shared__ Mass found_below;
  __shared__ unsigned found;
  unsigned prefix = 0;
  Mass passed = 0, total;
  for (int shift = 24; shift >= 0; shift -= 8) {
    __syncthreads ();
    if (threadIdx.x < DIGITS)
      digits.low[threadIdx.x] = digits.high[threadIdx.x] = 0;
    __syncthreads ();
    each_logit (logits, v, [&] (int i, float x) {
      unsigned key = key_of (x);
      bool counts =
          i < v && (Mass) key >> (shift + 8) == (Mass) prefix >> (shift + 8);
      add_weight (&digits, key >> shift & 255,
          counts ? weight_of (weights, x) : 0, shift == 24 ? 4 : 1);
    });
    __syncthreads ();
    Mass mine = threadIdx.x < DIGITS ? (Mass) digits.high[threadIdx.x] << 32 |
                                           digits.low[threadIdx.x]
                                     : 0;
    Mass before = passed + block_scan (mine, &total);
    if (before <= limit && before + mine > limit) {
      found = threadIdx.x;
      found_below = before;
    }
    __syncthreads ();
    prefix |= found << shift;
    passed = found_below;
  }
  *below = passed;
  return prefix;
}

/* A thread's run of ids. */
static __device__ __forceinline__ void
run_of_thread (int v, int *first, int *end)
{
  int run = (v + THREADS - 1) / THREADS;
  *first = min ((int) threadIdx.x * run, v);
  *end = min (*first + run, v);
}

/* Which ids are left: keys above `cut`, and of those at it the first ones. */
typedef struct Kept {
  unsigned cut;
  Mass n_at_cut;
} Kept;

/* How many ids at the cut are before this thread's run. */
static __device__ Mass
count_at (const float *logits, int v, unsigned key, Mass *total)
{
  int first, end;
  Mass n = 0;
  run_of_thread (v, &first, &end);
  for (int i = first; i < end; i++)
    n += key_of (logits[i]) == key;
  return block_scan (n, total);
}

static __device__ Mass
sum_weights (const float *logits, int v, const Weights &weights)
{
  Mass sum = 0, total;
  each_logit (logits, v,
      [&] (int i, float x) { sum += i < v ? weight_of (weights, x) : 0; });
  block_scan (sum, &total);
  return total;
}

/* From the lowest up ids are dropped, of equal ones the last first, while
 * their mass together stays within 1 - p; one id always stays. */
static __device__ Kept
keep_top_p (const float *logits, int v, const Weights &mass, float top_p)
{
  Mass total = sum_weights (logits, v, mass), below, n;
  Mass limit = (Mass) ((1 - (double) top_p) * (double) total);
  Kept kept;
  limit = limit < total ? limit : total - 1;
  kept.cut = find_key (logits, v, mass, limit, &below);
  count_at (logits, v, kept.cut, &n);
  float x = __uint_as_float (
      kept.cut & 0x80000000 ? kept.cut ^ 0x80000000 : ~kept.cut);
  Mass dropped = (limit - below) / mass_of (x, mass.largest);
  kept.n_at_cut = n - (dropped < n ? dropped : n - 1);
  return kept;
}

/* Calls f with each kept id of this thread's run and its mass; n_before: ids
 * at the cut before the run. */
template <typename F>
static __device__ __forceinline__ void
each_kept (const float *logits, int v, const Weights &mass, const Kept &kept,
    Mass n_before, F f)
{
  int first, end;
  run_of_thread (v, &first, &end);
  for (int i = first; i < end; i++) {
    unsigned key = key_of (logits[i]);
    if (key > kept.cut || (key == kept.cut && n_before++ < kept.n_at_cut))
      f (i, mass_of (logits[i], mass.largest));
  }
}

/* Walks the kept ids to the share `draw` of their mass. */
static __device__ void
draw_id (int *id, const float *logits, int v, const Weights &mass,
    const Kept &kept, float draw)
{
  Mass total, n_all, sum = 0;
  Mass n_before = count_at (logits, v, kept.cut, &n_all);
  each_kept (
      logits, v, mass, kept, n_before, [&sum] (int, Mass m) { sum += m; });
  Mass walked = block_scan (sum, &total);
  Mass target = (Mass) ((double) draw * (double) total);
  each_kept (logits, v, mass, kept, n_before, [&] (int i, Mass m) {
    if (walked <= target && walked + m > target)
      *id = i;
    walked += m;
  });
}

__global__ void
__launch_bounds__ (THREADS, 1) draw_kernel (int *id, float *logits, int v,
    float temperature, int top_k, float top_p, float draw)
{
  Weights weights = { 0, 0, false };
  Mass below;
  begin_early ();
  for (int i = threadIdx.x; i < v; i += THREADS)
    logits[i] = isnan (logits[i]) ? -INFINITY : logits[i] / temperature;
  __syncthreads ();
  int best = block_largest (logits, v);
  weights.largest = logits[best];
  if (!isfinite (weights.largest)) {
    if (threadIdx.x == 0)
      *id = best;
    return;
  }
  if (top_k > 0 && top_k < v)
    weights.least = find_key (logits, v, weights, (Mass) (v - top_k), &below);
  weights.as_mass = true;
  Kept kept = { weights.least, (Mass) v };
  if (top_p < 1)
    kept = keep_top_p (logits, v, weights, top_p);
  draw_id (id, logits, v, weights, kept, draw);
}

static void
sample (Device *dev, int *id, float *logits, int v, const SampleParams *params)
{
  if (params->repetition_penalty != 1 && params->n_seen > 0)
    LAUNCH_EARLY (penalise_kernel, blocks_for (params->n_seen, THREADS),
        THREADS, 0, dev, logits, params->seen, params->n_seen,
        params->repetition_penalty);
  if (params->temperature <= 0)
    LAUNCH_EARLY (greedy_kernel, 1, THREADS, 0, dev, id, logits, v);
  else
    LAUNCH_EARLY (draw_kernel, 1, THREADS, 0, dev, id, logits, v,
        params->temperature, params->top_k, params->top_p, params->draw);
  cuda_launched (dev, "sample");
}

void
cuda_init_sample (Ops *op)
{
  op->sample = sample;
}
