/* networks-wish.c - policies that keep what the test tells them
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#include "tests/networks-vision.h"

#include <string.h>

#include "engine/error.h"

Wish wish;

/* count values, or none expected. */
static void
see (float *seen, const float *tap, gboolean expected, gsize count)
{
  g_assert_cmpint (tap != NULL, ==, expected);
  if (tap)
    memcpy (seen, tap, count * sizeof *seen);
}

static gboolean
plan_by (
    unsigned taps, const VlmPolicyInput *input, int *per_tile, gboolean *all)
{
  see (wish.first, input->cls_first, (taps & VLM_TAP_CLS_FIRST) != 0, N);
  see (wish.plan_last, input->cls_last, (taps & VLM_TAP_CLS_LAST) != 0, N);
  see (wish.plan_next, input->cls_next, (taps & VLM_TAP_CLS_NEXT) != 0, N);
  see (wish.plan_key, input->key, (taps & VLM_TAP_KEYS_LAST) != 0,
      N * C / HEADS);
  memcpy (per_tile, wish.per_tile, wish.n_tiles * sizeof (int));
  *all = FALSE;
  return TRUE;
}

static gboolean
select_by (unsigned taps, const VlmPolicyInput *input, VlmSelection *selection,
    GError **error)
{
  gsize rows = wish.n_tiles * N;

  see (wish.last, input->cls_last, (taps & VLM_TAP_CLS_LAST) != 0, rows);
  see (wish.next, input->cls_next, (taps & VLM_TAP_CLS_NEXT) != 0, rows);
  see (wish.key, input->key, (taps & VLM_TAP_KEYS_LAST) != 0, rows * C / HEADS);
  see (
      wish.cosine, input->cosine, (taps & VLM_TAP_COSINES_NEXT) != 0, rows * N);
  see (wish.near, input->near, (taps & VLM_TAP_NEAR_LAST) != 0, rows * 4);
  g_assert_cmpint (input->key_width, ==, C / HEADS);
  selection->n = wish.n;
  selection->merged = wish.merge;
  memcpy (selection->order, wish.order, wish.n * sizeof (int));
  if (wish.merge) {
    memcpy (selection->start, wish.start, (wish.n + 1) * sizeof (int));
    memcpy (selection->source, wish.source, sizeof wish.source);
    memcpy (selection->weight, wish.weight, sizeof wish.weight);
  }
  if (wish.refuse)
    g_set_error (error, VLM_ERROR, VLM_ERROR_REQUEST, "no");
  return !wish.refuse;
}

static int
wish_entries (const VlmPolicyInput *input)
{
  return G_N_ELEMENTS (wish.source);
}

#define LATE_TAPS (VLM_TAP_CLS_FIRST | VLM_TAP_CLS_LAST | VLM_TAP_KEYS_LAST)

/* A policy with these taps: NAME_policy. */
#define WISH(NAME, PLAN, SELECT)                                               \
  static gboolean NAME##_plan (const VlmPolicyInput *input, int *per_tile,     \
      gboolean *all, GError **error)                                           \
  {                                                                            \
    return plan_by (PLAN, input, per_tile, all);                               \
  }                                                                            \
  static gboolean NAME##_select (                                              \
      const VlmPolicyInput *input, VlmSelection *selection, GError **error)    \
  {                                                                            \
    return select_by ((PLAN) | (SELECT), input, selection, error);             \
  }                                                                            \
  const VlmPolicy NAME##_policy = { .name = #NAME,                             \
    .plan_taps = PLAN,                                                         \
    .select_taps = SELECT,                                                     \
    .plan = NAME##_plan,                                                       \
    .select = NAME##_select,                                                   \
    .entries = wish_entries };

WISH (wish, VLM_TAP_CLS_FIRST, VLM_TAP_CLS_LAST | VLM_TAP_NEAR_LAST)
WISH (blind, 0, 0)
WISH (keys, 0, VLM_TAP_KEYS_LAST)
WISH (late, LATE_TAPS, VLM_TAP_CLS_LAST)
WISH (next, VLM_TAP_CLS_FIRST, VLM_TAPS_NEXT | VLM_TAP_CLS_LAST)
WISH (early_next, VLM_TAP_CLS_NEXT, VLM_TAP_COSINES_NEXT)

const VlmPolicy *const wishes[N_WISHES] = { &wish_policy, &blind_policy,
  &keys_policy, &late_policy, &next_policy, &early_next_policy };

void
make_wish (int n_tiles, int stride, unsigned without)
{
  wish = (Wish){ .n_tiles = n_tiles };
  for (int j = 0; j < N; j++)
    for (int t = 0; t < n_tiles; t++)
      if (!(without >> t & 1) && (7 * j + 3 * t) % stride == 0) {
        wish.order[wish.n++] = t * N + j;
        wish.per_tile[t]++;
      }
}

void
merge_wish (void)
{
  int e = 0;

  wish.merge = TRUE;
  for (int i = 0; i < wish.n; i++) {
    wish.start[i] = e;
    for (int j = 0; j < i % 4; j++) {
      wish.source[e] = wish.order[(5 * i + 3 * j) % wish.n];
      wish.weight[e++] = 1.0f / (1 + j) - 0.25f * (i % 3);
    }
  }
  wish.start[wish.n] = e;
}
