/* policy-bed.c - running a policy on made-up scores
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#include "tests/policy-bed.h"

#include <stdlib.h>
#include <string.h>

#include "engine/policy-pick.h"

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

/* ---- the device's choice ---- */

static Device *
device (void)
{
  static Device *dev;
  const char *name = g_getenv ("POLICY_DEVICE");

  if (!dev)
    dev = device_open (name ? name : "cpu:plain", 1, NULL);
  g_assert_nonnull (dev);
  return dev;
}

static gpointer
uploaded (gconstpointer data, gsize bytes)
{
  gpointer copy = device_alloc (device (), bytes);

  g_assert_nonnull (copy);
  if (data)
    device_upload (device (), copy, data, bytes);
  return copy;
}

/* The tiles that the plan gives tokens, and their scores one after another. */
static int
list_live (
    const VlmPolicyInput *input, const int *per_tile, int *live, float *scores)
{
  int N = input->geometry.side * input->geometry.side, n = 0;

  for (int t = 0; t < vlm_tile_count (&input->geometry); t++)
    if (per_tile[t] > 0) {
      memcpy (scores + n * N, input->cls_last + t * N, N * sizeof *scores);
      live[n++] = t;
    }
  return n;
}

/* Downloads rows of the n live tiles and makes ids of them. */
static gboolean
read_choice (const VlmPolicyInput *input, VlmSelection *selection,
    const int *live, int n, const int *sequence, const int *bad, GError **error)
{
  int side = input->geometry.side, N = side * side, first[VLM_MAX_TILES];

  device_download (
      device (), selection->order, sequence, selection->n * sizeof (int));
  device_download (device (), first, bad, n * sizeof (int));
  for (int i = 0; i < n; i++)
    if (first[i] >= 0) {
      vlm_pick_refuse (live[i], first[i], side, error);
      return FALSE;
    }
  for (int i = 0; i < selection->n; i++)
    selection->order[i] = live[selection->order[i] / (N + 1)] * N +
                          selection->order[i] % (N + 1) - 1;
  return TRUE;
}

static gboolean
choose_on_device (const VlmCanvas *canvas, const VlmPolicyInput *input,
    VlmSelection *selection, GError **error)
{
  Device *dev = device ();
  int side = input->geometry.side, live[VLM_MAX_TILES], n;
  int bound = vlm_policy_tokens (&input->geometry);
  g_autofree float *scores = g_new (float, bound);
  gsize rows = bound * sizeof (int);
  PatchTile tiles[VLM_MAX_TILES];
  gboolean done;

  n = list_live (input, selection->per_tile, live, scores);
  vlm_pick_tiles (
      canvas, &input->geometry, selection->per_tile, live, n, 0, tiles);
  void *memory[] = { uploaded (scores, bound * sizeof *scores),
    uploaded (tiles, n * sizeof *tiles), uploaded (NULL, n * sizeof (int)),
    uploaded (NULL, rows), uploaded (NULL, rows), uploaded (NULL, rows) };

  dev->op->choose_patches (
      dev, memory[3], memory[2], memory[0], memory[1], n, side);
  dev->op->pack_patches (
      dev, memory[4], memory[5], memory[3], memory[1], n, side, canvas->across);
  done = read_choice (input, selection, live, n, memory[4], memory[2], error);
  for (gsize i = 0; i < G_N_ELEMENTS (memory); i++)
    device_free (dev, memory[i]);
  return done;
}

/* The tiles of a plan, in all [P]. */
static int
list_tiles (const VlmPolicy *policy, const VlmPolicyInput *input,
    const int *per_tile, PatchTile *tiles)
{
  const VlmTileGeometry *g = &input->geometry;
  int live[VLM_MAX_TILES], n = vlm_tile_count (g);
  VlmCanvas canvas = policy->best_of (input);

  for (int t = 0; t < n; t++)
    live[t] = t;
  vlm_pick_tiles (&canvas, g, per_tile, live, n, 0, tiles);
  for (int t = 1; t < n; t++)
    tiles[t].area = policy->area (input, t);
  return n;
}

/* The device's shares instead of the policy's own: nothing may change. */
static void
share_on_device (
    const VlmPolicy *policy, const VlmPolicyInput *input, const int *per_tile)
{
  VlmPolicyInput blind = *input;
  int side = input->geometry.side, even[VLM_MAX_TILES], n, shared = 0;
  PatchTile tiles[VLM_MAX_TILES];
  gboolean all;

  blind.cls_first = NULL;
  g_assert_true (policy->plan (&blind, even, &all, NULL));
  n = list_tiles (policy, input, even, tiles);
  for (int t = 1; t < n; t++)
    shared += even[t];
  void *memory[] = { uploaded (tiles, n * sizeof *tiles),
    uploaded (input->cls_first, side * side * sizeof (float)),
    uploaded (NULL, (n + 1) * sizeof (int)),
    uploaded (NULL, n * sizeof (double)) };

  device ()->op->share_patches (
      device (), memory[0], memory[2], memory[3], memory[1], n, side, shared);
  device_download (device (), tiles, memory[0], n * sizeof *tiles);
  for (int t = 0; t < n; t++)
    g_assert_cmpint (tiles[t].n, ==, per_tile[t]);
  for (gsize i = 0; i < G_N_ELEMENTS (memory); i++)
    device_free (device (), memory[i]);
}

gboolean
choose_rows (const VlmPolicy *policy, const VlmPolicyInput *input,
    VlmSelection *selection, GError **error)
{
  VlmCanvas canvas;

  if (!policy->best_of)
    return policy->select (input, selection, error);
  canvas = policy->best_of (input);
  return !vlm_pick_begin (&canvas, input, selection) ||
         choose_on_device (&canvas, input, selection, error);
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
  if (policy->area)
    share_on_device (policy, input, o->per_tile);
  g_assert_true (choose_rows (policy, input, &o->selection, &error));
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
