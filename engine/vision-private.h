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

struct VlmVision {
  Device *dev;
  VlmVisionConfig config;
  Epilogue activation;
  gboolean keep_class_token;
  int n_feature_layers;
  int feature_layer[VLM_MAX_FEATURE_LAYERS]; /* hidden states */
  int deepest;                               /* of feature_layer */
  int n_layers; /* that run: deepest, or 1 to have attention to read */
  int max_tiles;
  VlmParams *params;

  Mat patch;              /* [C,3*p*p] */
  float *class_embedding; /* [C] */
  float *positions;       /* [N+1,C] */
  float *pre_norm_w, *pre_norm_b;
  VisionLayer *layers; /* [n_layers] */

  VlmArena arena;
  Act *x, *xb, *q, *k, *v;            /* [P*(N+1),C] */
  Act *hidden;                        /* [P*(N+1),F], and the patches' pixels */
  Act *saved[VLM_MAX_FEATURE_LAYERS]; /* [P*(N+1),C] or NULL, by layer */
  Act *features;          /* [P*(N+1),C*layers] if there are several */
  Act *class_x, *class_q; /* [P,C] */
  float *score;           /* device [P,N] */
  /* device integers */
  int *class_rows;    /* [P] row of each live tile's class token */
  int *tile_start;    /* [P+1] first row of each live tile */
  int *kept_start;    /* [P+1] first kept row of each live tile */
  int *kept_rows;     /* [P*(N+1)] rows kept, tile after tile */
  int *kept_from;     /* [P*(N+1)] place of sequence row i among them */
  int *sequence_rows; /* [P*(N+1)] kept_rows[kept_from[i]] */

  /* host */
  int *host_ints;   /* where the above are made */
  int n_live;       /* tiles that are encoded */
  int *live;        /* [P] their numbers, ascending */
  int *slot;        /* [P] place of a tile among them, or -1 */
  int n_kept;       /* rows kept, class token included */
  float *cls_first; /* [N] */
  float *cls_last;  /* [P,N] */
};

/* vision-keep.c: lays the kept rows of a selection out, on the host and on
 * the device. */
void vlm_vision_keep (
    VlmVision *vision, const VlmSelection *selection, int n_tiles);

/* Says which tiles are encoded and where they lie. */
void vlm_vision_set_live (VlmVision *vision, const int *per_tile, int n_tiles);

/* Host integers that vlm_vision_keep works in. */
int vlm_vision_host_ints (int max_tiles, int n_patches);

G_END_DECLS
