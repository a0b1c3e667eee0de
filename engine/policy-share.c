/* policy-share.c - a budget divided among the tiles of a picture
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#include "engine/policy-share.h"

#include "engine/policy-pick.h"

typedef struct {
  int n;
  gint64 left;                  /* budget not yet given */
  gint64 weight[VLM_MAX_TILES]; /* 0 once a tile is full */
  gint64 sum;                   /* of the weights */
  gboolean open[VLM_MAX_TILES]; /* may still get some */
} Sharing;

/* Sums what is open; weights that are all zero become the caps. */
static void
weigh (Sharing *s, const int *cap)
{
  for (int round = 0; round < 2; round++) {
    s->sum = 0;
    for (int i = 0; i < s->n; i++)
      if (s->open[i])
        s->sum += s->weight[i];
    if (s->sum > 0)
      return;
    for (int i = 0; i < s->n; i++)
      s->weight[i] = cap[i];
  }
}

/* Fills the tiles whose quota reaches their cap; FALSE when there is none. */
static gboolean
fill_capped (Sharing *s, const int *cap, int *share)
{
  gint64 given = 0;
  gboolean any = FALSE;

  weigh (s, cap);
  for (int i = 0; i < s->n; i++)
    if (s->open[i] && s->left * s->weight[i] >= cap[i] * s->sum) {
      share[i] = cap[i];
      given += cap[i];
      s->open[i] = FALSE;
      any = TRUE;
    }
  s->left -= given;
  return any;
}

static int
largest_remainder (const Sharing *s, const gint64 *remainder)
{
  int best = -1;

  for (int i = 0; i < s->n; i++)
    if (s->open[i] && (best < 0 || remainder[i] > remainder[best]))
      best = i;
  return best;
}

static void
share_rest (Sharing *s, int *share)
{
  gint64 remainder[VLM_MAX_TILES], left = s->left;

  for (int i = 0; i < s->n; i++)
    if (s->open[i]) {
      share[i] = (int) (s->left * s->weight[i] / s->sum);
      remainder[i] = s->left * s->weight[i] % s->sum;
      left -= share[i];
    }
  for (; left > 0; left--) {
    int i = largest_remainder (s, remainder);

    g_return_if_fail (i >= 0);
    share[i]++;
    remainder[i] = -1;
  }
}

void
vlm_share_tokens (
    int budget, const gint64 *weight, const int *cap, int n, int *share)
{
  Sharing s = { .n = n, .left = budget };

  g_return_if_fail (n <= VLM_MAX_TILES);
  for (int i = 0; i < n; i++) {
    s.weight[i] = weight[i];
    s.open[i] = cap[i] > 0;
    share[i] = 0;
  }
  while (fill_capped (&s, cap, share))
    continue;
  share_rest (&s, share);
}

int
vlm_share_eligible (const VlmTileGeometry *g, int *eligible)
{
  VlmCanvas canvas = vlm_canvas_stock (g);
  int sum = 0;

  for (int t = 0; t < vlm_tile_count (g); t++) {
    VlmPatchRect rect = vlm_canvas_tile (&canvas, g, t);

    sum += eligible[t] = vlm_patch_count (&rect);
  }
  return sum;
}

gboolean
vlm_share_plan (const VlmPolicyInput *input, const gint64 *weight,
    const int *eligible, int *per_tile, gboolean *all, GError **error)
{
  int n = vlm_tile_count (&input->geometry), sum = 0, total;
  gint64 even[VLM_MAX_TILES];

  for (int t = 0; t < n; t++) {
    sum += eligible[t];
    even[t] = 1;
  }
  if (!vlm_budget_tokens (input, 1e-6, sum, &total, error))
    return FALSE;
  vlm_share_tokens (total, weight ? weight : even, eligible, n, per_tile);
  *all = total == sum;
  return TRUE;
}
