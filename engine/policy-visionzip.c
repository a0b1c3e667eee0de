/* policy-visionzip.c - dominant tokens kept, the others merged into a few
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Source: Yang et al., "VisionZip: Longer is Better but Not Necessary in
 * Vision Language Models", CVPR 2025, and github.com/dvlab-research/VisionZip
 * at 3151f6d. Dominant are the class token and the patches it attends to most
 * in the last layer; of the rest some at even steps become contextual tokens,
 * and each other one goes to the contextual token whose key is nearest. A
 * contextual token is its own features plus the mean of those that went to it.
 */
#include <math.h>
#include <string.h>

#include "engine/error.h"
#include "engine/policy-merge.h"
#include "engine/policy-rank.h"
#include "engine/policy-share.h"

enum {
  PARAM_REFERENCE,
  PARAM_DOMINANT,
  PARAM_CONTEXTUAL,
};

/* One tile. Lists of patches are in the selection's work. */
typedef struct {
  int tile, n_dominant; /* the class token is not counted */
  int n_rest, n_targets, step;
  int *dominant; /* ascending */
  int *rest;     /* ascending; target i is rest[i * step] */
  int *nearest;  /* [n_rest] number of the target each goes to */
  float *cosine; /* [n_rest] with it, times the length of its own key */
} Split;

static gboolean
is_reference (const VlmPolicyInput *input)
{
  return input->param[PARAM_REFERENCE] != 0;
}

static VlmCanvas
canvas_of (const VlmPolicyInput *input)
{
  const VlmTileGeometry *g = &input->geometry;

  return is_reference (input) ? vlm_canvas_whole (g) : vlm_canvas_stock (g);
}

/* ---- numbers ---- */

/* Dominant rows of a tile in the reference mode. */
static int
reference_dominant (const VlmPolicyInput *input)
{
  int N = input->geometry.side * input->geometry.side;

  return MIN ((int) input->param[PARAM_DOMINANT], N + 1);
}

/* Of `rows` rows of a tile, how many are contextual: 10 of 64, as the authors
 * have it. */
static int
contextual_rows (const VlmPolicyInput *input, int rows)
{
  if (is_reference (input))
    return rows - reference_dominant (input);
  return rows < 3 ? 0 : MAX (1, (rows * 5 + 16) / 32);
}

static gboolean
visionzip_plan (
    const VlmPolicyInput *input, int *per_tile, gboolean *all, GError **error)
{
  const VlmTileGeometry *g = &input->geometry;
  int eligible[VLM_MAX_TILES], N = g->side * g->side;
  int dominant = reference_dominant (input);

  vlm_share_eligible (g, eligible);
  if (!vlm_share_plan (input, NULL, eligible, per_tile, all, error))
    return FALSE;
  if (!is_reference (input))
    return TRUE;
  for (int t = 0; t < vlm_tile_count (g); t++)
    per_tile[t] =
        dominant + MIN ((int) input->param[PARAM_CONTEXTUAL], N + 1 - dominant);
  *all = FALSE;
  return TRUE;
}

/* ---- one tile ---- */

/* Turns the best patches, in any order, and the list of all into two lists,
 * both ascending. */
static void
part (Split *s, const int *list, int length, int *is_dominant)
{
  int n = 0;

  for (int i = 0; i < length; i++)
    is_dominant[list[i]] = FALSE;
  for (int i = 0; i < s->n_dominant; i++)
    is_dominant[s->dominant[i]] = TRUE;
  for (int i = 0; i < length; i++)
    if (is_dominant[list[i]])
      s->dominant[n++] = list[i];
    else
      s->rest[s->n_rest++] = list[i];
}

static gboolean
split_tile (const VlmPolicyInput *input, VlmSelection *selection, int t,
    Split *s, GError **error)
{
  const VlmTileGeometry *g = &input->geometry;
  VlmCanvas canvas = canvas_of (input);
  int N = g->side * g->side, rows = selection->per_tile[t];
  int *list = selection->work, length = vlm_rank_list (&canvas, g, t, list);

  *s = (Split){ .tile = t,
    .n_targets = contextual_rows (input, rows),
    .dominant = list + N,
    .rest = list + 2 * N,
    .nearest = list + 3 * N,
    .cosine = selection->values };
  s->n_dominant = rows - 1 - s->n_targets;
  if (!vlm_rank_best (input->cls_last + t * N, list, length, s->n_dominant,
          s->dominant, error)) {
    g_prefix_error (error, vlm_text ("Tile %d, last layer: "), t);
    return FALSE;
  }
  part (s, list, length, s->nearest);
  s->step = s->n_targets > 0 ? MAX (1, s->n_rest / s->n_targets) : 1;
  return TRUE;
}

static const float *
key_of (const VlmPolicyInput *input, const Split *s, int at)
{
  gsize N = input->geometry.side * input->geometry.side;

  return input->key + (s->tile * N + s->rest[at]) * input->key_width;
}

static double
product (const float *a, const float *b, int n)
{
  double sum = 0;

  for (int i = 0; i < n; i++)
    sum += (double) a[i] * b[i];
  return sum;
}

static gboolean
is_target (const Split *s, int at)
{
  return at % s->step == 0 && at / s->step < s->n_targets;
}

/* Sends each of the rest to the target of largest cosine, the first of
 * equals. The length of its own key decides nothing. */
static gboolean
find_nearest (const VlmPolicyInput *input, Split *s, GError **error)
{
  int width = input->key_width;

  for (int i = 0; i < s->n_targets; i++) {
    const float *target = key_of (input, s, i * s->step);
    double length = sqrt (product (target, target, width));

    for (int at = 0; at < s->n_rest; at++) {
      double along = product (key_of (input, s, at), target, width);
      float cosine = length > 0 ? (float) (along / length) : 0;

      if (isnan (along)) {
        vlm_fail (error, VLM_ERROR_REQUEST, NULL,
            "Tile %d, last layer: a key of patch %d or %d is not a number.",
            s->tile, s->rest[at], s->rest[i * s->step]);
        return FALSE;
      }
      if (i == 0 || cosine > s->cosine[at]) {
        s->cosine[at] = cosine;
        s->nearest[at] = i;
      }
    }
  }
  return TRUE;
}

static gboolean
add_contextual (const VlmPolicyInput *input, VlmSelection *selection, Split *s,
    GError **error)
{
  int first = s->tile * input->geometry.side * input->geometry.side;

  if (!find_nearest (input, s, error))
    return FALSE;
  for (int i = 0; i < s->n_targets; i++) {
    int n = 0;

    for (int at = 0; at < s->n_rest; at++)
      n += s->nearest[at] == i && !is_target (s, at);
    vlm_merge_token (selection, first + s->rest[i * s->step]);
    for (int at = 0; at < s->n_rest; at++)
      if (s->nearest[at] == i && !is_target (s, at))
        vlm_merge_add (selection, first + s->rest[at], 1.0f / n);
  }
  return TRUE;
}

/* ---- the sequence ---- */

static void
add_class (const VlmPolicyInput *input, VlmSelection *selection, int t)
{
  vlm_merge_token (selection, vlm_policy_tokens (&input->geometry) + t);
}

/* Tile 0: class token, dominant patches, contextual tokens. */
static gboolean
add_base (const VlmPolicyInput *input, VlmSelection *selection, GError **error)
{
  Split split;

  if (selection->per_tile[0] == 0)
    return TRUE;
  if (!split_tile (input, selection, 0, &split, error))
    return FALSE;
  add_class (input, selection, 0);
  for (int i = 0; i < split.n_dominant; i++)
    vlm_merge_token (selection, split.dominant[i]);
  return add_contextual (input, selection, &split, error);
}

/* Dominant patches of the other tiles, in the order of the canvas. */
static gboolean
add_dominant (
    const VlmPolicyInput *input, VlmSelection *selection, GError **error)
{
  const VlmTileGeometry *g = &input->geometry;
  VlmCanvas canvas = canvas_of (input);
  int *ids = selection->order + selection->n, n = 0;

  for (int t = 1; t < vlm_tile_count (g); t++) {
    Split split;

    if (selection->per_tile[t] == 0)
      continue;
    if (!split_tile (input, selection, t, &split, error))
      return FALSE;
    for (int i = 0; i < split.n_dominant; i++)
      ids[n++] = t * g->side * g->side + split.dominant[i];
  }
  n = vlm_rank_pack (&canvas, g, ids, n);
  for (int i = 0; i < n; i++)
    vlm_merge_token (selection, ids[i]);
  return TRUE;
}

static gboolean
visionzip_select (
    const VlmPolicyInput *input, VlmSelection *selection, GError **error)
{
  int n_tiles = vlm_tile_count (&input->geometry);

  if (!is_reference (input) && vlm_pick_everything (input, selection))
    return TRUE;
  vlm_merge_init (selection);
  if (!add_base (input, selection, error) ||
      !add_dominant (input, selection, error))
    return FALSE;
  for (int t = 1; t < n_tiles; t++)
    if (selection->per_tile[t] > 0)
      add_class (input, selection, t);
  for (int t = 1; t < n_tiles; t++) {
    Split split;

    if (selection->per_tile[t] > 0 &&
        (!split_tile (input, selection, t, &split, error) ||
            !add_contextual (input, selection, &split, error)))
      return FALSE;
  }
  return TRUE;
}

/* No token is in two rows. */
static int
visionzip_entries (const VlmPolicyInput *input)
{
  return vlm_policy_bound (&input->geometry);
}

const VlmPolicy vlm_policy_visionzip = {
  .name = "visionzip",
  .nick = "VisionZip",
  .blurb = "The last layer's best tokens with the class token, the others "
           "merged into a few by their keys (VisionZip)",
  .select_taps = VLM_TAP_CLS_LAST | VLM_TAP_KEYS_LAST,
  .n_params = 3,
  .params = { { "reference",
                  "1: as the authors' code, padding included, of every tile "
                  "dominant and contextual tokens whatever the budget",
                  0, 1, 0 },
      { "dominant", "Reference mode: tokens kept, the class token included", 1,
          65536, 191 },
      { "contextual", "Reference mode: tokens merged", 0, 65536, 30 } },
  .plan = visionzip_plan,
  .select = visionzip_select,
  .entries = visionzip_entries,
};
