/* vision-choose.c - kept tokens that the device chooses
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * How many rows there are of each tile, and so every shape that follows, is
 * known from the plan. Which they are stays on the device: the host learns of
 * it, if at all, with what it waits for anyway.
 */
#include "engine/policy-pick.h"
#include "engine/vision-private.h"

/* What the attention of the needed rows wants to know: a class token that is
 * kept is one of tile 0's. */
static void
upload_starts (VlmVision *v, const PatchTile *tiles, int n_rows)
{
  int start[VLM_MAX_TILES + 1], class_row = 0;

  start[0] = 0;
  for (int i = 1; i < v->n_live; i++)
    start[i] = tiles[i].first;
  start[v->n_live] = n_rows;
  device_upload (v->dev, v->kept_start, start, (v->n_live + 1) * sizeof *start);
  if (vlm_vision_class_rows (v))
    device_upload (v->dev, v->kept_rows, &class_row, sizeof class_row);
}

void
vlm_vision_settle_choice (
    VlmVision *v, const VlmVisionJob *job, VlmSelection *selection)
{
  PatchTile tiles[VLM_MAX_TILES];
  const VlmPolicyInput *input = &job->input;
  int first = vlm_vision_class_rows (v);
  VlmCanvas canvas;

  if (!job->policy->best_of)
    return;
  canvas = job->policy->best_of (input);
  v->chooses = vlm_pick_begin (&canvas, input, selection);
  if (!v->chooses)
    return;
  v->across = canvas.across;
  v->selection = selection;
  v->n_kept = v->n_out = first + selection->n;
  vlm_pick_tiles (&canvas, &input->geometry, selection->per_tile, v->live,
      v->n_live, first, tiles);
  device_upload (v->dev, v->choice, tiles, v->n_live * sizeof *tiles);
  upload_starts (v, tiles, v->n_kept);
}

void
vlm_vision_choose (VlmVision *v)
{
  const Ops *op = v->dev->op;

  op->choose_patches (v->dev, v->kept_rows, v->bad, v->score, v->choice,
      v->n_live, v->config.side);
  op->pack_patches (v->dev, v->sequence_rows, v->kept_from, v->kept_rows,
      v->choice, v->n_live, v->config.side, v->across);
}

void
vlm_vision_fetch (VlmVision *v, gboolean ids)
{
  int first = vlm_vision_class_rows (v);

  v->fetches_ids = ids;
  if (!v->chooses)
    return;
  device_fetch (v->dev, v->fetched, v->bad, v->n_live * sizeof *v->bad);
  if (ids)
    device_fetch (v->dev, v->fetched + v->max_tiles, v->sequence_rows + first,
        v->selection->n * sizeof (int));
}

static void
fill_order (const VlmVision *v, VlmSelection *selection)
{
  const int *rows = v->fetched + v->max_tiles;
  int N = v->config.n_patches;

  for (int i = 0; i < selection->n; i++)
    selection->order[i] =
        v->live[rows[i] / (N + 1)] * N + rows[i] % (N + 1) - 1;
}

gboolean
vlm_vision_finish (VlmVision *v, VlmSelection *selection, GError **error)
{
  if (!vlm_device_status (v->dev, error))
    return FALSE;
  for (int i = 0; v->chooses && i < v->n_live; i++)
    if (v->fetched[i] >= 0) {
      vlm_pick_refuse (v->live[i], v->fetched[i], v->config.side, error);
      return FALSE;
    }
  if (v->chooses && v->fetches_ids)
    fill_order (v, selection);
  return TRUE;
}

int
vlm_vision_place (VlmVision *v, const int *place, int *where)
{
  int N = v->config.n_patches, *table = v->host_ints;

  if (!v->chooses)
    return 0;
  for (int slot = 0; slot < v->n_live; slot++) {
    int tile = v->live[slot];

    *table++ = place[v->n_tiles * N + tile];
    for (int j = 0; j < N; j++)
      *table++ = place[tile * N + j];
  }
  /* the features are gathered: nobody reads this any more */
  device_upload (
      v->dev, v->kept_from, v->host_ints, v->n_live * (N + 1) * sizeof (int));
  v->dev->op->gather_rows (
      v->dev, where, v->kept_from, v->sequence_rows, v->n_out, sizeof *where);
  return v->n_out;
}
