/* policy-baselines.c - worked examples of uniform, random and fastervlm
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#include <glib.h>
#include <string.h>

#include "tests/policy-bed.h"

static const int real_pinpoints[1][2] = { { 672, 672 } };

static float scores[BOUND];

/* Runs a policy, its parameter `name` set, on a toy picture h x w. */
static void
run_toy (const char *policy, int h, int w, double budget, const char *name,
    double value, Outcome *o)
{
  const VlmPolicy *p = vlm_policy_find (policy);
  VlmTileGeometry g = geometry_of (4, 56, h, w, 3, toy_pinpoints);
  VlmPolicyInput input;

  fill_scores (scores, 5, 16, 17, FALSE);
  input = input_of (p, &g, NULL, scores, budget);
  if (name)
    g_assert_true (vlm_policy_set_param (p, &input, name, value, NULL));
  run_policy (p, &input, o);
}

/* Patches of one tile, in the order kept. */
static void
check_tile (const char *expected, const Outcome *o, int t)
{
  int found[16], n = 0;

  for (int i = 0; i < o->selection.n; i++)
    if (o->order[i] / 16 == t)
      found[n++] = o->order[i] % 16;
  check_list (expected, found, n);
}

static void
test_random (void)
{
  g_auto (Outcome) o = { 0 };

  run_toy ("random", 56, 112, 18, "seed", 1, &o);
  check_list ("6 6 6", o.per_tile, 3);
  check_tile ("0 8 9 12 13 15", &o, 0);
  check_tile ("3 4 6 7 10 12", &o, 1);
  /* the upper row of tile 1 is padding */
  run_toy ("random", 84, 112, 21, "seed", 1, &o);
  check_list ("5 4 4 4 4", o.per_tile, 5);
  check_tile ("5 7 9 13", &o, 1);
}

/* Another seed, other tokens. */
static void
test_random_seeds (void)
{
  g_auto (Outcome) a = { 0 };
  g_auto (Outcome) b = { 0 };

  run_toy ("random", 112, 112, 30, "seed", 4, &a);
  run_toy ("random", 112, 112, 30, "seed", 5, &b);
  g_assert_cmpint (a.selection.n, ==, 30);
  g_assert_cmpint (b.selection.n, ==, 30);
  g_assert_cmpint (memcmp (a.order, b.order, 30 * sizeof (int)), !=, 0);
}

static void
test_uniform (void)
{
  g_auto (Outcome) o = { 0 };

  run_toy ("uniform", 56, 112, 18, NULL, 0, &o);
  check_list ("6 6 6", o.per_tile, 3);
  for (int t = 0; t < 3; t++)
    check_tile ("1 4 6 9 12 14", &o, t);
  run_toy ("uniform", 84, 112, 27, NULL, 0, &o);
  check_list ("7 5 5 5 5", o.per_tile, 5);
  check_tile ("5 7 10 12 14", &o, 1);
}

/* What is asked for and what the whole steps give; on the transposed grid
 * all of it arrives only where the grid is square and the picture too. */
static void
test_uniform_reference (void)
{
  static const struct {
    double share;
    int per_tile;
  } cases[] = { { .05, 29 }, { .1, 58 }, { .2, 115 }, { .3, 192 }, { .4, 288 },
    { .5, 288 }, { 1, 575 }, { 0, 0 } };
  const VlmPolicy *policy = vlm_policy_find ("uniform");
  VlmTileGeometry g = geometry_of (24, 336, 600, 600, 1, real_pinpoints);
  g_auto (Outcome) o = { 0 };

  for (guint i = 0; i < G_N_ELEMENTS (cases); i++) {
    VlmPolicyInput input = input_of (policy, &g, NULL, NULL, cases[i].share);

    vlm_policy_set_param (policy, &input, "reference", 1, NULL);
    run_policy (policy, &input, &o);
    for (int t = 0; t < 5; t++)
      g_assert_cmpint (o.per_tile[t], ==, cases[i].per_tile);
    g_assert_cmpint (o.selection.n, ==, 5 * cases[i].per_tile);
    g_assert_false (o.selection.packed);
  }
  run_toy ("uniform", 56, 112, .25, "reference", 1, &o);
  check_list ("4 4 4", o.per_tile, 3);
  check_list ("0 4 8 12 28 32", o.order, o.selection.n);
}

static void
test_fastervlm (void)
{
  g_auto (Outcome) o = { 0 };

  run_toy ("fastervlm", 84, 112, 10, NULL, 0, &o);
  check_list ("2 2 2 2 2", o.per_tile, 5);
  check_tile ("4 10", &o, 0);
  check_tile ("6 11", &o, 3);
  run_toy ("fastervlm", 84, 112, 60, NULL, 0, &o);
  check_list ("12 12 12 12 12", o.per_tile, 5);
  run_toy ("fastervlm", 84, 112, 1, NULL, 0, &o);
  g_assert_true (o.all && o.selection.packed);
  g_assert_cmpint (o.selection.n, ==, 64);
}

static void
test_fastervlm_reference (void)
{
  static const struct {
    double budget;
    int per_tile;
  } cases[] = { { .1, 58 }, { .05, 29 }, { 1, 576 }, { 0, 0 }, { 290, 58 } };
  const VlmPolicy *policy = vlm_policy_find ("fastervlm");
  VlmTileGeometry g = geometry_of (24, 336, 1080, 1920, 1, real_pinpoints);
  g_auto (Outcome) o = { 0 };

  fill_scores (scores, 5, 576, 577, FALSE);
  for (guint i = 0; i < G_N_ELEMENTS (cases); i++) {
    VlmPolicyInput input = input_of (policy, &g, NULL, scores, cases[i].budget);

    vlm_policy_set_param (policy, &input, "reference", 1, NULL);
    run_policy (policy, &input, &o);
    for (int t = 0; t < 5; t++)
      g_assert_cmpint (o.per_tile[t], ==, cases[i].per_tile);
    g_assert_cmpint (o.selection.n, ==, 5 * cases[i].per_tile);
    g_assert_false (o.selection.packed);
  }
  /* padding takes part: the best of tile 1 are 2 (padding) and 9 */
  run_toy ("fastervlm", 84, 112, 10, "reference", 1, &o);
  check_tile ("2 9", &o, 1);
}

int
main (int argc, char **argv)
{
  g_test_init (&argc, &argv, NULL);
  g_test_add_func ("/policy/random", test_random);
  g_test_add_func ("/policy/random/seeds", test_random_seeds);
  g_test_add_func ("/policy/uniform", test_uniform);
  g_test_add_func ("/policy/uniform/reference", test_uniform_reference);
  g_test_add_func ("/policy/fastervlm", test_fastervlm);
  g_test_add_func ("/policy/fastervlm/reference", test_fastervlm_reference);
  return g_test_run ();
}
