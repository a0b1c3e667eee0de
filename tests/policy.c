/* policy.c - guarantees of the policies, their parts, what they refuse
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#include <glib.h>
#include <math.h>
#include <string.h>

#include "engine/error.h"
#include "engine/policy-hired.h"
#include "kernels/share.h"
#include "tests/policy-bed.h"

/* ---- parts of hired ---- */

static void
check_allocation (
    int budget, const char *weights, const char *caps, const char *expected)
{
  int weight[8];
  Sharing sharing = { .n = parse_list (weights, weight) };

  g_assert_cmpint (parse_list (caps, sharing.cap), ==, sharing.n);
  for (int i = 0; i < sharing.n; i++)
    sharing.weight[i] = weight[i];
  share_out (&sharing, budget);
  check_list (expected, sharing.share, sharing.n);
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

#define MAX_SIDE 8
#define MAX_N (MAX_SIDE * MAX_SIDE)
#define KEY_WIDTH 3

static float first[MAX_N], last[5 * MAX_N], next[5 * MAX_N];
static float keys[5 * MAX_N * KEY_WIDTH], cosines[5 * MAX_N * MAX_N];
static float near[5 * MAX_N * 4];

static VlmPolicyInput
random_input (const VlmPolicy *policy, const VlmTileGeometry *g)
{
  VlmPolicyInput input =
      input_of (policy, g, first, last, random_budget (vlm_policy_tokens (g)));

  input.key = keys;
  input.key_width = KEY_WIDTH;
  input.cls_next = next;
  input.cosine = cosines;
  input.near = near;
  for (int i = 0; i < policy->n_params; i++) {
    const VlmPolicyParam *p = &policy->params[i];
    double span = MIN (p->maximum, 70) - p->minimum;

    if (p->maximum > 1 && g_test_rand_int_range (0, 2))
      input.param[i] = p->minimum + floor (span * g_test_rand_double ());
    else if (p->maximum <= 1 && p->fallback > 0)
      input.param[i] = g_test_rand_double ();
    else if (p->maximum <= 1)
      input.param[i] = g_test_rand_int_range (0, 4) == 0;
  }
  return input;
}

/* Whether a parameter makes it do something else than meet the budget with
 * eligible tokens. */
static gboolean
is_free (const VlmPolicy *policy, const VlmPolicyInput *input, const char *name)
{
  for (int i = 0; i < policy->n_params; i++)
    if (!strcmp (policy->params[i].name, name))
      return input->param[i] != 0;
  return FALSE;
}

static void
check_id (
    const VlmTileGeometry *g, const int *planned, int id, gboolean anything)
{
  int n = vlm_policy_tokens (g);
  int t = id >= n ? id - n : id / (g->side * g->side);

  g_assert_cmpint (id, >=, 0);
  g_assert_cmpint (id, <, vlm_policy_bound (g));
  g_assert_cmpint (planned[t], >, 0);
  g_assert_true (anything || id >= n || eligible (g, id));
}

static void
check_entries (const VlmPolicy *policy, const VlmPolicyInput *input,
    const VlmSelection *s, const int *planned, gboolean anything)
{
  const VlmTileGeometry *g = &input->geometry;
  int bound = vlm_policy_bound (g);

  g_assert_cmpint (s->start[0], ==, 0);
  g_assert_cmpint (s->start[s->n], <=, policy->entries (input));
  for (int i = 0; i < s->n; i++) {
    g_assert_cmpint (s->start[i + 1], >=, s->start[i]);
    g_assert_cmpint (s->start[i + 1] - s->start[i], <=, bound);
    if (s->order[i] >= 0)
      g_assert_cmpint (s->source[s->start[i]], ==, s->order[i]);
    for (int e = s->start[i]; e < s->start[i + 1]; e++) {
      check_id (g, planned, s->source[e], anything);
      g_assert_true (s->weight[e] >= 0 && s->weight[e] < 1000);
      for (int other = s->start[i]; other < e; other++)
        g_assert_cmpint (s->source[other], !=, s->source[e]);
    }
  }
}

static void
check_budget (const VlmPolicyInput *input, const Outcome *o)
{
  const VlmTileGeometry *g = &input->geometry;
  double want = input->budget <= 1
                    ? floor (input->budget * vlm_policy_tokens (g) + 1e-6)
                    : floor (input->budget);

  g_assert_cmpint (o->selection.n, ==, MIN (want, count_eligible (g)));
  g_assert_cmpint (o->all, ==, o->selection.n == count_eligible (g));
  g_assert_cmpint (o->selection.packed, ==, o->all);
}

/* The same again. */
static void
check_repeats (
    const VlmPolicy *policy, const VlmPolicyInput *input, const VlmSelection *s)
{
  g_auto (Outcome) again = { 0 };
  const VlmSelection *b = &again.selection;
  gsize n = s->n;

  run_policy (policy, input, &again);
  g_assert_cmpmem (s->order, n * sizeof (int), b->order, b->n * sizeof (int));
  g_assert_cmpint (s->merged, ==, b->merged);
  if (!s->merged)
    return;
  n = s->start[s->n];
  g_assert_cmpmem (
      s->source, n * sizeof (int), b->source, b->start[b->n] * sizeof (int));
  g_assert_cmpmem (s->weight, n * sizeof (float), b->weight,
      b->start[b->n] * sizeof (float));
}

static void
check_any (const VlmPolicy *policy, const VlmPolicyInput *input)
{
  const VlmTileGeometry *g = &input->geometry;
  gboolean reference = is_free (policy, input, "reference") ||
                       !strcmp (policy->name, "hired-reference");
  gboolean adaptive = is_free (policy, input, "adaptive");
  int planned[VLM_MAX_TILES], sum = 0;
  const VlmSelection *s;
  g_auto (Outcome) o = { 0 };
  gboolean all;

  g_assert_true (policy->plan (input, planned, &all, NULL));
  run_policy (policy, input, &o);
  s = &o.selection;
  g_assert_cmpint (s->n, <=, vlm_policy_bound (g));
  for (int t = 0; t < vlm_tile_count (g); t++) {
    g_assert_cmpint (s->per_tile[t], <=, planned[t]);
    sum += s->per_tile[t];
  }
  g_assert_cmpint (s->n, <=, sum);
  if (!reference)
    g_assert_cmpint (s->n, ==, sum);
  if (s->merged)
    check_entries (policy, input, s, planned, reference);
  for (int i = 0; i < s->n && !s->merged; i++) {
    check_id (g, planned, s->order[i], reference);
    if (i > 0 && !reference)
      g_assert_cmpint (place (g, s->order[i]), >, place (g, s->order[i - 1]));
  }
  if (!reference && !adaptive && strcmp (policy->name, "all") != 0)
    check_budget (input, &o);
  if (!strcmp (policy->name, "hired"))
    check_best (input, &o);
  check_repeats (policy, input, s);
}

static void
random_taps (int S, int n)
{
  random_scores (first, S * S);
  random_scores (last, n);
  random_scores (next, n);
  for (int i = 0; i < n; i++)
    next[i] /= 64;
  random_scores (keys, n * KEY_WIDTH);
  random_scores (cosines, n * S * S);
  for (int i = 0; i < 4 * n; i++)
    near[i] = (float) g_test_rand_double_range (-1, 1);
}

static void
run_random (void)
{
  static const int sides[] = { 1, 2, 4, 6, MAX_SIDE };
  int S = sides[g_test_rand_int_range (0, 5)], T = S * 14;
  const int pinpoints[5][2] = { { T, 2 * T }, { 2 * T, T }, { 2 * T, 2 * T },
    { 3 * T, T }, { T, 3 * T } };
  VlmTileGeometry g = geometry_of (S, T, g_test_rand_int_range (1, 900),
      g_test_rand_int_range (1, 900), 5, pinpoints);

  if (g_test_rand_int_range (0, 8) == 0) {
    g.rows = g.cols = 0;
    g.unpad = FALSE;
  }
  random_taps (S, vlm_policy_tokens (&g));
  for (int i = 0; vlm_policies[i]; i++) {
    VlmPolicyInput input = random_input (vlm_policies[i], &g);

    check_any (vlm_policies[i], &input);
  }
}

static void
test_properties (void)
{
  for (int i = 0; i < 1000; i++)
    run_random ();
}

static void
check_single_tile (const VlmPolicy *policy, const VlmTileGeometry *g)
{
  static const char *const by_attention[] = { "hired", "hired-reference",
    "hired-plus", "fastervlm", NULL };
  VlmPolicyInput input = input_of (policy, g, NULL, last, 0.3);
  g_auto (Outcome) o = { 0 };

  input.key = keys;
  input.key_width = KEY_WIDTH;
  input.cls_next = next;
  input.cosine = cosines;
  input.near = near;
  run_policy (policy, &input, &o);
  if (!strcmp (policy->name, "all"))
    check_list ("0..15", o.order, o.selection.n);
  else if (g_strv_contains (by_attention, policy->name))
    check_list ("4 9 10 15", o.order, o.selection.n);
  else
    g_assert_cmpint (o.selection.n, ==, 4);
  input = input_of (policy, g, NULL, NULL, 1);
  run_policy (policy, &input, &o);
  g_assert_true (o.all && o.selection.packed && !o.selection.merged);
  check_list ("0..15", o.order, o.selection.n);
}

static void
test_single_tile (void)
{
  VlmTileGeometry g = {
    .side = 4, .tile_px = 56, .img_h = 30, .img_w = 70, .fit_h = 56, .fit_w = 56
  };

  random_taps (4, 16);
  fill_scores (last, 1, 16, 17, FALSE);
  for (int i = 0; vlm_policies[i]; i++)
    check_single_tile (vlm_policies[i], &g);
}

/* ---- what is refused ---- */

static void
test_refusals (void)
{
  VlmTileGeometry g = geometry_of (4, 56, 112, 112, 3, toy_pinpoints);
  int per_tile[5], order[85];
  gboolean all;
  GError *error = NULL;

  random_taps (4, 80);
  for (int i = 0; i < 16; i++) /* a share for every tile, so each is read */
    first[i] = 1;
  for (int i = 0; i < 2; i++) {
    const VlmPolicy *policy = vlm_policies[i];
    VlmPolicyInput input = input_of (policy, &g, first, last, 0.3);
    VlmSelection selection = { .order = order, .per_tile = per_tile };

    g_assert_true (policy->plan (&input, per_tile, &all, NULL));
    last[20] = NAN;
    g_assert_false (choose_rows (policy, &input, &selection, &error));
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
test_budgets_refused (void)
{
  static const double budgets[] = { -0.1, NAN, -INFINITY };
  VlmTileGeometry g = geometry_of (4, 56, 112, 112, 3, toy_pinpoints);
  int per_tile[5];
  gboolean all;

  random_taps (4, 80);
  for (int i = 0; vlm_policies[i]; i++)
    for (guint b = 0; b < G_N_ELEMENTS (budgets); b++) {
      VlmPolicyInput input =
          input_of (vlm_policies[i], &g, first, last, budgets[b]);
      g_autoptr (GError) error = NULL;

      if (!strcmp (vlm_policies[i]->name, "all"))
        continue;
      g_assert_false (vlm_policies[i]->plan (&input, per_tile, &all, &error));
      g_assert_error (error, VLM_ERROR, VLM_ERROR_SETTINGS);
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
    /* it is recorded before the plan, or not at all */
    g_assert_false (policy->select_taps & VLM_TAP_CLS_FIRST);
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
  g_test_add_func ("/policy/budgets-refused", test_budgets_refused);
  g_test_add_func ("/policy/list", test_list);
  return g_test_run ();
}
