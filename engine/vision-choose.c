/* vision-choose.c - kept tokens that the device shares out and chooses
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * How many rows there are, and so every shape that follows, is known before
 * there are scores. How many of them are each tile's and which they are stays
 * on the device: the host learns of it, if at all, with what it waits for
 * anyway.
 */
#include "engine/policy-pick.h"
#include "engine/policy-share.h"
#include "engine/vision-private.h"

/* Where sizes alone would give a tile fewer tokens, attention may give it
 * none: it need not be encoded then, which is worth waiting for. */
#define SURE_SHARE 4

VisionSharing
vlm_vision_sharing (
    const VlmVision *v, const VlmVisionJob *job, const int *per_tile)
{
  const VlmTileGeometry *g = &job->input.geometry;
  int eligible[VLM_MAX_TILES], shared = 0, most = 0;
  gboolean sure = TRUE;

  vlm_share_eligible (g, eligible);
  for (int t = 1; t < vlm_tile_count (g); t++) {
    shared += per_tile[t];
    most += eligible[t];
    sure &= per_tile[t] >= MIN (SURE_SHARE, eligible[t]);
  }
  if (shared == 0 || shared == most)
    return VISION_NO_SHARES;
  return v->dev->gpu >= 0 && sure ? VISION_DEVICE_SHARES : VISION_PLAN_SHARES;
}

/* What is shared by; returns how many rows are. */
static int
set_areas (const VlmVision *v, const VlmVisionJob *job, PatchTile *tiles)
{
  int n = 0;

  for (int i = 0; i < v->n_live; i++)
    if (v->live[i] > 0) {
      tiles[i].area = job->policy->area (&job->input, v->live[i]);
      n += tiles[i].n;
    }
  return n;
}

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
  gboolean shares = v->sharing == VISION_DEVICE_SHARES;
  int first = vlm_vision_class_rows (v), n_shared = 0;
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
  if (shares)
    n_shared = set_areas (v, job, tiles);
  device_upload (v->dev, v->choice, tiles, v->n_live * sizeof *tiles);
  upload_starts (v, tiles, v->n_kept);
  if (shares)
    v->dev->op->share_patches (v->dev, v->choice, v->kept_start, v->sums,
        v->score, v->n_live, v->config.side, n_shared);
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
  const VisionFetched *f = &v->fetched;
  int first = vlm_vision_class_rows (v), n = v->n_live;

  v->fetches_ids = ids;
  if (!v->chooses)
    return;
  device_fetch (v->dev, f->bad, v->bad, n * sizeof *f->bad);
  if (v->sharing == VISION_DEVICE_SHARES) {
    device_fetch (v->dev, f->sums, v->sums, n * sizeof *f->sums);
    device_fetch (
        v->dev, f->starts, v->kept_start, (n + 1) * sizeof *f->starts);
  }
  if (ids)
    device_fetch (v->dev, f->sequence, v->sequence_rows + first,
        v->selection->n * sizeof *f->sequence);
}

/* What the device made of the plan. */
static gboolean
finish_shares (const VlmVision *v, VlmSelection *selection, GError **error)
{
  const int *start = v->fetched.starts;

  for (int i = 0; i < v->n_live; i++) {
    if (!vlm_share_check (v->live[i], v->fetched.sums[i], error))
      return FALSE;
    if (v->live[i] > 0)
      selection->per_tile[v->live[i]] = start[i + 1] - start[i];
  }
  return TRUE;
}

static gboolean
check_scores (const VlmVision *v, GError **error)
{
  for (int i = 0; i < v->n_live; i++)
    if (v->fetched.bad[i] >= 0) {
      vlm_pick_refuse (v->live[i], v->fetched.bad[i], v->config.side, error);
      return FALSE;
    }
  return TRUE;
}

static void
fill_order (const VlmVision *v, VlmSelection *selection)
{
  const int *rows = v->fetched.sequence;
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
  if (!v->chooses)
    return TRUE;
  if ((v->sharing == VISION_DEVICE_SHARES &&
          !finish_shares (v, selection, error)) ||
      !check_scores (v, error))
    return FALSE;
  if (v->fetches_ids)
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
