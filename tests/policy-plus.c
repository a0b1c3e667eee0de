/* policy-plus.c - hired-plus against its definition, done by sorting
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#include <math.h>

#include "engine/error.h"
#include "engine/policy-hired.h"
#include "tests/policy-bed.h"

typedef struct {
  float score;
  int id;
} Candidate;

static int
compare_candidates (gconstpointer a, gconstpointer b)
{
  const Candidate *p = a, *q = b;

  return p->score != q->score ? (p->score < q->score) - (p->score > q->score)
                              : p->id - q->id;
}

/* Marks n of tile 0: the best, its neighbours made less, and again. */
static void
mark_base (const VlmPolicyInput *input, int n, gboolean *kept)
{
  int S = input->geometry.side;
  double score[576];

  for (int j = 0; j < S * S; j++)
    score[j] = input->cls_last[j];
  for (int i = 0; i < n; i++) {
    int best = -1;

    for (int j = 0; j < S * S; j++)
      if (!kept[j] && (best < 0 || score[j] > score[best]))
        best = j;
    kept[best] = TRUE;
    for (int j = 0; j < S * S; j++)
      if (ABS (j / S - best / S) <= 1 && ABS (j % S - best % S) <= 1)
        score[j] = (float) score[j] * (float) input->param[1];
  }
}

static void
mark_tiles (const VlmPolicyInput *input, int n, gboolean *kept)
{
  const VlmTileGeometry *g = &input->geometry;
  int S = g->side, N = S * S, P = vlm_tile_count (g);
  g_autoptr (GArray) list = g_array_new (FALSE, FALSE, sizeof (Candidate));
  double weight[VLM_MAX_TILES] = { 0 }, first = 0, last = 0;

  for (int j = 0; j < N; j++) {
    first += input->cls_first[j];
    last += input->cls_last[j];
  }
  for (int j = 0; j < N; j++)
    weight[vlm_hired_area (g, j / S, j % S)] +=
        input->cls_first[j] / first + input->cls_last[j] / last;
  for (int id = N; id < P * N; id++) {
    Candidate c = { (float) weight[id / N] * input->cls_last[id], id };

    if (eligible (g, id))
      g_array_append_val (list, c);
  }
  g_array_sort (list, compare_candidates);
  for (int i = 0; i < n; i++)
    kept[g_array_index (list, Candidate, i).id] = TRUE;
}

static void
check_picture (GRand *rand, int side, int h, int w, double budget)
{
  const VlmPolicy *policy = vlm_policy_find ("hired-plus");
  VlmTileGeometry g = geometry_of (side, 56, h, w, 3, toy_pinpoints);
  int N = side * side, P = vlm_tile_count (&g), sum = N, wanted, full;
  float first[576], last[5 * 576];
  g_auto (Outcome) o = { 0 };
  VlmPolicyInput input = input_of (policy, &g, first, last, budget);
  g_autofree gboolean *kept = g_new0 (gboolean, P * N);

  for (int j = 0; j < N; j++)
    first[j] = (float) g_rand_double_range (rand, 0.01, 1);
  for (int id = 0; id < P * N; id++)
    last[id] = (float) g_rand_double_range (rand, 0.01, 1);
  for (int id = N; id < P * N; id++)
    sum += eligible (&g, id);
  run_policy (policy, &input, &o);
  wanted = MIN ((int) ((budget <= 1 ? budget * P * N : budget) + 1e-6), sum);
  g_assert_cmpint (o.selection.n, ==, wanted);
  g_assert_true (o.selection.packed == (wanted == sum));
  full = MAX (MIN ((int) (0.35 * wanted + 1e-6), N), wanted - (sum - N));
  mark_base (&input, full, kept);
  mark_tiles (&input, wanted - full, kept);
  for (int i = 0; i < o.selection.n; i++) {
    g_assert_true (kept[o.order[i]]);
    kept[o.order[i]] = FALSE;
  }
}

static void
test_sets (void)
{
  static const double budgets[] = { 0, 0.01, 0.05, 0.1, 0.2, 0.4, 0.7, 0.9, 1,
    17, 100 };
  GRand *rand = g_rand_new_with_seed (11);

  for (int i = 0; i < 300; i++)
    check_picture (rand, i % 3 == 2 ? 8 : 4, g_rand_int_range (rand, 20, 300),
        g_rand_int_range (rand, 20, 300),
        budgets[g_rand_int_range (rand, 0, G_N_ELEMENTS (budgets))]);
  g_rand_free (rand);
}

/* Equal scores: the lower tile, the lower patch. */
static void
test_ties (void)
{
  const VlmPolicy *policy = vlm_policy_find ("hired-plus");
  VlmTileGeometry g = geometry_of (4, 56, 112, 112, 3, toy_pinpoints);
  float first[16], last[5 * 16];
  g_auto (Outcome) o = { 0 };
  VlmPolicyInput input = input_of (policy, &g, first, last, 10);

  for (int j = 0; j < 16; j++)
    first[j] = 1;
  for (int id = 0; id < 5 * 16; id++)
    last[id] = 1;
  run_policy (policy, &input, &o);
  check_list ("0 2 8 16 17 18 19 20 21 22", o.order, o.selection.n);
  check_list ("3 7 0 0 0", o.per_tile, 5);
}

/* One tile has nobody to share with: the plain ranking. */
static void
test_one_tile (void)
{
  const VlmPolicy *policy = vlm_policy_find ("hired-plus");
  VlmTileGeometry g = {
    .side = 4, .tile_px = 56, .img_h = 56, .img_w = 56, .fit_h = 56, .fit_w = 56
  };
  float first[16], last[16];
  g_auto (Outcome) o = { 0 };
  VlmPolicyInput input = input_of (policy, &g, first, last, 4);

  for (int j = 0; j < 16; j++)
    first[j] = 1, last[j] = (float) (16 - j);
  run_policy (policy, &input, &o);
  check_list ("0 1 2 3", o.order, o.selection.n);
}

static void
test_not_a_number (void)
{
  const VlmPolicy *policy = vlm_policy_find ("hired-plus");
  VlmTileGeometry g = geometry_of (4, 56, 112, 112, 3, toy_pinpoints);

  for (int bad = 0; bad < 3; bad++) {
    g_autoptr (GError) error = NULL;
    float first[16], last[5 * 16];
    g_auto (Outcome) o = { 0 };
    VlmPolicyInput input = input_of (policy, &g, first, last, 10);

    for (int id = 0; id < 5 * 16; id++)
      last[id] = first[id % 16] = 1;
    *(bad == 0 ? &first[3] : bad == 1 ? &last[5] : &last[40]) = NAN;
    vlm_selection_init (&o.selection, policy, &input);
    g_assert_true (policy->plan (&input, o.selection.per_tile, &o.all, NULL));
    g_assert_false (choose_rows (policy, &input, &o.selection, &error));
    g_assert_error (error, VLM_ERROR, VLM_ERROR_REQUEST);
  }
}

int
main (int argc, char **argv)
{
  g_test_init (&argc, &argv, NULL);
  g_test_add_func ("/policy-plus/sets", test_sets);
  g_test_add_func ("/policy-plus/ties", test_ties);
  g_test_add_func ("/policy-plus/one-tile", test_one_tile);
  g_test_add_func ("/policy-plus/not-a-number", test_not_a_number);
  return g_test_run ();
}
