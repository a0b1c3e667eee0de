/* vision-keep.c - which tiles are encoded and which of their rows are kept
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Attention wants the kept rows tile after tile, the language model wants
 * them in sequence order, where the tiles of a canvas row interleave.
 */
#include "engine/vision-private.h"

#include <string.h>

int
vlm_vision_host_ints (int max_tiles, int n_patches)
{
  int rows = max_tiles * (n_patches + 1);

  return 3 * rows + 2 * max_tiles + 1;
}

static void
upload (VlmVision *v, int *dst, const int *src, int n)
{
  device_upload (v->dev, dst, src, n * sizeof (int));
}

void
vlm_vision_set_live (VlmVision *v, const int *per_tile, int n_tiles)
{
  int stride = v->config.n_patches + 1;
  int *start = v->host_ints;

  v->n_live = 0;
  for (int t = 0; t < n_tiles; t++) {
    gboolean wanted = per_tile[t] > 0 || (t == 0 && v->keep_class_token);

    v->slot[t] = wanted ? v->n_live : -1;
    if (wanted)
      v->live[v->n_live++] = t;
  }
  for (int i = 0; i <= v->n_live; i++)
    start[i] = i * stride;
  upload (v, v->tile_start, start, v->n_live + 1);
  upload (v, v->class_rows, start, v->n_live);
}

typedef struct {
  int *rows;   /* [n] by sequence */
  int *start;  /* [live+1] */
  int *sorted; /* [n] rows, tile after tile */
  int *from;   /* [n] place of sequence row i in sorted */
  int *next;   /* [live] */
} Places;

static int
row_of_token (const VlmVision *v, int n_tiles, int id)
{
  int N = v->config.n_patches;
  gboolean is_class = id >= n_tiles * N;
  int tile = is_class ? id - n_tiles * N : id / N;

  g_assert (id >= 0 && tile < n_tiles && v->slot[tile] >= 0);
  return v->slot[tile] * (N + 1) + (is_class ? 0 : 1 + id % N);
}

static int
list_rows (VlmVision *v, const VlmSelection *selection, int n_tiles, int *rows)
{
  int n = 0;

  if (v->keep_class_token)
    rows[n++] = row_of_token (v, n_tiles, n_tiles * v->config.n_patches);
  for (int i = 0; i < selection->n; i++)
    rows[n++] = row_of_token (v, n_tiles, selection->order[i]);
  return n;
}

/* A stable counting sort by tile. */
static void
sort_by_tile (const VlmVision *v, Places *p, int n)
{
  int stride = v->config.n_patches + 1;

  memset (p->start, 0, (v->n_live + 1) * sizeof (int));
  for (int i = 0; i < n; i++)
    p->start[p->rows[i] / stride + 1]++;
  for (int s = 0; s < v->n_live; s++) {
    p->start[s + 1] += p->start[s];
    p->next[s] = p->start[s];
  }
  for (int i = 0; i < n; i++) {
    p->from[i] = p->next[p->rows[i] / stride]++;
    p->sorted[p->from[i]] = p->rows[i];
  }
}

void
vlm_vision_keep (VlmVision *v, const VlmSelection *selection, int n_tiles)
{
  int rows = v->max_tiles * (v->config.n_patches + 1);
  Places p = { .rows = v->host_ints };

  p.sorted = p.rows + rows;
  p.from = p.sorted + rows;
  p.start = p.from + rows;
  p.next = p.start + v->max_tiles + 1;
  v->n_kept = list_rows (v, selection, n_tiles, p.rows);
  sort_by_tile (v, &p, v->n_kept);
  upload (v, v->kept_start, p.start, v->n_live + 1);
  upload (v, v->kept_rows, p.sorted, v->n_kept);
  upload (v, v->kept_from, p.from, v->n_kept);
  upload (v, v->sequence_rows, p.rows, v->n_kept);
}
