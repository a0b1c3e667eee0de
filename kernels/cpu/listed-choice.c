/* listed-choice.c - the best keys of each list, exactly
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#include "kernels/choice.h"
#include "kernels/cpu/listed.h"

static void
choose (int *list, const float *score, int n, int n_most, int n_recent)
{
  int n_chosen = 0, n_at = 0, n_old = n - (n_recent < n ? n_recent : n);
  int n_best = n_most - (n - n_old);
  if (n_most >= n)
    n_best = n_old;
  if (n_best > 0) {
    uint32_t cut = choice_cut (score, n_old, 1, n_old, n_best, &n_at);
    for (int i = 0; i < n_old; i++) {
      uint32_t rank = choice_rank (score[i]);
      if (rank > cut || (rank == cut && n_at-- > 0))
        list[n_chosen++] = i;
    }
  }
  for (int i = n_old; i < n; i++)
    list[n_chosen++] = i;
}

/* A task is a list of a sequence. */
static void
choose_tasks (void *data, int from, int to, int thread)
{
  const Listed *a = data;
  KeyGroup group = a->choice.group;
  int n_lists = listed_lists (group, a->h, a->n_kv_heads);
  for (int task = from; task < to; task++) {
    int s = task / n_lists;
    int row = listed_row (group, task % n_lists, a->h, a->n_kv_heads);
    size_t at = listed_at (a->batch, s, a->h, row);
    if (listed_has_token (a->batch, s))
      choose ((int *) a->lists + at, a->score + at,
          listed_candidates (group, a->batch->kv_len[s]), a->choice.n_most,
          a->choice.n_recent);
  }
}

static void
choose_keys (Device *dev, int *lists, const float *score,
    const PagedBatch *batch, const KeyChoice *choice, int h, int n_kv_heads)
{
  Listed a = { .score = (float *) score,
    .batch = batch,
    .lists = lists,
    .choice = *choice,
    .h = h,
    .n_kv_heads = n_kv_heads };
  int n_lists = listed_lists (choice->group, h, n_kv_heads) * batch->n_seqs;
  size_t cost = (size_t) n_lists * CPU_VALUE / 8 *
                listed_candidates (choice->group, batch->max_kv_len);
  cpu_run (dev, cost, n_lists, 1, choose_tasks, &a);
}

void
cpu_init_listed_choice (Ops *op)
{
  op->choose_keys = choose_keys;
}
