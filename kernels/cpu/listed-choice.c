/* listed-choice.c - the best keys of each list, exactly
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Scores become integers that order alike; digit by digit from the top their
 * histogram narrows down where the last winner is. No sorting, and what is
 * collected afterwards is in order by itself.
 */
#include "kernels/cpu/listed.h"

#include <string.h>

#define DIGIT_BITS 11
#define DIGITS (1 << DIGIT_BITS)

/* Ascending ranks for ascending scores; both zeros are one, NaN is the top. */
static uint32_t
rank_of (float x)
{
  uint32_t bits;
  float one_zero = x + 0.0f;
  memcpy (&bits, &one_zero, sizeof bits);
  if (x != x)
    return UINT32_MAX;
  return bits >> 31 ? ~bits : bits | 0x80000000;
}

/* The rank of the n_best-th best of n scores; *n_at of those that have it are
 * among the best. 1 <= n_best <= n. */
static uint32_t
find_cut (const float *score, int n, int n_best, int *n_at)
{
  static const int shifts[] = { 21, 10, 0 };
  uint32_t cut = 0, known = 0;
  for (int pass = 0; pass < 3; pass++) {
    int shift = shifts[pass], digit = DIGITS - 1, count[DIGITS] = { 0 };
    for (int i = 0; i < n; i++) {
      uint32_t rank = rank_of (score[i]);
      if ((rank & known) == cut)
        count[rank >> shift & (DIGITS - 1)]++;
    }
    while (count[digit] < n_best)
      n_best -= count[digit--];
    cut |= (uint32_t) digit << shift;
    known |= (uint32_t) (DIGITS - 1) << shift;
  }
  *n_at = n_best;
  return cut;
}

static void
choose (int *list, const float *score, int n, int n_most, int n_recent)
{
  int n_chosen = 0, n_at = 0, n_old = n - (n_recent < n ? n_recent : n);
  int n_best = n_most - (n - n_old);
  if (n_most >= n)
    n_best = n_old;
  if (n_best > 0) {
    uint32_t cut = find_cut (score, n_old, n_best, &n_at);
    for (int i = 0; i < n_old; i++) {
      uint32_t rank = rank_of (score[i]);
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
