/* vision.h - the CLIP image encoder, with the attention taps policies read
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * One forward pass over all tiles of a picture, which does only what the kept
 * tokens need: the layers after the deepest feature layer never run; scores
 * come from the class token's query alone; tiles that the host knows to have no
 * budget stop after the plan; in the last layer, once its keys are known the
 * kept tokens are known, so the rest of that layer runs only for them and for
 * those merged into them. None of this changes a value. A policy that reads the
 * layer after the last has every token run through the last one, and that
 * layer's keys and the class token's query computed. What no policy in use
 * reads is not computed. Source: transformers' modeling_clip.py; the HiRED
 * paper, 4.2.
 */
#pragma once

#include "engine/model.h"
#include "engine/policy.h"
#include "kernels/ops.h"

G_BEGIN_DECLS

typedef struct VlmVision VlmVision;

/* Loads the layers that run as `type` and plans scratch for max_tiles. The
 * model must outlive it: weights may be used in their mapping. */
VlmVision *vlm_vision_new (Device *dev, const VlmModel *model, DataType type,
    int max_tiles, GError **error);
void vlm_vision_free (VlmVision *vision);

/* Device bytes that vlm_vision_new takes: weights and scratch. */
guint64 vlm_vision_bytes (
    Device *dev, const VlmModel *model, DataType type, int max_tiles);

/* ---- tiles that did not change ---- */

/* The tiles of a line of pictures: the last one's pixels, and what the encoder
 * made of them up to its last layer. */
typedef struct VlmTileCache VlmTileCache;

/* NULL if the device has not the memory for it. */
VlmTileCache *vlm_tile_cache_new (VlmVision *vision);
void vlm_tile_cache_free (VlmTileCache *cache);

/* Device bytes of one, at most. */
guint64 vlm_tile_cache_bytes (
    const Device *dev, const VlmModel *model, int max_tiles);

/* Takes the tiles of the next picture. They are compared with the last one's on
 * the device: nobody waits. */
void vlm_tile_cache_look (
    VlmTileCache *cache, const guint8 *tiles, const float *lut, int n_tiles);

/* Learns which tiles changed, and says whether none did; waits for that, once
 * for a picture, unless something submitted behind the look has been `waited`
 * for. */
gboolean vlm_tile_cache_hear (VlmTileCache *cache, gboolean waited);

/* No tile is known any more. */
void vlm_tile_cache_forget (VlmTileCache *cache);

/* ---- a picture ---- */

typedef struct {
  const guint8 *tiles; /* device [P,T,T,3] */
  const float *lut;    /* device [3,256] */
  VlmTileCache *cache; /* that has looked at these tiles; or NULL */
  const VlmPolicy *policy;
  VlmPolicyInput input;  /* geometry, budget, params; the taps are filled in */
  gboolean ids;          /* the kept ids are wanted on the host */
  const gint *cancelled; /* polled once per layer; or NULL */
  int n_recalled;        /* out: tiles whose states came from the cache */
} VlmVisionJob;

/* Encodes, selects, and leaves the features of the selection's rows, in
 * sequence order and merged where it merges, in *features
 * [selection->n, C * n_feature_layers] (the encoder's memory, valid until the
 * next run). Where the checkpoint's select strategy is "full", one row more
 * comes first: tile 0's class token, which no policy counts. `selection` is
 * made by vlm_selection_init for this policy and input; its order is not known
 * before vlm_vision_finish. The arrays of job->input point to host copies of
 * what the host has read of the taps afterwards. policy_us, if not NULL,
 * receives the time that the host was busy deciding: of a choice that the
 * device makes, what it takes to ask for it. Fails with VLM_ERROR_SETTINGS if
 * this encoder cannot give what the policy reads. */
gboolean vlm_vision_run (VlmVision *vision, VlmVisionJob *job,
    VlmSelection *selection, const Act **features, gint64 *policy_us,
    GError **error);

/* What the device has to say of the last run, once something submitted behind
 * it has been waited for: reports a failure or, with VLM_ERROR_REQUEST, a score
 * that was not a number where the device chose; the features were nothing then.
 * Fills selection->order where the job asked for it; otherwise the kept ids of
 * such a choice stay on the device. */
gboolean vlm_vision_finish (
    VlmVision *vision, VlmSelection *selection, GError **error);

/* Where the device chose the rows of the last run's features: where[i]
 * (device) = place[id], `id` being the token that row i is; place [P*(N+1)] is
 * host memory, as of vlm_tile_places. Returns their number; 0 if the host knows
 * them. */
int vlm_vision_place (VlmVision *vision, const int *place, int *where);

G_DEFINE_AUTOPTR_CLEANUP_FUNC (VlmVision, vlm_vision_free)
G_DEFINE_AUTOPTR_CLEANUP_FUNC (VlmTileCache, vlm_tile_cache_free)

G_END_DECLS
