/* attention-decode.cu - one token's attention, its keys split among blocks
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * A block takes 128 keys of one key head and all query heads that read it
 * (eight at most), a warp every fourth group of four keys, its lanes the
 * channels; a second kernel joins the splits (Dao et al., Flash-Decoding,
 * 2023). Bound by memory: 2 kv_len k c act_bytes. Where splits begin depends
 * on the sequence alone.
 */
#include "kernels/cuda/attention.cuh"
#include "kernels/cuda/paged.cuh"

#define THREADS 128
#define WARPS (THREADS / WARP)
#define SPLIT 128
#define GROUP 8 /* query heads of a block */
#define STEP 4  /* keys at a time */

/* What a split leaves of a query head: maximum, sum, values [c]. */
static __host__ __device__ __forceinline__ int
part_floats (int c)
{
  return 2 + c;
}

template <int PER> struct DecodeState {
  float largest[GROUP], sum[GROUP], y[GROUP][PER];
};

/* STEP keys from `first` on, those outside low .. high unseen. */
template <typename T, int PER>
static __device__ __forceinline__ void
add_keys (DecodeState<PER> &state, const float (*q)[PER],
    const PagedKeys<T> &keys, int first, int low, int high, int n_heads, int c,
    float scale)
{
  int lane = threadIdx.x % WARP;
  float k[STEP][PER], v[STEP][PER];
  for (int j = 0; j < STEP; j++)
    for (int i = 0; i < PER; i++) {
      bool seen = first + j >= low && first + j <= high && lane + i * WARP < c;
      k[j][i] = seen ? to_float (keys.key (first + j)[lane + i * WARP]) : 0;
      v[j][i] = seen ? to_float (keys.value (first + j)[lane + i * WARP]) : 0;
    }
  for (int head = 0; head < n_heads; head++) {
    float score[STEP], largest = state.largest[head];
    for (int j = 0; j < STEP; j++) {
      float sum = 0;
      for (int i = 0; i < PER; i++)
        sum += q[head][i] * k[j][i];
      score[j] = scale * warp_sum (sum);
      if (first + j >= low && first + j <= high)
        largest = fmaxf (largest, score[j]);
    }
    float before = state.largest[head];
    float rescale = largest == before ? 1 : expf (before - largest);
    state.largest[head] = largest;
    state.sum[head] *= rescale;
    for (int i = 0; i < PER; i++)
      state.y[head][i] *= rescale;
    for (int j = 0; j < STEP; j++) {
      bool seen = first + j >= low && first + j <= high;
      float p = seen ? expf (score[j] - largest) : 0;
      state.sum[head] += p;
      for (int i = 0; i < PER; i++)
        state.y[head][i] += p * v[j][i];
    }
  }
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
    /* A part without keys has no weight; one of NaN only has a maximum of
     * minus infinity too, but a sum. */
    float weight = part[1] == 0          ? 0
                   : part[0] == *largest ? 1
                                         : expf (part[0] - *largest);
    *sum += part[1] * weight;
    y += part[2 + channel] * weight;
  }
  return y;
}

/* The warps' states as parts in shared memory, [heads,WARPS]. */
template <int PER>
static __device__ void
leave_parts (float *parts, const DecodeState<PER> &state, int n_heads, int c)
{
  int lane = threadIdx.x % WARP, warp = threadIdx.x / WARP;
  for (int head = 0; head < n_heads; head++) {
    float *part = parts + (head * WARPS + warp) * part_floats (c);
    if (lane == 0) {
      part[0] = state.largest[head];
      part[1] = state.sum[head];
    }
    for (int i = 0; i < PER; i++)
      if (lane + i * WARP < c)
        part[2 + lane + i * WARP] = state.y[head][i];
  }
}

/* out: parts [n_seqs,h,n_splits], or NULL if there is one split: then y is
 * written. */
template <typename T, int PER>
__global__ void
__launch_bounds__ (THREADS)
    decode_kernel (PagedArgs<T> a, float *out, int n_splits)
{
  DYNAMIC_SHARED (float, parts);
  int s = blockIdx.z, group = a.h / a.n_kv_heads;
  int n_groups = (group + GROUP - 1) / GROUP;
  int kv_head = blockIdx.y / n_groups, from = blockIdx.y % n_groups * GROUP;
  int head = kv_head * group + from, n_heads = min (group - from, GROUP);
  int length = a.kv_len[s], first = blockIdx.x * SPLIT;
  int low = a.window > 0 ? max (length - a.window, 0) : 0;
  int high = min (first + SPLIT, length) - 1;
  int lane = threadIdx.x % WARP, row = a.q_start[s];
  if (a.q_start[s + 1] - row != 1)
    return;
  PagedKeys<T> keys = keys_of (a, s, kv_head);
  DecodeState<PER> state = {};
  float q[GROUP][PER];
  for (int i = 0; i < GROUP; i++) {
    state.largest[i] = -INFINITY;
    for (int k = 0; k < PER; k++) {
      bool there = i < n_heads && lane + k * WARP < a.c;
      const T *from_q = a.q + ((size_t) row * a.h + head + i) * a.c;
      q[i][k] = there ? to_float (from_q[lane + k * WARP]) : 0;
    }
  }
  for (int at = first + threadIdx.x / WARP * STEP; at <= high;
       at += WARPS * STEP)
    add_keys<T, PER> (state, q, keys, at, low, high, n_heads, a.c, a.scale);
  leave_parts (parts, state, n_heads, a.c);
  __syncthreads ();
  for (int at = threadIdx.x; at < n_heads * a.c; at += THREADS) {
    int i = at / a.c, channel = at % a.c;
    float largest, sum;
    float y = join (parts + i * WARPS * part_floats (a.c), WARPS,
        part_floats (a.c), channel, &largest, &sum);
    size_t to = (size_t) row * a.h + head + i;
    if (!out) {
      store (&a.y[to * a.c + channel], y / sum);
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

template <typename T>
__global__ void
join_kernel (PagedArgs<T> a, const float *parts, int n_splits)
{
  int s = blockIdx.y, head = blockIdx.x, row = a.q_start[s];
  float largest, sum;
  if (a.q_start[s + 1] - row != 1)
    return;
  parts += ((size_t) s * a.h + head) * n_splits * part_floats (a.c);
  int used = (a.kv_len[s] + SPLIT - 1) / SPLIT;
  for (int i = threadIdx.x; i < a.c; i += THREADS) {
    float y = join (parts, used, part_floats (a.c), i, &largest, &sum);
    store (&a.y[((size_t) row * a.h + head) * a.c + i], y / sum);
  }
}

template <typename T>
void
attend_single (Device *dev, const PagedArgs<T> &args, int max_kv_len)
{
  int n_splits = (max_kv_len + SPLIT - 1) / SPLIT;
  int group = args.h / args.n_kv_heads;
  int n_groups = (group + GROUP - 1) / GROUP;
  size_t part = part_floats (args.c) * sizeof (float);
  float *parts = NULL;
  if (n_splits > 1) {
    parts = (float *) cuda_scratch (
        dev, (size_t) args.n_seqs * args.h * n_splits * part);
    if (!parts)
      return;
  }
  with_per (args.c, [&] (auto per) {
    auto kernel = decode_kernel<T, decltype (per)::value>;
    LAUNCH (kernel, dim3 (n_splits, args.n_kv_heads * n_groups, args.n_seqs),
        THREADS, min (group, GROUP) * WARPS * part, cuda_stream (dev), args,
        parts, n_splits);
  });
  if (parts)
    LAUNCH (join_kernel<T>, dim3 (args.h, args.n_seqs), THREADS, 0,
        cuda_stream (dev), args, (const float *) parts, n_splits);
}

template void attend_single<float> (Device *, const PagedArgs<float> &, int);
template void attend_single<__nv_bfloat16> (
    Device *, const PagedArgs<__nv_bfloat16> &, int);
template void attend_single<__half> (Device *, const PagedArgs<__half> &, int);
