/* policy-random.c - tokens drawn from a seed, whatever the picture shows
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * A baseline: Fisher and Yates' shuffle with the generator splitmix64 (Steele,
 * Lea, Flood 2014), begun anew for each tile, so that what a tile keeps does
 * not depend on the others.
 */
#include "engine/policy-rank.h"
#include "engine/policy-share.h"

enum {
  PARAM_SEED,
};

static guint64
next (guint64 *state)
{
  guint64 z = *state += G_GUINT64_CONSTANT (0x9e3779b97f4a7c15);

  z = (z ^ (z >> 30)) * G_GUINT64_CONSTANT (0xbf58476d1ce4e5b9);
  z = (z ^ (z >> 27)) * G_GUINT64_CONSTANT (0x94d049bb133111eb);
  return z ^ (z >> 31);
}

static gboolean
random_plan (
    const VlmPolicyInput *input, int *per_tile, gboolean *all, GError **error)
{
  int eligible[VLM_MAX_TILES];
  gint64 weight[VLM_MAX_TILES];

  vlm_share_eligible (&input->geometry, eligible);
  for (int t = 0; t < vlm_tile_count (&input->geometry); t++)
    weight[t] = eligible[t];
  return vlm_share_plan (input, weight, eligible, per_tile, all, error);
}

/* Brings n tokens drawn from list[length] to its front. */
static void
draw (const VlmPolicyInput *input, int t, int *list, int length, int n)
{
  guint64 state = (guint64) input->param[PARAM_SEED] +
                  t * G_GUINT64_CONSTANT (0xd1342543de82ef95);

  for (int i = 0; i < n; i++) {
    int r = (int) ((next (&state) >> 32) * (length - i) >> 32);
    int drawn = list[i + r];

    list[i + r] = list[i];
    list[i] = drawn;
  }
}

static gboolean
random_select (
    const VlmPolicyInput *input, VlmSelection *selection, GError **error)
{
  const VlmTileGeometry *g = &input->geometry;
  VlmCanvas canvas = vlm_canvas_stock (g);
  int N = g->side * g->side, *list = selection->work, n = 0;

  if (vlm_pick_everything (input, selection))
    return TRUE;
  for (int t = 0; t < vlm_tile_count (g); t++) {
    int length = vlm_rank_list (&canvas, g, t, list);

    draw (input, t, list, length, selection->per_tile[t]);
    for (int i = 0; i < selection->per_tile[t]; i++)
      selection->order[n++] = t * N + list[i];
  }
  selection->n = vlm_rank_pack (&canvas, g, selection->order, n);
  return TRUE;
}

const VlmPolicy vlm_policy_random = {
  .name = "random",
  .nick = "Random",
  .blurb = "Tokens drawn from a seed, whatever the picture shows",
  .n_params = 1,
  .params = { { "seed", "Start of the draws, the same for every picture", 0,
      999999, 0 } },
  .plan = random_plan,
  .select = random_select,
};
