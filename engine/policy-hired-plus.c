/* policy-hired-plus.c - HiRED with the tiles' tokens in one competition
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * HiRED (policy-hired.c) divides the tiles' part of the budget among them
 * before it has seen them. Here the tokens of all tiles compete for it by
 *
 *   weight of the tile * last layer's class attention within the tile,
 *
 * where the weight is the share of the tile's area in the whole picture's
 * class attention, in the first layer and in the last one alike. And little is
 * paid for twice: a token that is taken makes those around it less wanted, all
 * alike in the whole picture, in a tile the more they are like it
 * (policy-greedy.h). What is left stays in its place (places.h), and where
 * there are tokens enough, lines that something is left of end with a newline,
 * as the whole picture's do. What was tried besides, and did not help, is in
 * docs/policies.md.
 */
#include <glib/gi18n-lib.h>
#include <math.h>
#include <string.h>

#include "engine/error.h"
#include "engine/policy-greedy.h"
#include "engine/policy-hired.h"
#include "engine/policy-pick.h"
#include "engine/policy-share.h"

enum {
  PARAM_ALPHA,
  PARAM_CROWD,
  PARAM_ALIKE,
  PARAM_LINES,
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

/* ---- the weights of tiles ---- */

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
  vlm_fail (error, VLM_ERROR_REQUEST, NULL,
      "The %s layer's attention to the whole picture sums to %g, expected 0 "
      "or more.",
      vlm_text (layer), vlm_shown_sum (*sum));
  return FALSE;
}

static gboolean
check_tiles (
    const VlmCanvas *canvas, const VlmPolicyInput *input, GError **error)
{
  for (int t = 0; t < vlm_tile_count (&input->geometry); t++) {
    PatchRect rect = vlm_canvas_tile (canvas, &input->geometry, t);

    if (!vlm_pick_check (input, t, &rect, error))
      return FALSE;
  }
  return TRUE;
}

/* weight[t] of the tiles but the first, if there are any. */
static gboolean
weigh_tiles (const VlmPolicyInput *input, float *weight, GError **error)
{
  const VlmTileGeometry *g = &input->geometry;
  int S = g->side, N = S * S;
  double first, last, sum[VLM_MAX_TILES] = { 0 };

  if (!check_map (input->cls_last, N, N_ ("last"), &last, error))
    return FALSE;
  if (!g->rows)
    return TRUE;
  if (!check_map (input->cls_first, N, N_ ("first"), &first, error))
    return FALSE;
  for (int j = 0; j < N; j++)
    sum[vlm_hired_area (g, j / S, j % S)] +=
        input->cls_first[j] / first + input->cls_last[j] / last;
  for (int t = 1; t < vlm_tile_count (g); t++)
    weight[t] = (float) sum[t];
  return TRUE;
}

/* ---- the choice ---- */

/* Tiles from first to end-1 as candidates, worth weight[t] * attention. */
static void
propose (const VlmCanvas *canvas, const VlmPolicyInput *input,
    const float *weight, int first, int end, VlmGreedy *greedy)
{
  const VlmTileGeometry *g = &input->geometry;
  int S = g->side;

  greedy->n_heap = 0;
  for (int t = first; t < end; t++) {
    PatchRect rect = vlm_canvas_tile (canvas, g, t);

    for (int y = rect.y0; y < rect.y1; y++)
      for (int x = rect.x0; x < rect.x1; x++) {
        int id = (t * S + y) * S + x;

        greedy->score[id] = MAX (weight[t] * input->cls_last[id], 0);
        greedy->heap[greedy->n_heap++] = id;
      }
  }
}

/* Whether there are tokens enough for lines to end with one. */
static gboolean
affords_lines (const VlmCanvas *canvas, const VlmPolicyInput *input, int parts)
{
  int lines = canvas->used.y1 - canvas->used.y0;
  double least = input->param[PARAM_LINES];

  return input->newlines && least > 0 && parts >= least * lines;
}

/* Puts the last row of each line that has an end where it is said which have:
 * a line is read before its place is written. */
static void
end_lines (const VlmTileGeometry *g, VlmSelection *selection)
{
  const gboolean *ended = selection->lines;

  for (int i = selection->per_tile[0]; i < selection->n; i++) {
    int line = vlm_greedy_line (g->side, g->cols, selection->order[i]);
    gboolean last =
        i + 1 == selection->n ||
        vlm_greedy_line (g->side, g->cols, selection->order[i + 1]) != line;

    if (last && ended[line])
      selection->lines[selection->n_lines++] = i;
  }
}

/* `full` tokens of the whole picture and `parts` of the others. */
static gboolean
compete (const VlmCanvas *canvas, const VlmPolicyInput *input, int full,
    int parts, VlmSelection *selection, GError **error)
{
  const VlmTileGeometry *g = &input->geometry;
  int n_tiles = vlm_tile_count (g), bound = vlm_policy_tokens (g);
  int lines = g->rows * g->side;
  float weight[VLM_MAX_TILES] = { 1 };
  VlmGreedy greedy = { .side = g->side,
    .score = (float *) selection->work,
    .held = (float *) selection->work + bound,
    .heap = selection->work + 2 * bound };

  if (!weigh_tiles (input, weight, error) ||
      !check_tiles (canvas, input, error))
    return FALSE;
  for (int id = 0; id < bound; id++)
    greedy.score[id] = 0;
  /* Alone it has nobody to leave the details to: plain ranking. */
  greedy.strength = g->rows ? 1 - (float) input->param[PARAM_CROWD] : 0;
  propose (canvas, input, weight, 0, 1, &greedy);
  vlm_greedy_take (&greedy, full);
  greedy.near = input->near;
  greedy.strength = (float) input->param[PARAM_ALIKE];
  greedy.across = g->cols;
  if (affords_lines (canvas, input, parts))
    greedy.ended = memset (selection->lines, 0, lines * sizeof (gboolean));
  propose (canvas, input, weight, 1, n_tiles, &greedy);
  vlm_greedy_take (&greedy, parts);
  vlm_canvas_marked (canvas, g, greedy.score, VLM_GREEDY_TAKEN, selection);
  selection->n_lines = 0;
  if (greedy.ended)
    end_lines (g, selection);
  return TRUE;
}

static gboolean
plus_select (
    const VlmPolicyInput *input, VlmSelection *selection, GError **error)
{
  const VlmTileGeometry *g = &input->geometry;
  int eligible[VLM_MAX_TILES], total, full, N = g->side * g->side;
  int sum = vlm_share_eligible (g, eligible);
  VlmCanvas canvas = vlm_canvas_stock (g);

  if (!vlm_budget_tokens (input, 1e-6, sum, &total, error))
    return FALSE;
  selection->packed = total == sum;
  if (selection->packed) {
    vlm_canvas_order (&canvas, input, NULL, selection);
    return TRUE;
  }
  full = MIN ((int) (input->param[PARAM_ALPHA] * total + 1e-6), N);
  full = MAX (full, total - (sum - N));
  return compete (&canvas, input, full, total - full, selection, error);
}

const VlmPolicy vlm_policy_hired_plus = {
  .name = "hired-plus",
  .nick = "HiRED Plus",
  .blurb = "HiRED with one competition among the tokens of all tiles, in which "
           "neighbours that are alike count once",
  .in_place = TRUE,
  .plan_taps = VLM_TAP_CLS_FIRST,
  .select_taps = VLM_TAP_CLS_LAST | VLM_TAP_NEAR_LAST,
  .n_params = 4,
  .params = { { "alpha", "Share of the budget that the whole picture gets", 0,
                  1, 0.5 },
      { "crowd",
          "What a token taken of the whole picture leaves of the score "
          "of its neighbours; 1: all",
          0, 1, 0.6 },
      { "alike",
          "What a token taken of another tile costs a neighbour of its score, "
          "times their cosine; 0: nothing",
          0, 1, 0.8 },
      { "lines",
          "Tokens for each line of the other tiles from which on lines keep "
          "their newline, which costs one; 0: never",
          0, 1000, 3 } },
  .plan = plus_plan,
  .select = plus_select,
};
