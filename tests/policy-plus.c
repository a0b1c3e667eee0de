/* policy-plus.c - hired-plus against its definition, done plainly
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#include <math.h>

#include "engine/error.h"
#include "engine/policy-hired.h"
#include "tests/policy-bed.h"

/* How alike two patches are that may be neighbours, 0 if they are none: their
 * cosine, looked up from the upper or left one; in tile 0 always 1. */
static float
likeness (const VlmPolicyInput *input, int a, int b)
{
  int S = input->geometry.side, up = MIN (a, b), low = MAX (a, b);
  int y = up / S, x = up % S, dy = low / S - y, dx = low % S - x;

  if (a == b || up / (S * S) != low / (S * S) || ABS (dx) > 1 || dy > 1)
    return 0;
  return up < S * S ? 1 : input->near[4 * up + (dy == 0 ? 0 : 2 + dx)];
}

static int
line_of (const VlmTileGeometry *g, int id)
{
  int S = g->side, t = id / (S * S) - 1;

  return t / g->cols * S + id % (S * S) / S;
}

/* Spends n on ids[count]: the best, the others made less, and again. With
 * `ended` a patch that opens a line pays for its end too, but for the last. */
static void
mark_best (const VlmPolicyInput *input, float strength, const int *ids,
    int count, float *score, int n, gboolean *kept, gboolean *ended)
{
  for (int i = 0; i < n; i++) {
    int best = -1;

    for (int j = 0; j < count; j++)
      if (!kept[ids[j]] && (best < 0 || score[ids[j]] > score[best]))
        best = ids[j];
    kept[best] = TRUE;
    if (ended && i + 1 < n && !ended[line_of (&input->geometry, best)]) {
      ended[line_of (&input->geometry, best)] = TRUE;
      i++;
    }
    for (int j = 0; j < count; j++)
      score[ids[j]] *= 1 - strength * MAX (likeness (input, best, ids[j]), 0);
  }
}

static void
weigh (const VlmPolicyInput *input, double *weight)
{
  const VlmTileGeometry *g = &input->geometry;
  int S = g->side;
  double first = 0, last = 0;

  for (int j = 0; j < S * S; j++) {
    first += input->cls_first[j];
    last += input->cls_last[j];
  }
  for (int j = 0; j < S * S; j++)
    weight[vlm_hired_area (g, j / S, j % S)] +=
        input->cls_first[j] / first + input->cls_last[j] / last;
}

/* `full` tokens of tile 0 and `parts` of the others. */
static void
mark (const VlmPolicyInput *input, int full, int parts, gboolean *kept,
    gboolean *ended)
{
  const VlmTileGeometry *g = &input->geometry;
  int N = g->side * g->side, P = vlm_tile_count (g), n = 0;
  g_autofree float *score = g_new (float, P *N);
  g_autofree int *ids = g_new (int, P *N);
  double weight[VLM_MAX_TILES] = { 0 };
  float crowd = 1 - (float) input->param[1], alike = (float) input->param[2];

  weigh (input, weight);
  weight[0] = 1;
  for (int id = 0; id < P * N; id++)
    score[id] = (float) weight[id / N] * input->cls_last[id];
  for (int id = 0; id < N; id++)
    ids[id] = id;
  mark_best (input, crowd, ids, N, score, full, kept, NULL);
  for (int id = N; id < P * N; id++)
    if (eligible (g, id))
      ids[n++] = id;
  mark_best (input, alike, ids, n, score, parts, kept, ended);
}

/* Lines of the canvas that are not all padding. */
static int
count_lines (const VlmTileGeometry *g)
{
  int y, x, n_rows, n_cols;

  vlm_tile_kept (g, &y, &n_rows, &x, &n_cols);
  return n_rows;
}

/* The last row of every line that has an end, and no other. */
static void
check_ends (const Outcome *o, const VlmTileGeometry *g, const gboolean *ended)
{
  const VlmSelection *s = &o->selection;
  int n = 0;

  for (int i = s->per_tile[0]; i < s->n; i++) {
    int line = line_of (g, s->order[i]);

    if (i + 1 < s->n && line_of (g, s->order[i + 1]) == line)
      continue;
    if (ended[line])
      g_assert_cmpint (s->lines[n++], ==, i);
  }
  g_assert_cmpint (n, ==, s->n_lines);
}

static void
check_picture (GRand *rand, int side, int h, int w, double budget)
{
  const VlmPolicy *policy = vlm_policy_find ("hired-plus");
  VlmTileGeometry g = geometry_of (side, 56, h, w, 3, toy_pinpoints);
  int N = side * side, P = vlm_tile_count (&g), sum = N, wanted, full;
  float first[576], last[5 * 576], near[5 * 576 * 4];
  g_auto (Outcome) o = { 0 };
  VlmPolicyInput input = input_of (policy, &g, first, last, budget);
  g_autofree gboolean *kept = g_new0 (gboolean, P * N);
  g_autofree gboolean *ended = g_new0 (gboolean, P * side);
  gboolean ends;

  input.newlines = g_rand_boolean (rand);
  for (int j = 0; j < N; j++)
    first[j] = (float) g_rand_double_range (rand, 0.01, 1);
  for (int id = 0; id < P * N; id++)
    last[id] = (float) g_rand_double_range (rand, 0.01, 1);
  for (int id = N; id < P * N; id++)
    sum += eligible (&g, id);
  for (int i = 0; i < 4 * P * N; i++)
    near[i] = (float) g_rand_double_range (rand, -0.5, 1);
  input.near = near;
  run_policy (policy, &input, &o);
  wanted = MIN ((int) ((budget <= 1 ? budget * P * N : budget) + 1e-6), sum);
  g_assert_cmpint (o.selection.n + o.selection.n_lines, ==, wanted);
  g_assert_true (o.selection.packed == (wanted == sum));
  full = MAX (MIN ((int) (0.5 * wanted + 1e-6), N), wanted - (sum - N));
  ends = input.newlines && !o.selection.packed &&
         wanted - full >= 3 * count_lines (&g);
  mark (&input, full, wanted - full, kept, ends ? ended : NULL);
  check_ends (&o, &g, ended);
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
  float first[16], last[5 * 16], near[5 * 16 * 4];
  g_auto (Outcome) o = { 0 };
  VlmPolicyInput input = input_of (policy, &g, first, last, 8);

  for (int j = 0; j < 16; j++)
    first[j] = 1;
  for (int i = 0; i < 4 * 5 * 16; i++)
    last[i / 4] = near[i] = 1;
  input.near = near;
  run_policy (policy, &input, &o);
  check_list ("0 2 8 10 16 18 24 26", o.order, o.selection.n);
  check_list ("4 4 0 0 0", o.per_tile, 5);
  input.param[1] = 1;
  input.param[2] = 0;
  run_policy (policy, &input, &o);
  check_list ("0..3 16..19", o.order, o.selection.n);
}

/* One tile has nobody to share with: the plain ranking. */
static void
test_one_tile (void)
{
  const VlmPolicy *policy = vlm_policy_find ("hired-plus");
  VlmTileGeometry g = {
    .side = 4, .tile_px = 56, .img_h = 56, .img_w = 56, .fit_h = 56, .fit_w = 56
  };
  float first[16], last[16], near[16 * 4];
  g_auto (Outcome) o = { 0 };
  VlmPolicyInput input = input_of (policy, &g, first, last, 4);

  for (int i = 0; i < 16 * 4; i++)
    first[i / 4] = near[i] = 1, last[i / 4] = (float) (16 - i / 4);
  input.near = near;
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
    float first[16], last[5 * 16], near[5 * 16 * 4] = { 0 };
    g_auto (Outcome) o = { 0 };
    VlmPolicyInput input = input_of (policy, &g, first, last, 10);

    input.near = near;
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
