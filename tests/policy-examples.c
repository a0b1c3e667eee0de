/* policy-examples.c - worked examples of every policy
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * What hired-reference must give was taken from the authors' code, but for
 * alpha = 1 and ties, where it raises or depends on the machine.
 */
#include <glib.h>
#include <string.h>

#include "tests/policy-bed.h"

/* ---- toy tiles: S = 4, 56 pixels ---- */

static const float toy_a[16] = { 1, 2, 20, 18, 3, 4, 22, 24, 5, 6, 26, 9, 7, 8,
  28, 30 };
static const float toy_b[16] = { 40, 41, 42, 43, 44, 45, 46, 3, 5, 1, 2, 4, 6,
  7, 8, 9 };

typedef struct {
  const char *name;
  int h, w;
  double rate, alpha;
  const float *first; /* NULL: every score is 1 */
  int topk;
  const char *policy, *budgets, *order;
} ToyCase;

static const ToyCase toys[] = {
  { "1", 56, 112, .25, .5, toy_a, 0, "hired-reference", "6 3 3",
      "3 4 9 10 14 15 28" },
  { "1", 56, 112, .25, .5, toy_a, 0, "hired", "6 1 5",
      "3 4 9 10 14 15 33 36 39 25 42 45" },
  { "2", 112, 56, .25, .5, toy_a, 0, "hired-reference", "6 3 3",
      "3 4 9 10 14 15" },
  { "2", 112, 56, .25, .5, toy_a, 0, "hired", "6 3 3",
      "3 4 9 10 14 15 18 25 28 39 42 45" },
  { "3", 112, 112, .25, .5, toy_a, 0, "hired-reference", "10 2 2 2 2",
      "2 3 4 7 8 9 10 13 14 15 18 25 42 45 54 68 59 73" },
  { "3", 112, 112, .25, .5, toy_a, 0, "hired", "10 1 4 1 4",
      "2 3 4 7 8 9 10 13 14 15 36 39 25 42 45 66 68 59 73 78" },
  { "3-topk", 112, 112, .25, .5, toy_a, 4, "hired-reference", "10 0 2 2 5",
      "2 3 4 7 8 9 10 13 14 15 42 45 66 54 68 71 59 73 78" },
  { "4", 84, 112, .25, .5, toy_a, 0, "hired-reference", "10 2 2 2 2",
      "2 3 4 7 8 9 10 13 14 15 25 42 45 54 68 59 73" },
  { "4", 84, 112, .25, .5, toy_a, 0, "hired", "10 1 4 1 4",
      "2 3 4 7 8 9 10 13 14 15 36 39 25 42 45 66 68 71 59 73" },
  { "5-caps", 112, 56, .9, .5, toy_b, 0, "hired-reference", "16 16 3",
      "0..15 19 23 27 31" },
  { "5-caps", 112, 56, .9, .5, toy_b, 0, "hired", "16 16 11",
      "0..31 32 33 35 36 38 39 41 42 44 45 47" },
  { "6-alpha-0", 112, 112, .3, 0, toy_a, 0, "hired-reference", "0 6 6 6 6",
      "18 33 21 36 39 24 25 42 28 31 45 47 49 51 66 54 68 71 56 59 73 61 76 "
      "78" },
  { "6-alpha-0", 112, 112, .3, 0, toy_a, 0, "hired", "0 1 9 3 11",
      "33 36 38 39 25 41 42 44 45 47 49 64 66 67 54 68 69 71 59 73 74 76 78 "
      "79" },
  { "7-alpha-1", 112, 112, .4, 1, toy_a, 0, "hired-reference", "16 0 0 0 0",
      "0..15" },
  { "7-alpha-1", 112, 112, .4, 1, toy_a, 0, "hired", "16 1 6 2 7",
      "0..15 33 36 39 25 42 45 47 64 66 54 68 71 59 73 76 78" },
  { "8-rate-1", 56, 112, 1, .5, toy_a, 0, "hired-reference", "16 16 16",
      "0..15 28..35" },
  { "8-rate-1", 56, 112, 1, .5, toy_a, 0, "hired", "16 16 16",
      "0..15 16..19 32..35 20..23 36..39 24..27 40..43 28..31 44..47" },
  { "8-rate-1", 56, 112, 1, .5, toy_a, 0, "all", "16 16 16",
      "0..15 16..19 32..35 20..23 36..39 24..27 40..43 28..31 44..47" },
  { "9-ties", 112, 112, .25, .5, NULL, 0, "hired-reference", "10 5 5 0 0",
      "0..9 16 17 18 19 32 33 34 35 20 36" },
  { "9-ties", 112, 112, .25, .5, NULL, 0, "hired", "10 3 3 2 2",
      "0..9 16 17 18 32 33 34 48 49 64 65" },
};

static void
test_toy (gconstpointer data)
{
  const ToyCase *c = data;
  const VlmPolicy *policy = vlm_policy_find (c->policy);
  VlmTileGeometry g = geometry_of (4, 56, c->h, c->w, 3, toy_pinpoints);
  float ones[16], last[5 * 16];
  VlmPolicyInput input;
  g_auto (Outcome) o = { 0 };

  for (int j = 0; j < 16; j++)
    ones[j] = 1;
  fill_scores (last, 5, 16, 17, !c->first);
  input = input_of (policy, &g, c->first ? c->first : ones, last, c->rate);
  if (policy->n_params > 0)
    g_assert_true (
        vlm_policy_set_param (policy, &input, "alpha", c->alpha, NULL));
  if (c->topk)
    g_assert_true (
        vlm_policy_set_param (policy, &input, "init-topk", c->topk, NULL));
  run_policy (policy, &input, &o);
  check_list (c->budgets, o.per_tile, vlm_tile_count (&g));
  check_list (c->order, o.order, o.selection.n);
  g_assert_cmpint (o.selection.packed, ==, o.all);
  g_assert_cmpint (
      o.all, ==, c->rate == 1 && strcmp (c->policy, "hired-reference") != 0);
}

/* ---- real size ---- */

static const int real_pinpoints[5][2] = { { 336, 672 }, { 672, 336 },
  { 672, 672 }, { 1008, 336 }, { 336, 1008 } };

typedef struct {
  int h, w;
  double rate;
  const char *reference;
  int reference_n;
  guint64 reference_hash;
  const char *paper;
  int paper_n;
  guint64 paper_hash;
} RealCase;

static const RealCase reals[] = {
  { 600, 600, 0.1, "144 35 36 36 36", 287, 0xc18f45931f9c4dd4,
      "144 24 64 28 28", 288, 0x137abbe6e277deb2 },
  { 600, 600, 0.2, "288 70 73 73 72", 576, 0x3a9d14b852995d64,
      "288 48 128 56 56", 576, 0x9b1a3696c4794698 },
  { 600, 600, 0.4, "576 140 146 146 144", 1152, 0x35867d93cdf4af45,
      "576 97 255 112 112", 1152, 0x4afcfcd750d69a3f },
  { 480, 640, 0.1, "144 35 36 36 36", 253, 0xb137ee6b11718267,
      "144 24 64 28 28", 288, 0x680da3030073a64f },
  { 480, 640, 0.2, "288 70 73 73 72", 508, 0xf6f016c8c6c2dffc,
      "288 48 128 56 56", 576, 0x7ca1904d305b8b69 },
  { 480, 640, 0.4, "576 140 146 146 144", 1015, 0x8f629ac5bf97226f,
      "576 97 255 112 112", 1152, 0xd9c22bc7e3810b7e },
  { 1080, 1920, 0.1, "144 35 36 36 36", 227, 0x89594baf17358201,
      "144 24 64 28 28", 288, 0xf80926967f26a7a8 },
  { 1080, 1920, 0.2, "288 70 73 73 72", 456, 0xa901006f9c042874,
      "288 48 128 56 56", 576, 0xc77501713c9bc27b },
  { 1080, 1920, 0.4, "576 140 146 146 144", 917, 0xbcabc1c657cad592,
      "576 97 255 112 112", 1152, 0x9e02daf70c94e460 },
  { 300, 600, 0.1, "86 42 43", 110, 0x5a1475ec14443b56, "86 31 55", 172,
      0x23178a8700b4b4ec },
  { 300, 600, 0.2, "172 85 87", 221, 0x88134ff3c8e8cb16, "172 63 110", 345,
      0xd2ec9583b145a0c6 },
  { 300, 600, 0.4, "345 171 174", 437, 0x26c17524c3b70f87, "345 125 221", 691,
      0x686a610a37e744c0 },
  { 900, 300, 0.1, "115 40 34 39", 115, 0xd83dad7ef0d61c25, "115 48 37 30", 230,
      0x110a57fe605d9f0e },
  { 900, 300, 0.2, "230 80 69 79", 251, 0x35df3c2d190ac7f1, "230 95 74 61", 460,
      0x257e4c7c61e8b7d0 },
  { 900, 300, 0.4, "460 161 139 160", 508, 0x1620707d3e297a3f,
      "460 191 148 122", 921, 0xe017e7a6208e7e45 },
};

static guint64
fnv1a (const int *ids, int n)
{
  guint64 hash = 0xcbf29ce484222325;

  for (int i = 0; i < n; i++)
    for (int shift = 0; shift < 32; shift += 8)
      hash = (hash ^ ((guint32) ids[i] >> shift & 255)) * 0x100000001b3;
  return hash;
}

static void
real_scores (float first[576], float last[5 * 576])
{
  for (int j = 0; j < 576; j++) {
    int row = j / 24, col = j % 24;
    gboolean hot = row >= 3 && row <= 9 && col >= 13 && col <= 21;

    first[j] = (float) (7 * (j + 1) % 577 + (hot ? 1000 : 0));
  }
  fill_scores (last, 5, 576, 577, FALSE);
}

static void
check_real (const char *name, const RealCase *c, const char *budgets, int n,
    guint64 hash)
{
  const VlmPolicy *policy = vlm_policy_find (name);
  VlmTileGeometry g = geometry_of (24, 336, c->h, c->w, 5, real_pinpoints);
  float first[576], last[5 * 576];
  VlmPolicyInput input;
  g_auto (Outcome) o = { 0 };

  real_scores (first, last);
  input = input_of (policy, &g, first, last, c->rate);
  run_policy (policy, &input, &o);
  check_list (budgets, o.per_tile, vlm_tile_count (&g));
  g_assert_cmpint (o.selection.n, ==, n);
  g_assert_cmphex (fnv1a (o.order, o.selection.n), ==, hash);
}

static void
test_real_size (void)
{
  for (guint i = 0; i < G_N_ELEMENTS (reals); i++) {
    const RealCase *c = &reals[i];

    check_real (
        "hired-reference", c, c->reference, c->reference_n, c->reference_hash);
    check_real ("hired", c, c->paper, c->paper_n, c->paper_hash);
  }
}

/* Float32 cuts one row more than exact arithmetic would. */
static void
test_reference_unpad_in_float (void)
{
  const VlmPolicy *policy = vlm_policy_find ("hired-reference");
  VlmTileGeometry g = geometry_of (24, 336, 135, 1080, 5, real_pinpoints);
  VlmPolicyInput input = input_of (policy, &g, NULL, NULL, 1);
  g_auto (Outcome) o = { 0 };

  g_assert_cmpint (g.rows, ==, 1);
  g_assert_cmpint (g.cols, ==, 3);
  run_policy (policy, &input, &o);
  g_assert_cmpint (o.selection.n, ==, 576 + 2 * 24);
  g_assert_cmpint (o.order[576], ==, 2 * 576 + 11 * 24);
}

/* Full budget on the transposed grid: what is left of the sub-images. */
static void
test_reference_transposed (void)
{
  static const int cases[][3] = { { 300, 600, 288 }, { 600, 300, 288 },
    { 300, 900, 192 }, { 900, 300, 192 } };
  const VlmPolicy *policy = vlm_policy_find ("hired-reference");

  for (guint i = 0; i < G_N_ELEMENTS (cases); i++) {
    VlmTileGeometry g =
        geometry_of (24, 336, cases[i][0], cases[i][1], 5, real_pinpoints);
    VlmPolicyInput input = input_of (policy, &g, NULL, NULL, 1);
    g_auto (Outcome) o = { 0 };

    run_policy (policy, &input, &o);
    g_assert_cmpint (o.selection.n, ==, 576 + cases[i][2]);
    g_assert_false (o.selection.packed);
  }
}

int
main (int argc, char **argv)
{
  g_test_init (&argc, &argv, NULL);
  for (guint i = 0; i < G_N_ELEMENTS (toys); i++) {
    g_autofree char *path =
        g_strdup_printf ("/policy/example/%s/%s", toys[i].name, toys[i].policy);

    g_test_add_data_func (path, &toys[i], test_toy);
  }
  g_test_add_func ("/policy/real-size", test_real_size);
  g_test_add_func (
      "/policy/reference/unpad-in-float", test_reference_unpad_in_float);
  g_test_add_func ("/policy/reference/transposed", test_reference_transposed);
  return g_test_run ();
}
