/* listed-choice.cu - the best keys of each list, exactly
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * A block has a list; bound by the five passes over its scores.
 */
#include "kernels/cuda/choice.cuh"
#include "kernels/cuda/listed.cuh"

#define THREADS CHOICE_THREADS

/* The scores of a list. */
struct ListScores {
  const float *score;

  __device__ unsigned
  rank (int i) const
  {
    return choice_rank (score[i]);
  }

  __device__ int
  entry (int i) const
  {
    return i;
  }
};

__global__ void
__launch_bounds__ (THREADS)
    choose_kernel (int *lists, const float *score, const int *q_start,
        const int *kv_len, const int *page_start, KeyChoice choice, int h)
{
  int s = blockIdx.y, row = blockIdx.x * (h / gridDim.x), n_at = 0, m = 0;
  int n = listed_candidates (choice.group, kv_len[s]);
  int n_old = max (n - choice.n_recent, 0);
  int n_best = listed_entries (choice, kv_len[s]) - (n - n_old);
  if (!listed_has_token (q_start, s))
    return;
  lists += listed_at (page_start, s, h, row);
  score += listed_at (page_start, s, h, row);
  if (n_best > 0) {
    ListScores scores = { score };
    unsigned cut = choice_cut (scores, n_old, n_best, &n_at);
    m = choice_collect (lists, scores, n_old, cut, n_at);
  }
  for (int i = n_old + threadIdx.x; i < n; i += THREADS)
    lists[m + i - n_old] = i;
}

static void
choose_keys (Device *dev, int *lists, const float *score,
    const PagedBatch *batch, const KeyChoice *choice, int h, int n_kv_heads)
{
  if (batch->n_seqs == 0)
    return;
  dim3 grid (listed_lists (choice->group, h, n_kv_heads), batch->n_seqs);
  LAUNCH (choose_kernel, grid, THREADS, 0, cuda_stream (dev), lists, score,
      batch->q_start, batch->kv_len, batch->page_start, *choice, h);
  cuda_launched (dev, "choose_keys");
}

void
cuda_init_listed_choice (Ops *op)
{
  op->choose_keys = choose_keys;
}
