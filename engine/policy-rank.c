/* policy-rank.c - tokens as lists: those of a tile, the best of them, in order
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#include "engine/policy-rank.h"

#include <math.h>
#include <string.h>

#include "engine/error.h"

/* ---- a heap ---- */

typedef struct {
  gboolean (*before) (gconstpointer data, int a, int b);
  gconstpointer data;
} Order;

/* heap[i] sinks until whatever is under it comes before it. */
static void
sink (const Order *order, int *heap, int n, int i)
{
  for (int child; (child = 2 * i + 1) < n; i = child) {
    int moved = heap[i];

    if (child + 1 < n &&
        order->before (order->data, heap[child], heap[child + 1]))
      child++;
    if (order->before (order->data, heap[child], moved))
      return;
    heap[i] = heap[child];
    heap[child] = moved;
  }
}

/* The first k of n candidates in this order, sorted. */
static void
take_first (const Order *order, const int *candidate, int n, int k, int *first)
{
  if (k == 0)
    return;
  memmove (first, candidate, k * sizeof *first);
  for (int i = k / 2; i-- > 0;)
    sink (order, first, k, i);
  for (int i = k; i < n; i++)
    if (order->before (order->data, candidate[i], first[0])) {
      first[0] = candidate[i];
      sink (order, first, k, 0);
    }
  for (int end = k - 1; end > 0; end--) {
    int last = first[0];

    first[0] = first[end];
    first[end] = last;
    sink (order, first, end, 0);
  }
}

/* ---- lists ---- */

int
vlm_rank_list (
    const VlmCanvas *canvas, const VlmTileGeometry *g, int t, int *list)
{
  PatchRect rect = vlm_canvas_tile (canvas, g, t);
  int n = 0;

  for (int y = rect.y0; y < rect.y1; y++)
    for (int x = rect.x0; x < rect.x1; x++)
      list[n++] = y * g->side + x;
  return n;
}

static gboolean
scores_higher (gconstpointer data, int a, int b)
{
  const float *score = data;

  return score[a] > score[b] || (score[a] == score[b] && a < b);
}

gboolean
vlm_rank_best (const float *score, const int *candidate, int n, int k,
    int *best, GError **error)
{
  Order order = { scores_higher, score };

  for (int i = 0; i < n; i++)
    if (isnan (score[candidate[i]])) {
      vlm_fail (error, VLM_ERROR_REQUEST, NULL,
          "The score of patch %d is not a number.", candidate[i]);
      return FALSE;
    }
  take_first (&order, candidate, n, k, best);
  return TRUE;
}

/* ---- packing ---- */

typedef struct {
  const VlmCanvas *canvas;
  int side;
} Places;

/* Place of a patch in the sequence of all of them, -1 if it has none. */
static int
place (const Places *p, int id)
{
  const PatchRect *used = &p->canvas->used;
  int S = p->side, N = S * S, t = id / N - 1, j = id % N;
  int across = p->canvas->across, y, x;

  if (t < 0)
    return id;
  y = t / across * S + j / S;
  x = t % across * S + j % S;
  if (y < used->y0 || y >= used->y1 || x < used->x0 || x >= used->x1)
    return -1;
  return N + y * across * S + x;
}

static gboolean
packs_before (gconstpointer data, int a, int b)
{
  return place (data, a) < place (data, b);
}

int
vlm_rank_pack (
    const VlmCanvas *canvas, const VlmTileGeometry *g, int *ids, int n)
{
  Places places = { canvas, g->side };
  Order order = { packs_before, &places };
  int n_placed = 0;

  for (int i = 0; i < n; i++)
    if (place (&places, ids[i]) >= 0)
      ids[n_placed++] = ids[i];
  take_first (&order, ids, n_placed, n_placed, ids);
  return n_placed;
}
