/* policy-merge.c - worked examples of the policies that merge
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * One tile of 16 tokens, two features and keys of two numbers each. Checked
 * against the authors' functions.
 */
#include <glib.h>
#include <math.h>
#include <string.h>

#include "engine/error.h"
#include "tests/policy-bed.h"

#define N 16

static const VlmTileGeometry one_tile = {
  .side = 4, .tile_px = 56, .img_h = 56, .img_w = 56, .fit_h = 56, .fit_w = 56
};
static const float attention[N] = { .01f, .02f, .01f, .30f, .02f, .01f, .02f,
  .01f, .25f, .02f, .01f, .02f, .01f, .02f, .01f, .02f };
static const float dominance[N] = { 3, 14, 5, 9, 16, 2, 11, 7, 1, 13, 6, 10, 4,
  12, 8, 15 };

static float keys[N][2], features[N + 1][2], cosines[N * N];

static void
fill (void)
{
  for (int j = 0; j < N; j++) {
    keys[j][0] = (float) (j + 1);
    keys[j][1] = (float) (7 * j % 16 + 1);
    features[j][0] = (float) j;
    features[j][1] = (float) (3 * j % 16);
  }
  features[N][0] = features[N][1] = 100; /* the class token's */
  for (int i = 0; i < N; i++)
    for (int j = 0; j < N; j++)
      cosines[i * N + j] =
          (keys[i][0] * keys[j][0] + keys[i][1] * keys[j][1]) /
          (hypotf (keys[i][0], keys[i][1]) * hypotf (keys[j][0], keys[j][1]));
}

typedef struct {
  const char *name;
  double value;
} Param;

static void
run_example (const char *name, double budget, const Param *params, Outcome *o)
{
  const VlmPolicy *policy = vlm_policy_find (name);
  VlmPolicyInput input = input_of (policy, &one_tile, NULL, dominance, budget);

  fill ();
  input.cls_next = attention;
  input.cosine = cosines;
  input.key = keys[0];
  input.key_width = 2;
  for (int i = 0; params && params[i].name; i++)
    g_assert_true (vlm_policy_set_param (
        policy, &input, params[i].name, params[i].value, NULL));
  run_policy (policy, &input, o);
}

/* Rows of the selection as pairs of features. */
static void
check_rows (const VlmSelection *s, const double (*expected)[2], int n)
{
  g_assert_true (s->merged);
  g_assert_cmpint (s->n, ==, n);
  for (int i = 0; i < n; i++) {
    double sum[2] = { 0 };

    for (int e = s->start[i]; e < s->start[i + 1]; e++)
      for (int f = 0; f < 2; f++)
        sum[f] += (double) s->weight[e] * features[s->source[e]][f];
    for (int f = 0; f < 2; f++)
      g_assert_cmpfloat_with_epsilon (sum[f], expected[i][f], 1e-5);
  }
}

/* Sources of a row besides the first. */
static void
check_members (const char *expected, const VlmSelection *s, int row, int skip)
{
  int found[N], n = 0;

  for (int e = s->start[row] + skip; e < s->start[row + 1]; e++) {
    int at = n++;

    for (; at > 0 && found[at - 1] > s->source[e]; at--)
      found[at] = found[at - 1];
    found[at] = s->source[e];
  }
  check_list (expected, found, n);
}

/* Both modes: nothing here is padding. */
static const Param adaptive[] = { { "adaptive", 1 }, { "neighbours", 3 },
  { 0 } };
static const Param reference[] = { { "reference", 1 }, { "neighbours", 3 },
  { 0 } };

static void
test_prumerge (gconstpointer params)
{
  static const double rows[][2] = { { 3.52, 9.28 }, { 8.48, 8.16 },
    { 1.68, 1.52 } };
  g_auto (Outcome) o = { 0 };

  run_example ("prumerge", 0.2, params, &o);
  check_rows (&o.selection, rows, 3);
  g_assert_cmpint (o.per_tile[0], ==, 3);
  check_members ("6 9 11", &o.selection, 0, 1);
  check_members ("0 11 13", &o.selection, 1, 1);
  g_assert_cmpint (o.order[0], ==, 3);
  g_assert_cmpint (o.order[1], ==, 8);
  g_assert_cmpint (o.order[2], ==, -1);
}

static void
test_prumerge_plus (gconstpointer params)
{
  static const double rows[][2] = { { 3.52, 9.28 }, { 8.48, 8.16 },
    { 2.48, 2.16 }, { 2.28, 6.52 }, { 4.22, 12.34 }, { 7.3, 4.94 },
    { 10.61, 14.55 }, { 12.51, 4.41 }, { 14.49, 10.35 }, { 1.1, 0.9 } };
  g_auto (Outcome) o = { 0 };

  run_example ("prumerge-plus", 0.2, params, &o);
  check_rows (&o.selection, rows, 10);
  check_list ("3 8 0 2 4 6 10 12 14", o.order, 9);
  check_members ("1 5 7 9 11 13 15", &o.selection, 9, 0);
}

/* A budget is met whatever the attention says. */
static void
test_prumerge_budget (void)
{
  g_auto (Outcome) o = { 0 };

  run_example ("prumerge", 6, NULL, &o);
  check_list ("3 8 1 4 6", o.order, 5);
  g_assert_cmpint (o.selection.n, ==, 6);
  check_members ("0 2 5 7 9 10 11 12 13 14 15", &o.selection, 5, 0);
  /* one of four by attention, three even over the fifteen left */
  run_example ("prumerge-plus", 5, NULL, &o);
  check_list ("3 2 8 13", o.order, 4);
  /* one row: everything, by attention */
  run_example ("prumerge", 1.5, NULL, &o);
  g_assert_cmpint (o.selection.n, ==, 1);
  check_members ("0..15", &o.selection, 0, 0);
}

/* ---- steps of PruMerge+ at the real size ---- */

#define REAL 576

static float real_attention[REAL], real_cosines[REAL * REAL];

static void
check_steps (int m, int gap, int n_samples)
{
  static const VlmTileGeometry g = { .side = 24, .tile_px = 336 };
  const VlmPolicy *policy = vlm_policy_find ("prumerge-plus");
  VlmPolicyInput input = input_of (policy, &g, NULL, NULL, 0.2);
  gboolean expected[REAL] = { 0 };
  int n = 0, samples = 0;
  g_auto (Outcome) o = { 0 };

  for (int j = 0; j < REAL; j++)
    real_attention[j] = 0.001f;
  for (int i = 0; i < m; i++) {
    expected[(7 * i + 3) % REAL] = TRUE;
    real_attention[(7 * i + 3) % REAL] = 1;
  }
  for (int j = 0; j < REAL - 1; j += gap, samples++)
    expected[j] = TRUE;
  for (int j = 0; j < REAL; j++)
    n += expected[j];
  g_assert_cmpint (samples, ==, n_samples);
  input.cls_next = real_attention;
  input.cosine = real_cosines;
  input.param[0] = 1;
  run_policy (policy, &input, &o);
  g_assert_cmpint (o.selection.n, ==, n + 1);
  for (int i = 0; i < n; i++)
    g_assert_true (expected[o.order[i]]);
}

static void
test_steps (void)
{
  static const int cases[][3] = { { 10, 19, 31 }, { 20, 9, 64 }, { 32, 6, 96 },
    { 40, 4, 144 }, { 50, 3, 192 }, { 60, 3, 192 }, { 80, 2, 288 },
    { 96, 2, 288 }, { 97, 1, 575 }, { 143, 1, 575 } };

  for (guint i = 0; i < G_N_ELEMENTS (cases); i++)
    check_steps (cases[i][0], cases[i][1], cases[i][2]);
}

/* Two of 49 tokens stand out, of which the code keeps int (49 * (2 / 49)) = 1;
 * its samples are at steps of int (int (49 / 2) / 3) = 8 all the same. */
static void
test_roundings (void)
{
  static const VlmTileGeometry g = { .side = 7, .tile_px = 56 };
  static const struct {
    const char *policy;
    gboolean reference;
    int n; /* the extra row included */
  } cases[] = { { "prumerge", TRUE, 2 }, { "prumerge", FALSE, 3 },
    { "prumerge-plus", TRUE, 8 }, { "prumerge-plus", FALSE, 9 } };

  for (int j = 0; j < 49; j++)
    real_attention[j] = j == 3 || j == 10 ? 1 : 0.001f;
  for (guint i = 0; i < G_N_ELEMENTS (cases); i++) {
    const VlmPolicy *policy = vlm_policy_find (cases[i].policy);
    VlmPolicyInput input = input_of (policy, &g, NULL, NULL, 0.2);
    g_auto (Outcome) o = { 0 };

    input.cls_next = real_attention;
    input.cosine = real_cosines;
    input.param[cases[i].reference ? 0 : 1] = 1;
    run_policy (policy, &input, &o);
    g_assert_cmpint (o.selection.n, ==, cases[i].n);
    g_assert_cmpint (o.order[0], ==, 3);
  }
}

/* No token stands out. */
static void
test_no_outlier (void)
{
  static const float flat[N] = { 0 };
  static const struct {
    const char *policy;
    gboolean reference;
    int n;
  } cases[] = { { "prumerge", TRUE, 1 }, { "prumerge", FALSE, 2 },
    { "prumerge-plus", TRUE, 4 }, { "prumerge-plus", FALSE, 4 } };

  for (guint i = 0; i < G_N_ELEMENTS (cases); i++) {
    const VlmPolicy *policy = vlm_policy_find (cases[i].policy);
    VlmPolicyInput input = input_of (policy, &one_tile, NULL, NULL, 0.5);
    g_auto (Outcome) o = { 0 };

    fill ();
    input.cls_next = flat;
    input.cosine = cosines;
    input.param[cases[i].reference ? 0 : 1] = 1;
    run_policy (policy, &input, &o);
    g_assert_cmpint (o.selection.n, ==, cases[i].n);
    g_assert_cmpint (o.order[o.selection.n - 1], ==, -1);
  }
}

/* ---- VisionZip ---- */

static void
test_visionzip (void)
{
  static const Param params[] = { { "reference", 1 }, { "dominant", 4 },
    { "contextual", 3 }, { 0 } };
  static const double rows[][2] = { { 100, 100 }, { 1, 3 }, { 4, 12 },
    { 15, 13 }, { 10.666667, 5.333333 }, { 10.666667, 10.666667 },
    { 19.5, 22.5 } };
  g_auto (Outcome) o = { 0 };

  run_example ("visionzip", 0.2, params, &o);
  check_rows (&o.selection, rows, 7);
  check_list ("16 1 4 15 0 6 10", o.order, 7);
  check_members ("8 11 13", &o.selection, 4, 1);
  check_members ("2 3 9", &o.selection, 5, 1);
  check_members ("5 7 12 14", &o.selection, 6, 1);
}

/* Below three rows of a tile none is contextual. */
static void
test_visionzip_budget (void)
{
  static const struct {
    double budget;
    const char *order;
  } cases[] = { { 0.07, "16" }, { 2, "16 4" }, { 3, "16 4 0" },
    { 7, "16 1 4 9 13 15 0" }, { 0, NULL } };
  g_auto (Outcome) o = { 0 };

  for (guint i = 0; i < G_N_ELEMENTS (cases); i++) {
    run_example ("visionzip", cases[i].budget, NULL, &o);
    if (cases[i].order)
      check_list (cases[i].order, o.order, o.selection.n);
    else
      g_assert_cmpint (o.selection.n, ==, 0);
  }
  run_example ("visionzip", 1, NULL, &o);
  g_assert_true (o.all && o.selection.packed && !o.selection.merged);
}

/* Whole grid: base tile, dominant patches as they lie, class tokens, merged
 * ones tile by tile. */
static void
test_visionzip_order (void)
{
  const VlmPolicy *policy = vlm_policy_find ("visionzip");
  VlmTileGeometry g = geometry_of (4, 56, 56, 112, 3, toy_pinpoints);
  float scores[3 * N], all_keys[3 * N * 2];
  VlmPolicyInput input = input_of (policy, &g, NULL, scores, 0.2);
  g_auto (Outcome) o = { 0 };

  fill ();
  fill_scores (scores, 3, N, 17, FALSE);
  for (int t = 0; t < 3; t++)
    memcpy (all_keys + t * N * 2, keys, sizeof keys);
  input.key = all_keys;
  input.key_width = 2;
  vlm_policy_set_param (policy, &input, "reference", 1, NULL);
  vlm_policy_set_param (policy, &input, "dominant", 3, NULL);
  vlm_policy_set_param (policy, &input, "contextual", 2, NULL);
  run_policy (policy, &input, &o);
  check_list ("5 5 5", o.per_tile, 3);
  check_list (
      "48 4 10 0 8 18 25 42 45 49 50 16 24 32 39", o.order, o.selection.n);
}

/* ---- what is refused ---- */

static void
expect_refused (const char *name, VlmPolicyInput *input)
{
  const VlmPolicy *policy = vlm_policy_find (name);
  g_autoptr (GError) error = NULL;
  VlmSelection selection;
  gboolean all;

  vlm_selection_init (&selection, policy, input);
  g_assert_true (policy->plan (input, selection.per_tile, &all, NULL));
  g_assert_false (choose_rows (policy, input, &selection, &error));
  g_assert_error (error, VLM_ERROR, VLM_ERROR_REQUEST);
  vlm_selection_clear (&selection);
}

static void
test_not_a_number (void)
{
  static const char *const names[] = { "prumerge", "prumerge-plus",
    "visionzip" };
  float last[N], next[N], cosine[N * N], key[N * 2];

  for (guint i = 0; i < G_N_ELEMENTS (names); i++)
    for (int bad = 0; bad < 2; bad++) {
      VlmPolicyInput input =
          input_of (vlm_policy_find (names[i]), &one_tile, NULL, last, 0.5);

      fill ();
      memcpy (last, dominance, sizeof last);
      memcpy (next, attention, sizeof next);
      memcpy (cosine, cosines, sizeof cosine);
      memcpy (key, keys, sizeof key);
      input.cls_next = next;
      input.cosine = cosine;
      input.key = key;
      input.key_width = 2;
      if (bad)
        cosine[3 * N + 5] = key[1] = NAN;
      else
        last[5] = next[5] = NAN;
      expect_refused (names[i], &input);
    }
}

int
main (int argc, char **argv)
{
  g_test_init (&argc, &argv, NULL);
  g_test_add_data_func ("/policy/prumerge/adaptive", adaptive, test_prumerge);
  g_test_add_data_func ("/policy/prumerge/reference", reference, test_prumerge);
  g_test_add_data_func (
      "/policy/prumerge-plus/adaptive", adaptive, test_prumerge_plus);
  g_test_add_data_func (
      "/policy/prumerge-plus/reference", reference, test_prumerge_plus);
  g_test_add_func ("/policy/prumerge/budget", test_prumerge_budget);
  g_test_add_func ("/policy/prumerge-plus/steps", test_steps);
  g_test_add_func ("/policy/prumerge/roundings", test_roundings);
  g_test_add_func ("/policy/prumerge/no-outlier", test_no_outlier);
  g_test_add_func ("/policy/visionzip", test_visionzip);
  g_test_add_func ("/policy/visionzip/budget", test_visionzip_budget);
  g_test_add_func ("/policy/visionzip/order", test_visionzip_order);
  g_test_add_func ("/policy/not-a-number", test_not_a_number);
  return g_test_run ();
}
