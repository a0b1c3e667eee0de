/* policy.c - guarantees of the policies, their parts, what they refuse
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#include <glib.h>
#include <math.h>
#include <string.h>

#include "engine/error.h"
#include "engine/policy-hired.h"
#include "engine/policy-share.h"
#include "tests/policy-bed.h"

/* ---- parts of hired ---- */

static void
check_allocation (
    int budget, const char *weights, const char *caps, const char *expected)
{
  int weight[8], cap[8], share[8], n = parse_list (weights, weight);
  gint64 wide[8];

  g_assert_cmpint (parse_list (caps, cap), ==, n);
  for (int i = 0; i < n; i++)
    wide[i] = weight[i];
  vlm_share_tokens (budget, wide, cap, n, share);
  check_list (expected, share, n);
}

static void
test_allocation (void)
{
  const char *large = "576 576 576 576", *mixed = "16 12 12 12 12";

  check_allocation (50, "32 8 58 2", large, "16 4 29 1");
  check_allocation (288, "32 8 58 2", large, "92 23 167 6");
  check_allocation (10, "1 1 1 1 1", mixed, "2 2 2 2 2");
  check_allocation (60, "1 1 1 1 1", mixed, "12 12 12 12 12");
  check_allocation (20, "16 12 12 12 12", mixed, "5 4 4 4 3");
  check_allocation (7, "0 0 0", "4 0 4", "4 0 3");
  check_allocation (6, "5 0 0", "4 2 2", "4 1 1");
  check_allocation (0, "5 1", "4 4", "0 0");
}

static void
test_area (void)
{
  static const int pinpoints[1][2] = { { 84, 252 } };
  static const struct {
    int w;
    const char *columns;
  } cases[] = { { 252, "1 1 2 2 3 3" }, { 200, "1 1 2 2 3 3" },
    { 150, "1 2 2 2 2 3" } };

  for (guint i = 0; i < G_N_ELEMENTS (cases); i++) {
    VlmTileGeometry g = geometry_of (6, 84, 84, cases[i].w, 1, pinpoints);
    int found[6];

    for (int x = 0; x < 6; x++)
      found[x] = vlm_hired_area (&g, x % 2 * 5, x);
    check_list (cases[i].columns, found, 6);
  }
}

/* ---- properties ---- */

static gboolean
eligible (const VlmTileGeometry *g, int id)
{
  int S = g->side, N = S * S, t = id / N, j = id % N;
  int y0, h, x0, w, y, x;

  if (t == 0)
    return TRUE;
  vlm_tile_kept (g, &y0, &h, &x0, &w);
  y = (t - 1) / g->cols * S + j / S;
  x = (t - 1) % g->cols * S + j % S;
  return y >= y0 && y < y0 + h && x >= x0 && x < x0 + w;
}

/* Place of a token in the sequence of all tokens. */
static int
place (const VlmTileGeometry *g, int id)
{
  int S = g->side, N = S * S, t = id / N, j = id % N;

  if (t == 0)
    return id;
  return N + ((t - 1) / g->cols * S + j / S) * g->cols * S +
         (t - 1) % g->cols * S + j % S;
}

static int
count_eligible (const VlmTileGeometry *g)
{
  int y, h, x, w;

  vlm_tile_kept (g, &y, &h, &x, &w);
  return g->side * g->side + h * w;
}

/* No token left out of a tile beats one that was kept. */
static void
check_best (const VlmPolicyInput *input, const Outcome *o)
{
  int N = input->geometry.side * input->geometry.side;
  g_autofree gboolean *kept = g_new0 (gboolean, BOUND);

  for (int i = 0; i < o->selection.n; i++)
    kept[o->order[i]] = TRUE;
  for (int t = 0; t < vlm_tile_count (&input->geometry); t++) {
    double worst = INFINITY, best = -INFINITY;
    int n = 0;

    for (int id = t * N; id < (t + 1) * N; id++)
      if (kept[id])
        worst = MIN (worst, input->cls_last[id]), n++;
      else if (eligible (&input->geometry, id))
        best = MAX (best, input->cls_last[id]);
    g_assert_cmpint (n, ==, o->per_tile[t]);
    g_assert_cmpfloat (worst, >=, best);
  }
}

static void
check_hired (const VlmPolicyInput *input, const Outcome *o)
{
  const VlmTileGeometry *g = &input->geometry;
  int M = count_eligible (g);
  double want = input->budget <= 1
                    ? floor (input->budget * vlm_policy_tokens (g) + 1e-6)
                    : floor (input->budget);

  g_assert_cmpint (o->selection.n, ==, MIN (want, M));
  for (int i = 0; i < o->selection.n; i++) {
    g_assert_true (eligible (g, o->order[i]));
    if (i > 0)
      g_assert_cmpint (place (g, o->order[i]), >, place (g, o->order[i - 1]));
  }
  g_assert_cmpint (o->all, ==, o->selection.n == M);
  g_assert_cmpint (o->selection.packed, ==, o->all);
  check_best (input, o);
}

static double
random_budget (int bound)
{
  switch (g_test_rand_int_range (0, 4)) {
  case 0:
    return 1;
  case 1:
    return g_test_rand_int_range (2, 2 * bound + 2);
  default:
    return g_test_rand_double ();
  }
}

/* Few distinct values make ties; one picture in four has no attention to
 * some tiles. */
static void
random_scores (float *score, int n)
{
  int kinds = g_test_rand_int_range (1, 1000);
  gboolean sparse = g_test_rand_int_range (0, 4) == 0;

  for (int i = 0; i < n; i++)
    score[i] = sparse && i > n / 3 ? 0
                                   : (float) g_test_rand_int_range (0, kinds) /
                                         (float) kinds * 16;
}

static void
run_random (void)
{
  static const int sides[] = { 1, 2, 4, 6, 8 };
  int S = sides[g_test_rand_int_range (0, 5)], T = S * 14;
  const int pinpoints[5][2] = { { T, 2 * T }, { 2 * T, T }, { 2 * T, 2 * T },
    { 3 * T, T }, { T, 3 * T } };
  VlmTileGeometry g = geometry_of (S, T, g_test_rand_int_range (1, 900),
      g_test_rand_int_range (1, 900), 5, pinpoints);
  float first[64], last[5 * 64];

  if (g_test_rand_int_range (0, 8) == 0) {
    g.rows = g.cols = 0;
    g.unpad = FALSE;
  }
  random_scores (first, S * S);
  random_scores (last, vlm_policy_tokens (&g));
  for (int i = 0; vlm_policies[i]; i++) {
    VlmPolicyInput input = input_of (vlm_policies[i], &g, first, last,
        random_budget (vlm_policy_tokens (&g)));
    g_auto (Outcome) o = { 0 };

    if (vlm_policies[i]->n_params > 0)
      input.param[0] = g_test_rand_double ();
    run_policy (vlm_policies[i], &input, &o);
    g_assert_cmpint (o.selection.n, <=, vlm_policy_bound (&g));
    if (!strcmp (vlm_policies[i]->name, "hired"))
      check_hired (&input, &o);
  }
}

static void
test_properties (void)
{
  for (int i = 0; i < 3000; i++)
    run_random ();
}

static void
test_single_tile (void)
{
  VlmTileGeometry g = {
    .side = 4, .tile_px = 56, .img_h = 30, .img_w = 70, .fit_h = 56, .fit_w = 56
  };
  float last[16];
  g_auto (Outcome) o = { 0 };

  fill_scores (last, 1, 16, 17, FALSE);
  for (int i = 0; vlm_policies[i]; i++) {
    VlmPolicyInput input = input_of (vlm_policies[i], &g, NULL, last, 0.3);

    run_policy (vlm_policies[i], &input, &o);
    check_list (i < 2 ? "4 9 10 15" : "0..15", o.order, o.selection.n);
    input.budget = 1;
    input.cls_last = NULL;
    run_policy (vlm_policies[i], &input, &o);
    g_assert_true (o.all && o.selection.packed);
    check_list ("0..15", o.order, o.selection.n);
  }
}

/* ---- what is refused ---- */

static void
test_refusals (void)
{
  VlmTileGeometry g = geometry_of (4, 56, 112, 112, 3, toy_pinpoints);
  float first[16] = { 1 }, last[80] = { 0 };
  int per_tile[5], order[80];
  gboolean all;
  GError *error = NULL;

  for (int i = 0; i < 2; i++) {
    const VlmPolicy *policy = vlm_policies[i];
    VlmPolicyInput input = input_of (policy, &g, first, last, 0.3);
    VlmSelection selection = { .order = order, .per_tile = per_tile };

    g_assert_true (policy->plan (&input, per_tile, &all, NULL));
    last[20] = NAN;
    g_assert_false (policy->select (&input, &selection, &error));
    g_assert_error (error, VLM_ERROR, VLM_ERROR_REQUEST);
    g_clear_error (&error);
    last[20] = 0;
    first[3] = NAN;
    g_assert_false (policy->plan (&input, per_tile, &all, &error));
    g_assert_error (error, VLM_ERROR, VLM_ERROR_REQUEST);
    g_clear_error (&error);
    first[3] = 0;
    input.budget = -0.1;
    g_assert_false (policy->plan (&input, per_tile, &all, &error));
    g_assert_error (error, VLM_ERROR, VLM_ERROR_SETTINGS);
    g_clear_error (&error);
  }
}

static void
test_list (void)
{
  g_assert_cmpstr (vlm_policies[0]->name, ==, "hired");
  g_assert_null (vlm_policy_find ("none"));
  for (int i = 0; vlm_policies[i]; i++) {
    const VlmPolicy *policy = vlm_policies[i];
    VlmPolicyInput input = { 0 };
    GError *error = NULL;

    g_assert_true (vlm_policy_find (policy->name) == policy);
    g_assert_cmpint (strlen (policy->blurb), >, 0);
    g_assert_cmpint (policy->n_params, <=, VLM_POLICY_MAX_PARAMS);
    vlm_policy_defaults (policy, &input);
    for (int p = 0; p < policy->n_params; p++) {
      const VlmPolicyParam *param = &policy->params[p];

      g_assert_cmpfloat (input.param[p], ==, param->fallback);
      g_assert_true (vlm_policy_set_param (
          policy, &input, param->name, param->maximum, NULL));
      g_assert_cmpfloat (input.param[p], ==, param->maximum);
      g_assert_false (
          vlm_policy_set_param (policy, &input, param->name, NAN, &error));
      g_assert_error (error, VLM_ERROR, VLM_ERROR_SETTINGS);
      g_clear_error (&error);
    }
    g_assert_false (
        vlm_policy_set_param (policy, &input, "no-such", 1, &error));
    g_assert_error (error, VLM_ERROR, VLM_ERROR_SETTINGS);
    g_clear_error (&error);
  }
}

int
main (int argc, char **argv)
{
  g_test_init (&argc, &argv, NULL);
  g_test_add_func ("/policy/share", test_allocation);
  g_test_add_func ("/policy/hired/area", test_area);
  g_test_add_func ("/policy/properties", test_properties);
  g_test_add_func ("/policy/single-tile", test_single_tile);
  g_test_add_func ("/policy/refusals", test_refusals);
  g_test_add_func ("/policy/list", test_list);
  return g_test_run ();
}
