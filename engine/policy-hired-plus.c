/* policy-hired-plus.c - HiRED with the tiles' tokens in one competition
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * HiRED (policy-hired.c) gives half of the budget to the whole picture and
 * divides the rest among tiles before it has seen them. Here the whole
 * picture gets less, as neighbours in it show the same thing: a token that is
 * taken lowers the score of the eight around it. The tokens of all tiles then
 * compete for the rest by
 *
 *   weight of the tile * last layer's class attention within the tile,
 *
 * where the weight is the share of the tile's area in the whole picture's
 * class attention, in the first layer and in the last one alike. What was
 * tried besides, and did not help, is in docs/policies.md.
 */
#include <math.h>
#include <string.h>

#include "engine/error.h"
#include "engine/policy-hired.h"
#include "engine/policy-pick.h"
#include "engine/policy-share.h"

enum {
  PARAM_ALPHA,
  PARAM_CROWD,
};

static gboolean
plus_plan (
    const VlmPolicyInput *input, int *per_tile, gboolean *all, GError **error)
{
  int eligible[VLM_MAX_TILES], total;
  int sum = vlm_share_eligible (&input->geometry, eligible);

  if (!vlm_budget_tokens (input, 1e-6, sum, &total, error))
    return FALSE;
  *all = total == sum;
  for (int t = 0; t < vlm_tile_count (&input->geometry); t++)
    per_tile[t] = MIN (total, eligible[t]);
  return TRUE;
}

/* ---- the whole picture ---- */

static gboolean
check_map (
    const float *score, int n, const char *layer, double *sum, GError **error)
{
  *sum = 0;
  for (int j = 0; j < n; j++)
    *sum += score[j];
  if (*sum >= 0 && isfinite (*sum)) {
    *sum += *sum == 0;
    return TRUE;
  }
  g_set_error (error, VLM_ERROR, VLM_ERROR_REQUEST,
      "The %s layer's attention to the whole picture sums to %g, expected 0 "
      "or more.",
      layer, *sum);
  return FALSE;
}

static void
crowd (float *score, int S, int at, float factor)
{
  for (int y = MAX (at / S - 1, 0); y <= MIN (at / S + 1, S - 1); y++)
    for (int x = MAX (at % S - 1, 0); x <= MIN (at % S + 1, S - 1); x++)
      if (score[y * S + x] > 0)
        score[y * S + x] *= factor;
}

/* Appends n tokens of tile 0, best first taken, in ascending order. `score`
 * [N] is scratch. */
static gboolean
take_base (const VlmPolicyInput *input, int n, float *score,
    VlmSelection *selection, GError **error)
{
  int S = input->geometry.side, N = S * S;
  double sum;
  /* Alone it has nobody to leave the details to. */
  float factor = input->geometry.rows ? input->param[PARAM_CROWD] : 1;

  if (!check_map (input->cls_last, N, "last", &sum, error))
    return FALSE;
  memcpy (score, input->cls_last, N * sizeof *score);
  for (int i = 0; i < n; i++) {
    int best = 0;

    for (int j = 1; j < N; j++)
      if (score[j] > score[best])
        best = j;
    crowd (score, S, best, factor);
    score[best] = -1;
  }
  for (int j = 0; j < N; j++)
    if (score[j] < 0)
      selection->order[selection->n++] = j;
  return TRUE;
}

/* ---- the tiles ---- */

static gboolean
weigh_tiles (const VlmCanvas *canvas, const VlmPolicyInput *input,
    float *weight, GError **error)
{
  const VlmTileGeometry *g = &input->geometry;
  int S = g->side, N = S * S;
  double first, last, sum[VLM_MAX_TILES] = { 0 };

  if (!check_map (input->cls_first, N, "first", &first, error) ||
      !check_map (input->cls_last, N, "last", &last, error))
    return FALSE;
  for (int t = 1; t < vlm_tile_count (g); t++) {
    VlmPatchRect rect = vlm_canvas_tile (canvas, g, t);

    if (!vlm_pick_check (input, t, &rect, error))
      return FALSE;
  }
  for (int j = 0; j < N; j++)
    sum[vlm_hired_area (g, j / S, j % S)] +=
        input->cls_first[j] / first + input->cls_last[j] / last;
  for (int t = 1; t < vlm_tile_count (g); t++)
    weight[t] = (float) sum[t];
  return TRUE;
}

/* Tokens of each tile whose weighted score is above (or, with `equal`, is)
 * `limit`, [P]; returns their sum. */
static int
count_tokens (const VlmCanvas *canvas, const VlmPolicyInput *input,
    const float *weight, float limit, gboolean equal, int *count)
{
  const VlmTileGeometry *g = &input->geometry;
  int S = g->side, sum = 0;

  for (int t = 1; t < vlm_tile_count (g); t++) {
    VlmPatchRect rect = vlm_canvas_tile (canvas, g, t);
    const float *score = input->cls_last + t * S * S;

    count[t] = 0;
    for (int y = rect.y0; y < rect.y1; y++)
      for (int x = rect.x0; x < rect.x1; x++) {
        float value = weight[t] * score[y * S + x];

        count[t] += equal ? value == limit : value > limit;
      }
    sum += count[t];
  }
  return sum;
}

/* The n best of all tiles, as numbers of each: bisection over the bits of a
 * limit, as floats from 0 up are ordered like their bits. Ties go to the
 * lower tile. */
static void
compete (const VlmCanvas *canvas, const VlmPolicyInput *input,
    const float *weight, int n, int *count)
{
  guint32 low = 0, high = 0x7f800000; /* infinity: nothing is above it */
  int equal[VLM_MAX_TILES];
  float limit;

  while (low < high) {
    guint32 middle = low + (high - low) / 2;

    memcpy (&limit, &middle, sizeof limit);
    if (count_tokens (canvas, input, weight, limit, FALSE, count) <= n)
      high = middle;
    else
      low = middle + 1;
  }
  memcpy (&limit, &low, sizeof limit);
  n -= count_tokens (canvas, input, weight, limit, FALSE, count);
  count_tokens (canvas, input, weight, limit, TRUE, equal);
  for (int t = 1; t < vlm_tile_count (&input->geometry); t++) {
    int more = MIN (n, equal[t]);

    count[t] += more;
    n -= more;
  }
}

static gboolean
take_tiles (
    const VlmPolicyInput *input, int n, VlmSelection *selection, GError **error)
{
  const VlmTileGeometry *g = &input->geometry;
  VlmCanvas canvas = vlm_canvas_stock (g);
  VlmPick pick[VLM_MAX_TILES];
  float weight[VLM_MAX_TILES];

  if (!weigh_tiles (&canvas, input, weight, error))
    return FALSE;
  compete (&canvas, input, weight, n, selection->per_tile);
  for (int t = 1; t < vlm_tile_count (g); t++) {
    VlmPatchRect rect = vlm_canvas_tile (&canvas, g, t);

    if (!vlm_pick_tile (
            &pick[t], input, t, &rect, selection->per_tile[t], error))
      return FALSE;
  }
  vlm_canvas_append (&canvas, input, pick, selection);
  return TRUE;
}

static gboolean
plus_select (
    const VlmPolicyInput *input, VlmSelection *selection, GError **error)
{
  const VlmTileGeometry *g = &input->geometry;
  int eligible[VLM_MAX_TILES], total, full, N = g->side * g->side;
  int sum = vlm_share_eligible (g, eligible);

  if (!vlm_budget_tokens (input, 1e-6, sum, &total, error))
    return FALSE;
  selection->packed = total == sum;
  if (selection->packed) {
    VlmCanvas canvas = vlm_canvas_stock (g);

    vlm_canvas_order (&canvas, input, NULL, selection);
    return TRUE;
  }
  full = MIN ((int) (input->param[PARAM_ALPHA] * total + 1e-6), N);
  full = MAX (full, total - (sum - N));
  selection->n = 0;
  selection->per_tile[0] = full;
  return take_base (input, full, (float *) selection->work, selection, error) &&
         (!g->rows || take_tiles (input, total - full, selection, error));
}

const VlmPolicy vlm_policy_hired_plus = {
  .name = "hired-plus",
  .nick = "HiRED Plus",
  .blurb = "HiRED with fewer tokens of the whole picture, spread out, and one "
           "competition among the tokens of all tiles",
  .select_taps = VLM_TAP_CLS_FIRST | VLM_TAP_CLS_LAST,
  .n_params = 2,
  .params = { { "alpha", "Share of the budget that the whole picture gets", 0,
                  1, 0.35 },
      { "crowd",
          "What a token taken of the whole picture leaves of the score "
          "of its neighbours; 1: all",
          0, 1, 0.4 } },
  .plan = plus_plan,
  .select = plus_select,
};
