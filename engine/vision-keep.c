/* vision-keep.c - which tiles are encoded, which of their rows are needed, and
 * what becomes of them
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Attention wants the needed rows tile after tile, the language model wants
 * them in sequence order, where the tiles of a canvas row interleave.
 */
#include "engine/vision-private.h"

static void
upload (VlmVision *v, void *dst, const void *src, int n)
{
  device_upload (v->dev, dst, src, n * sizeof (int));
}

void
vlm_vision_set_live (
    VlmVision *v, const int *per_tile, int n_tiles, gboolean base)
{
  v->n_tiles = n_tiles;
  v->n_live = 0;
  for (int t = 0; t < n_tiles; t++) {
    gboolean wanted = (per_tile && per_tile[t] > 0) ||
                      (t == 0 && (base || v->keep_class_token));

    v->slot[t] = wanted ? v->n_live : -1;
    if (wanted)
      v->live[v->n_live++] = t;
  }
}

static int
row_of_token (const VlmVision *v, int id)
{
  int N = v->config.n_patches;
  gboolean is_class = id >= v->n_tiles * N;
  int tile = is_class ? id - v->n_tiles * N : id / N;

  g_assert (id >= 0 && tile < v->n_tiles && v->slot[tile] >= 0);
  return v->slot[tile] * (N + 1) + (is_class ? 0 : 1 + id % N);
}

int
vlm_vision_class_rows (const VlmVision *v)
{
  return v->keep_class_token ? 1 : 0;
}

static void
mark (VlmVision *v)
{
  const VlmSelection *s = v->selection;
  const int *ids = s->merged ? s->source : s->order;
  int n_ids = s->merged ? s->start[s->n] : s->n;

  for (int row = 0; row < v->n_live * vlm_vision_tile_rows (v); row++)
    v->place[row] = -1;
  if (vlm_vision_class_rows (v))
    v->place[0] = 0;
  for (int i = 0; i < n_ids; i++)
    v->place[row_of_token (v, ids[i])] = 0;
}

/* Numbers the rows that are marked and lists them. */
static void
number (VlmVision *v, int *rows, int *start)
{
  int stride = vlm_vision_tile_rows (v), n = 0;

  for (int row = 0; row < v->n_live * stride; row++) {
    if (row % stride == 0)
      start[row / stride] = n;
    if (v->place[row] < 0)
      continue;
    v->place[row] = n;
    rows[n++] = row;
  }
  start[v->n_live] = n;
  v->n_kept = n;
}

static void
upload_sequence (VlmVision *v, gboolean by_place)
{
  int *rows = v->host_ints, n = 0;

  if (vlm_vision_class_rows (v))
    rows[n++] = 0;
  for (int i = 0; i < v->selection->n; i++)
    rows[n++] = row_of_token (v, v->selection->order[i]);
  for (int i = 0; by_place && i < n; i++)
    rows[i] = v->place[rows[i]];
  upload (v, by_place ? v->kept_from : v->sequence_rows, rows, n);
}

void
vlm_vision_keep (VlmVision *v, const VlmSelection *selection)
{
  g_assert (selection->n <= v->max_tiles * vlm_vision_tile_rows (v));
  v->selection = selection;
  v->n_out = vlm_vision_class_rows (v) + selection->n;
  mark (v);
  number (v, v->host_ints, v->host_starts);
  upload (v, v->kept_start, v->host_starts, v->n_live + 1);
  upload (v, v->kept_rows, v->host_ints, v->n_kept);
  if (selection->merged)
    return;
  upload_sequence (v, FALSE);
  upload_sequence (v, TRUE);
}

/* ---- features ---- */

/* As many rows of the selection from row `first` on as the integers of one
 * pass hold; returns their number. */
static int
merge_some (
    VlmVision *v, Act *y, const Residual *x, gboolean by_place, int first)
{
  const VlmSelection *s = v->selection;
  int most = v->max_tiles * vlm_vision_tile_rows (v), n = 0;
  int *start = v->host_starts, *rows = v->host_ints, e = s->start[first];

  start[0] = 0;
  while (first + n < s->n && s->start[first + n + 1] - e <= most) {
    n++;
    start[n] = s->start[first + n] - e;
  }
  g_assert (n > 0);
  for (int i = 0; i < start[n]; i++) {
    int row = row_of_token (v, s->source[e + i]);

    rows[i] = by_place ? v->place[row] : row;
  }
  upload (v, v->merge_start, start, n + 1);
  upload (v, v->sequence_rows, rows, start[n]);
  upload (v, v->merge_weight, s->weight + e, start[n]);
  v->dev->op->merge_rows (v->dev, y, x, v->merge_start, v->sequence_rows,
      v->merge_weight, n, v->config.width);
  return n;
}

void
vlm_vision_gather (VlmVision *v, Act *y, const Residual *x, gboolean by_place)
{
  const Ops *op = v->dev->op;
  int C = v->config.width, first = vlm_vision_class_rows (v);

  if (!v->selection->merged) {
    op->narrow_rows (
        v->dev, y, x, by_place ? v->kept_from : v->sequence_rows, v->n_out, C);
    return;
  }
  if (first)
    op->narrow_rows (v->dev, y, x, NULL, 1, C);
  for (int i = 0; i < v->selection->n;)
    i += merge_some (
        v, act_at (v->dev, y, (gsize) (first + i) * C), x, by_place, i);
}
