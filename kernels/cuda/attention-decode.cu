/* attention-decode.cu - one token's attention, its keys split among blocks
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Bound by memory: 2 kv_len k c act_bytes, once for four query heads.
 */
#include "kernels/cuda/attention-decode.cuh"

/* The keys of a split, which lies in one page: k and v are its first's. */
template <typename T> struct SplitKeys {
  const T *k, *v;
  int first, c;

  __device__ size_t
  find (int i, bool *seen) const
  {
    *seen = true;
    return (i - first) * c;
  }
};

static_assert (KV_PAGE_TOKENS % DECODE_SPLIT == 0, "a split lies in one page");

template <typename T, typename Shape>
__global__ void
__launch_bounds__ (DECODE_THREADS)
    decode_kernel (PagedArgs<T> a, float *out, int n_splits)
{
  DYNAMIC_SHARED (float, parts);
  begin_early ();
  int s = blockIdx.z, group = a.h / a.n_kv_heads;
  int n_groups = (group + DECODE_GROUP - 1) / DECODE_GROUP;
  int kv_head = blockIdx.y / n_groups;
  int from = blockIdx.y % n_groups * DECODE_GROUP;
  int length = a.kv_len[s], first = blockIdx.x * DECODE_SPLIT;
  int low = a.window > 0 ? max (length - a.window, 0) : 0;
  int high = min (first + DECODE_SPLIT, length) - 1;
  if (never_here<T> () || a.q_start[s + 1] - a.q_start[s] != 1 ||
      first >= length)
    return;
  PagedKeys<T> all = keys_of (a, s, kv_head);
  SplitKeys<T> keys = { all.key (first), all.value (first), first, a.c };
  decode_block<T, Shape> (parts, a, keys, s, kv_head * group + from,
      min (group - from, DECODE_GROUP), max (first, low), high, out, n_splits);
}

template <typename T>
__global__ void
__launch_bounds__ (DECODE_THREADS)
    join_kernel (PagedArgs<T> a, const float *parts, int n_splits)
{
  int s = blockIdx.y;
  begin_early ();
  if (a.q_start[s + 1] - a.q_start[s] == 1)
    join_block (a, parts, s, blockIdx.x,
        (a.kv_len[s] + DECODE_SPLIT - 1) / DECODE_SPLIT, n_splits);
}

template <typename T>
void
attend_single (Device *dev, const PagedArgs<T> &args, int max_kv_len)
{
  int n_splits = (max_kv_len + DECODE_SPLIT - 1) / DECODE_SPLIT;
  int group = args.h / args.n_kv_heads;
  int n_groups = (group + DECODE_GROUP - 1) / DECODE_GROUP;
  size_t part = part_floats (args.c) * sizeof (float);
  float *parts = NULL;
  if (n_splits > 1) {
    parts = (float *) cuda_scratch (
        dev, (size_t) args.n_seqs * args.h * n_splits * part);
    if (!parts)
      return;
  }
  with_shape (args, group, [&] (auto shape) {
    auto kernel = decode_kernel<T, decltype (shape)>;
    LAUNCH_EARLY (kernel,
        dim3 (n_splits, args.n_kv_heads * n_groups, args.n_seqs),
        DECODE_THREADS, min (group, DECODE_GROUP) * DECODE_WARPS * part, dev,
        args, parts, n_splits);
  });
  if (parts)
    LAUNCH_EARLY (join_kernel<T>, dim3 (args.h, args.n_seqs), DECODE_THREADS, 0,
        dev, args, (const float *) parts, n_splits);
}

template void attend_single<float> (Device *, const PagedArgs<float> &, int);
template void attend_single<__nv_bfloat16> (
    Device *, const PagedArgs<__nv_bfloat16> &, int);
template void attend_single<__half> (Device *, const PagedArgs<__half> &, int);
