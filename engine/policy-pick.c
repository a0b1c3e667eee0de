/* policy-pick.c - what policies share: best tokens of a tile, packing order
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#include "engine/policy-pick.h"

#include <glib/gi18n-lib.h>
#include <math.h>

#include "engine/error.h"
#include "kernels/choice.h"

static void
refuse (int y, int x, GError **error)
{
  vlm_fail (error, VLM_ERROR_REQUEST, NULL,
      "The attention score of patch %d of row %d is not a number.", x, y);
}

static gboolean
all_numbers (
    const float *score, int side, const PatchRect *rect, GError **error)
{
  for (int y = rect->y0; y < rect->y1; y++)
    for (int x = rect->x0; x < rect->x1; x++)
      if (isnan (score[y * side + x])) {
        refuse (y, x, error);
        return FALSE;
      }
  return TRUE;
}

gboolean
vlm_pick_init (VlmPick *pick, const float *score, int side,
    const PatchRect *rect, int n, GError **error)
{
  g_return_val_if_fail (n >= 0 && n <= vlm_patch_count (rect), FALSE);

  *pick = (VlmPick){ G_MAXUINT32, 0 };
  if (n == 0)
    return TRUE;
  if (!all_numbers (score, side, rect, error))
    return FALSE;

  pick->cut = choice_cut (score + rect->y0 * side + rect->x0, side,
      rect->y1 - rect->y0, rect->x1 - rect->x0, n, &pick->n_at);
  return TRUE;
}

gboolean
vlm_pick_check (
    const VlmPolicyInput *input, int t, const PatchRect *rect, GError **error)
{
  int S = input->geometry.side;

  if (all_numbers (input->cls_last + t * S * S, S, rect, error))
    return TRUE;
  g_prefix_error (error, vlm_text ("Tile %d, last layer: "), t);
  return FALSE;
}

gboolean
vlm_pick_tile (VlmPick *pick, const VlmPolicyInput *input, int t,
    const PatchRect *rect, int n, GError **error)
{
  int S = input->geometry.side;

  if (vlm_pick_init (pick, input->cls_last + t * S * S, S, rect, n, error))
    return TRUE;
  g_prefix_error (error, vlm_text ("Tile %d, last layer: "), t);
  return FALSE;
}

gboolean
vlm_pick_takes (VlmPick *pick, float score)
{
  guint32 rank = choice_rank (score);

  return rank > pick->cut || (rank == pick->cut && pick->n_at-- > 0);
}

VlmCanvas
vlm_canvas_stock (const VlmTileGeometry *g)
{
  VlmCanvas canvas = { .across = g->cols };
  int y, x, h, w;

  vlm_tile_kept (g, &y, &h, &x, &w);
  canvas.used = (PatchRect){ y, y + h, x, x + w };
  return canvas;
}

VlmCanvas
vlm_canvas_whole (const VlmTileGeometry *g)
{
  return (VlmCanvas){ .across = g->cols,
    .used = { 0, g->rows * g->side, 0, g->cols * g->side } };
}

/* Of an axis of `cells` on a canvas whose other axis has `other`, what is
 * kept of a picture this long and that wide, in the float32 steps of
 * torch. */
static void
unpad (int cells, int other, int length, int width, int *from, int *to)
{
  float scale = (1.0f / (float) width) * (float) other;
  int kept = (int) ((float) length * scale);
  int cut = (cells - kept) / 2;

  *from = cut;
  *to = cells - cut;
}

VlmCanvas
vlm_canvas_transposed (const VlmTileGeometry *g)
{
  int h = g->cols * g->side, w = g->rows * g->side;
  VlmCanvas canvas = { .across = g->rows, .used = { 0, h, 0, w } };
  PatchRect *used = &canvas.used;

  if (h == 0)
    return canvas;
  if ((float) g->img_w / (float) g->img_h > (float) w / (float) h)
    unpad (h, w, g->img_h, g->img_w, &used->y0, &used->y1);
  else
    unpad (w, h, g->img_w, g->img_h, &used->x0, &used->x1);
  return canvas;
}

/* The part of [from,to) that lies in the at-th run of n, counted from it. */
static void
clip (int from, int to, int at, int n, int *lo, int *hi)
{
  *lo = CLAMP (from - at * n, 0, n);
  *hi = CLAMP (to - at * n, *lo, n);
}

PatchRect
vlm_canvas_tile (const VlmCanvas *canvas, const VlmTileGeometry *g, int t)
{
  PatchRect rect = { 0, g->side, 0, g->side };
  const PatchRect *used = &canvas->used;

  if (t > 0) {
    int r = (t - 1) / canvas->across, c = (t - 1) % canvas->across;

    clip (used->y0, used->y1, r, g->side, &rect.y0, &rect.y1);
    clip (used->x0, used->x1, c, g->side, &rect.x0, &rect.x1);
  }
  return rect;
}

static void
consider (const VlmPolicyInput *input, VlmPick *pick, int token, int N,
    VlmSelection *selection)
{
  if (!pick || vlm_pick_takes (&pick[token / N], input->cls_last[token]))
    selection->order[selection->n++] = token;
}

/* The token at a place of the canvas. */
static int
token_at (const VlmCanvas *canvas, int S, int y, int x)
{
  int tile = 1 + y / S * canvas->across + x / S;

  return (tile * S + y % S) * S + x % S;
}

static void
append_marked (
    const float *mark, float value, int token, int N, VlmSelection *selection)
{
  if (mark[token] != value)
    return;
  selection->order[selection->n++] = token;
  selection->per_tile[token / N]++;
}

void
vlm_canvas_marked (const VlmCanvas *canvas, const VlmTileGeometry *g,
    const float *mark, float value, VlmSelection *selection)
{
  const PatchRect *used = &canvas->used;
  int S = g->side, N = S * S;

  selection->n = 0;
  for (int t = 0; t < vlm_tile_count (g); t++)
    selection->per_tile[t] = 0;
  for (int j = 0; j < N; j++)
    append_marked (mark, value, j, N, selection);
  for (int y = used->y0; y < used->y1; y++)
    for (int x = used->x0; x < used->x1; x++)
      append_marked (mark, value, token_at (canvas, S, y, x), N, selection);
}

void
vlm_canvas_order (const VlmCanvas *canvas, const VlmPolicyInput *input,
    VlmPick *pick, VlmSelection *selection)
{
  const PatchRect *used = &canvas->used;
  int S = input->geometry.side, N = S * S;

  selection->n = 0;
  for (int j = 0; j < N; j++)
    consider (input, pick, j, N, selection);
  for (int y = used->y0; y < used->y1; y++)
    for (int x = used->x0; x < used->x1; x++)
      consider (input, pick, token_at (canvas, S, y, x), N, selection);
}

gboolean
vlm_pick_begin (const VlmCanvas *canvas, const VlmPolicyInput *input,
    VlmSelection *selection)
{
  if (vlm_pick_everything (input, selection)) {
    selection->packed = !canvas->bare;
    return FALSE;
  }
  selection->n = 0;
  for (int t = 0; t < vlm_tile_count (&input->geometry); t++)
    selection->n += selection->per_tile[t];
  selection->packed = FALSE;
  return TRUE;
}

void
vlm_pick_tiles (const VlmCanvas *canvas, const VlmTileGeometry *g,
    const int *per_tile, const int *live, int n, int first, PatchTile *tiles)
{
  for (int i = 0; i < n; i++) {
    PatchRect rect = vlm_canvas_tile (canvas, g, live[i]);
    int count = per_tile[live[i]];

    g_assert (count <= vlm_patch_count (&rect));
    tiles[i] = (PatchTile){ live[i], rect, { 0 }, count, first };
    first += count;
  }
}

void
vlm_pick_refuse (int tile, int patch, int side, GError **error)
{
  refuse (patch / side, patch % side, error);
  g_prefix_error (error, vlm_text ("Tile %d, last layer: "), tile);
}

gboolean
vlm_pick_everything (const VlmPolicyInput *input, VlmSelection *selection)
{
  const VlmTileGeometry *g = &input->geometry;
  VlmCanvas canvas = vlm_canvas_stock (g);

  for (int t = 0; t < vlm_tile_count (g); t++) {
    PatchRect rect = vlm_canvas_tile (&canvas, g, t);

    if (selection->per_tile[t] != vlm_patch_count (&rect))
      return FALSE;
  }
  vlm_canvas_order (&canvas, input, NULL, selection);
  selection->packed = TRUE;
  return TRUE;
}

double
vlm_shown_sum (double sum)
{
  return isnan (sum) ? NAN : sum;
}

gboolean
vlm_budget_tokens (const VlmPolicyInput *input, double slack, int limit,
    int *tokens, GError **error)
{
  double budget = input->budget;
  double all = vlm_policy_tokens (&input->geometry);

  if (!(budget >= 0)) {
    const char *expected =
        N_ ("a share from 0 to 1 or a number of tokens above 1");
    g_autofree char *found = g_strdup_printf ("%g", budget);

    return vlm_fail (error, VLM_ERROR_SETTINGS,
        VLM_ABOUT (.setting = "token-budget", .expected = expected,
            .found = found),
        "The token budget is %s, expected %s.", found, vlm_text (expected));
  }
  *tokens = (int) MIN ((budget <= 1 ? all * budget : budget) + slack, limit);
  return TRUE;
}
