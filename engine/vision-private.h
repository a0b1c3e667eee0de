/* vision-private.h - what the encoder's files share
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Letters: P tiles, N patches of a tile, C width, F hidden. The tiles that
 * are encoded ("live") lie one after another as rows slot * (N+1) + j of the
 * working memory, j = 0 being the class token.
 */
#pragma once

#include "engine/params.h"
#include "engine/scratch.h"
#include "engine/vision.h"

G_BEGIN_DECLS

typedef struct {
  float *norm1_w, *norm1_b, *norm2_w, *norm2_b; /* [C] */
  Mat q, k, v, out;                             /* [C,C] */
  Mat fc1;                                      /* [F,C] */
  Mat fc2;                                      /* [C,F] */
} VisionLayer;

/* Who divides among the tiles what tile 0 leaves them. */
typedef enum {
  VISION_PLAN_SHARES,   /* the policy's plan, of scores that the host reads */
  VISION_DEVICE_SHARES, /* the device, by policy->area */
  VISION_NO_SHARES,     /* nobody: no score changes the plan */
} VisionSharing;

/* What the device has to say of a picture when it is done. */
typedef struct {
  double *sums;  /* [P] */
  int *bad;      /* [P] */
  int *starts;   /* [P+1] */
  int *sequence; /* [P*(N+1)] */
} VisionFetched;

struct VlmVision {
  Device *dev;
  VlmVisionConfig config;
  Epilogue activation;
  gboolean keep_class_token;
  int n_feature_layers;
  int feature_layer[VLM_MAX_FEATURE_LAYERS]; /* hidden states */
  int deepest;                               /* of feature_layer */
  int n_layers;    /* that run: deepest, or 1 to have attention to read */
  gboolean beyond; /* there is a layer after the deepest: layers[n_layers] */
  gboolean has_beyond; /* and the folder has its keys */
  int max_tiles;
  VlmParams *params;

  Mat patch;              /* [C,3*p*p] */
  float *class_embedding; /* [C] */
  float *positions;       /* [N+1,C] */
  float *pre_norm_w, *pre_norm_b;
  VisionLayer *layers; /* [n_layers+1], of the last norm1, q and k at most */

  VlmArena arena;
  Residual *x;     /* [P*(N+1),C] */
  Residual *last;  /* [P*(N+1),C] what the last layer makes
                      of its needed rows, or of all */
  Act *xb, *q, *k; /* [P*(N+1),C] */
  Act *v;          /* [P*(N+1)+1,C] */
  Act *hidden;     /* [P*(N+1),F]; the patches' pixels; keys
                    * and cosines of a tile */
  Residual *saved[VLM_MAX_FEATURE_LAYERS]; /* as x or NULL, by layer */
  Act *features;  /* [P*(N+1)+1,C*layers] if there are several */
  Act *class_x;   /* [P,C] */
  float *class_q; /* [P,C] */
  float *score;   /* device [P,N] */
  /* device integers */
  int *tile_start; /* [P+1] first row of each live tile, its class token's */
  int *kept_start; /* [P+1] first needed row of each live tile */
  int *kept_rows;  /* [P*(N+1)] rows needed, ascending */
  /* of output row i, or while merging of entry e: */
  int *sequence_rows;  /* [P*(N+1)+1] its row */
  int *kept_from;      /* [P*(N+1)+1] its place among kept_rows */
  PatchTile *choice;   /* [P] where the device chooses: see ops.h */
  int *bad;            /* [P] */
  double *sums;        /* [P] what it shared by */
  int *merge_start;    /* [P*(N+1)+1] */
  float *merge_weight; /* [P*(N+1)] */

  /* host */
  int *host_ints, *host_starts; /* where the above are made */
  VisionFetched fetched;        /* of device_host_alloc */
  int *place;                   /* [P*(N+1)] of a row among kept_rows, or -1 */
  int n_live;                   /* tiles that are encoded */
  int *live;                    /* [P] their numbers, ascending */
  int *slot;                    /* [P] place of a tile among them, or -1 */
  int n_tiles;                  /* of the picture */
  int n_kept; /* rows that the selection needs, class token included */
  int n_out;  /* rows that it makes of them */
  VisionSharing sharing;
  gboolean fetches_ids;
  gboolean chooses; /* the device does; what it chooses of is ... */
  int across;       /* ... a canvas of so many tiles in a row */
  gboolean full;    /* every row has run through the last layer */
  const VlmSelection *selection;
  float *cls_first;           /* [N] */
  float *cls_last, *cls_next; /* [P,N] */
  float *key;                 /* [P,N,width of a head] */
  float *cosine;              /* [P,N,N], or NULL where N is too large */
  float *near;                /* [P,N,4] */
};

/* Most patches of a tile that are all compared with each other. */
#define VISION_MAX_COMPARED 2048

/* Working rows of live tiles that lie one after another. */
typedef struct {
  int first, n_tiles;  /* slots */
  int n;               /* rows */
  Residual *x, *last;  /* [n,C] */
  Act *xb, *q, *k, *v; /* [n,C] */
  float *wide_k; /* [n,C] k before it was rounded; in v->hidden, or k itself */
} VisionRows;

static inline int
vlm_vision_tile_rows (const VlmVision *v)
{
  return v->config.n_patches + 1;
}

/* vision-tap.c */

/* Whether this encoder can record what the policy names; else an error of
 * VLM_ERROR_SETTINGS. */
gboolean vlm_vision_can_tap (
    const VlmVision *v, const VlmPolicy *policy, GError **error);

/* Points the input at what these taps recorded. */
void vlm_vision_offer (
    const VlmVision *v, unsigned taps, VlmPolicyInput *input);

/* Record the taps of one layer, whose normed input and keys are w->xb, w->k and
 * w->wide_k, which is overwritten. */
void vlm_vision_tap_first (VlmVision *v, const VisionRows *w);
void vlm_vision_tap_last (VlmVision *v, const VisionRows *w, unsigned taps);
void vlm_vision_tap_next (VlmVision *v, const VisionRows *w, unsigned taps);

/* vision-choose.c */

/* Who shares for a policy with an area, given its plan without scores. */
VisionSharing vlm_vision_sharing (
    const VlmVision *v, const VlmVisionJob *job, const int *per_tile);

/* Whether the device is to choose, for this plan and these live tiles; then
 * what it needs is uploaded, before there is anything to wait for, and where
 * the device shares, it does. If it is
 * not and the policy has no select, the selection is complete. */
void vlm_vision_settle_choice (
    VlmVision *v, const VlmVisionJob *job, VlmSelection *selection);

/* Chooses by v->score, and lays out the rows that are needed. */
void vlm_vision_choose (VlmVision *v);

/* Has what vlm_vision_finish reads sent here, the kept ids among it if `ids`.
 */
void vlm_vision_fetch (VlmVision *v, gboolean ids);

/* vision-keep.c */

/* Where the select strategy is "full", tile 0's class token comes first. */
int vlm_vision_class_rows (const VlmVision *v);

/* Says which tiles are encoded and where they lie: those with tokens, if there
 * is a plan, and tile 0 if `base`. */
void vlm_vision_set_live (
    VlmVision *v, const int *per_tile, int n_tiles, gboolean base);

/* Lays out the rows that a selection needs, on the host and on the device. */
void vlm_vision_keep (VlmVision *v, const VlmSelection *selection);

/* y[n_out,C] from rows of a hidden state: x[.,C] holds all of them, or only
 * the needed ones if by_place. */
void vlm_vision_gather (
    VlmVision *v, Act *y, const Residual *x, gboolean by_place);

/* vision-cache.c; `slot` is the tile's place among the live ones */

/* FALSE without a cache. */
gboolean vlm_tile_cache_knows (const VlmTileCache *cache, int tile);
void vlm_tile_cache_get (VlmTileCache *cache, int tile, int slot);
void vlm_tile_cache_put (VlmTileCache *cache, int tile, int slot);

G_END_DECLS
