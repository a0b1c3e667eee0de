/* policy-greedy.c - the best patches one after another, likenesses counted once
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * A heap with the best candidate on top. Scores only fall, so a candidate is
 * moved down when it comes to the top with a score that it has no more.
 */
#include "engine/policy-greedy.h"

/* Whether candidate a is held to be better than b. */
static gboolean
is_before (const VlmGreedy *g, int a, int b)
{
  return g->held[a] > g->held[b] || (g->held[a] == g->held[b] && a < b);
}

static void
sift_down (VlmGreedy *g, int at)
{
  int id = g->heap[at], child;

  while ((child = 2 * at + 1) < g->n_heap) {
    if (child + 1 < g->n_heap &&
        is_before (g, g->heap[child + 1], g->heap[child]))
      child++;
    if (!is_before (g, g->heap[child], id))
      break;
    g->heap[at] = g->heap[child];
    at = child;
  }
  g->heap[at] = id;
}

static void
build (VlmGreedy *g)
{
  for (int i = 0; i < g->n_heap; i++)
    g->held[g->heap[i]] = g->score[g->heap[i]];
  for (int i = g->n_heap / 2 - 1; i >= 0; i--)
    sift_down (g, i);
}

static int
pop (VlmGreedy *g)
{
  int id = g->heap[0];

  while (g->held[id] != g->score[id]) {
    g->held[id] = g->score[id];
    sift_down (g, 0);
    id = g->heap[0];
  }
  g->heap[0] = g->heap[--g->n_heap];
  if (g->n_heap > 0)
    sift_down (g, 0);
  return id;
}

/* `id` for its neighbour, their cosine being kept in near[pair]. */
static void
lower (VlmGreedy *g, int id, int pair)
{
  float cosine = g->near ? g->near[pair] : 1;

  if (g->score[id] > 0 && cosine > 0)
    g->score[id] *= 1 - g->strength * MIN (cosine, 1);
}

/* Each pair's cosine is kept with the upper one, or the left one. */
static void
lower_neighbours (VlmGreedy *g, int id)
{
  int S = g->side, y = id % (S * S) / S, x = id % S;

  if (x + 1 < S)
    lower (g, id + 1, 4 * id);
  if (x > 0)
    lower (g, id - 1, 4 * (id - 1));
  for (int side = -1; side <= 1; side++) {
    int below = id + S + side, above = id - S + side;

    if (x + side < 0 || x + side >= S)
      continue;
    if (y + 1 < S)
      lower (g, below, 4 * id + 2 + side);
    if (y > 0)
      lower (g, above, 4 * above + 2 - side);
  }
}

/* What a patch costs, with n tokens left. */
static int
pay (VlmGreedy *g, int id, int n)
{
  int line = vlm_greedy_line (g->side, g->across, id);

  if (line < 0 || n < 2 || !g->ended || g->ended[line])
    return 1;
  g->ended[line] = TRUE;
  return 2;
}

void
vlm_greedy_take (VlmGreedy *g, int n)
{
  build (g);
  while (n > 0 && g->n_heap > 0) {
    int id = pop (g);

    n -= pay (g, id, n);
    g->score[id] = VLM_GREEDY_TAKEN;
    lower_neighbours (g, id);
  }
}
