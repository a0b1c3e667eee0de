/* policy-bed.c - running a policy on made-up scores
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#include "tests/policy-bed.h"

#include <stdlib.h>
#include <string.h>

const int toy_pinpoints[3][2] = { { 56, 112 }, { 112, 56 }, { 112, 112 } };

VlmTileGeometry
geometry_of (int side, int tile_px, int h, int w, int n_pinpoints,
    const int pinpoints[][2])
{
  VlmConfig config = { .vision = { .image_size = tile_px, .side = side },
    .image = { .mode = VLM_IMAGE_ANYRES, .n_pinpoints = n_pinpoints } };
  VlmTileGeometry g;

  memcpy (config.image.pinpoint, pinpoints,
      (gsize) n_pinpoints * sizeof *pinpoints);
  g_assert_true (vlm_tile_geometry (&g, &config, w, h, NULL));
  return g;
}

void
run_policy (const VlmPolicy *policy, const VlmPolicyInput *input, Outcome *o)
{
  GError *error = NULL;

  vlm_selection_clear (&o->selection);
  vlm_selection_init (&o->selection, policy, input);
  o->order = o->selection.order;
  o->per_tile = o->selection.per_tile;
  g_assert_true (policy->plan (input, o->per_tile, &o->all, &error));
  g_assert_no_error (error);
  g_assert_true (policy->select (input, &o->selection, &error));
  g_assert_no_error (error);
}

void
outcome_clear (Outcome *o)
{
  vlm_selection_clear (&o->selection);
}

VlmPolicyInput
input_of (const VlmPolicy *policy, const VlmTileGeometry *g, const float *first,
    const float *last, double budget)
{
  VlmPolicyInput input = {
    .geometry = *g, .cls_first = first, .cls_last = last, .budget = budget
  };

  vlm_policy_defaults (policy, &input);
  return input;
}

int
parse_list (const char *text, int *out)
{
  g_auto (GStrv) words = g_strsplit (text, " ", -1);
  int n = 0;

  for (int i = 0; words[i]; i++) {
    const char *dots = strstr (words[i], "..");
    int from = atoi (words[i]), to = dots ? atoi (dots + 2) : from;

    while (from <= to)
      out[n++] = from++;
  }
  return n;
}

void
check_list (const char *expected, const int *found, int n)
{
  int list[BOUND], count = parse_list (expected, list);

  g_assert_cmpint (n, ==, count);
  for (int i = 0; i < n; i++)
    g_assert_cmpint (found[i], ==, list[i]);
}

void
fill_scores (float *last, int P, int N, int modulus, gboolean constant)
{
  static const int factor[5] = { 3, 5, 6, 7, 10 };

  for (int t = 0; t < P; t++)
    for (int j = 0; j < N; j++)
      last[t * N + j] = constant ? 1 : (float) (factor[t] * (j + 1) % modulus);
}

gboolean
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
