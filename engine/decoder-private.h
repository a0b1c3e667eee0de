/* decoder-private.h - what the decoder's files share
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Letters: n tokens of the step, D width, I hidden, h heads, k key/value
 * heads, c head width, V vocabulary.
 */
#pragma once

#include "engine/decoder.h"
#include "engine/params.h"
#include "engine/scratch.h"

G_BEGIN_DECLS

typedef struct {
  float *attn_norm, *mlp_norm; /* [D] */
  Mat q;                       /* [h*c,D] */
  Mat k, v;                    /* [k*c,D] */
  Mat o;                       /* [D,h*c] */
  Mat gate, up;                /* [I,D] */
  Mat down;                    /* [D,I] */
  Mat fine_k, fine_v;          /* [k*c,D] of hierarchical layers */
} DecoderLayer;

/* One array of the step's integers: the same place in the host's block and
 * in the device's. */
typedef struct {
  int *host, *device;
} IntArray;

/* All tokens of a step, or those whose logits are wanted. */
typedef enum { DECODER_ALL, DECODER_OUT, DECODER_N_ROWS } DecoderRows;

/* Neighbouring inputs that attend alike. */
typedef struct {
  const VlmTidal *tidal;            /* chosen keys; NULL: all */
  int row[DECODER_N_ROWS];          /* its first */
  PagedBatch batch[DECODER_N_ROWS]; /* of its rows alone */
} DecoderRun;

/* The step as the ops see it, built on the host and uploaded in one piece.
 * Arrays are sized for as many sequences as tokens. */
typedef struct {
  int max_tokens;
  int *host, *device; /* the block */
  IntArray ids;                    /* [n] or unused rows of it */
  IntArray pos;                    /* [n] */
  IntArray slots;                  /* [n] */
  IntArray q_start;                /* [n_seqs+1] */
  IntArray kv_len;                 /* [n_seqs] */
  IntArray page_start;             /* [n_seqs+1] */
  IntArray out_rows;               /* [n_out] tokens whose logits are wanted */
  IntArray out_pos;                /* [n_out] */
  IntArray out_q_start;            /* [n_seqs+1] */
  PagedBatch view[DECODER_N_ROWS]; /* of all sequences */
  DecoderRun *runs;                /* [n_runs] in order */
  int n_runs;
  IntArray run_q_start[DECODER_N_ROWS]; /* [n_seqs+n_runs] each from 0 */
} DecoderBatch;

/* What hierarchical layers need (decoder-fine.c). */
typedef struct DecoderFine DecoderFine;

struct VlmDecoder {
  Device *dev;
  VlmDecoderWatch watch; /* or NULL */
  gpointer watch_data;
  VlmTextConfig text; /* window is a copy */
  int max_tokens, max_logits;
  VlmParams *params;

  Mat embedding; /* [V,D] */
  Mat head;      /* [V,D] unless tied */
  const Mat *logits_mat;
  float *norm; /* [D] */
  DecoderLayer *layers;

  VlmArena arena;
  DecoderBatch batch;
  Residual *x;            /* [n,D] */
  Act *xb;                /* [n,D] its norms */
  Act *q, *attn;          /* [n,h*c] */
  Act *v;                 /* [n,k*c] */
  float *wide;            /* [n,k*c] k before RoPE; [2,n,I] gate and up */
  float *wide_q;          /* [n,h*c] q before RoPE, behind k in the same */
  Act *hidden;            /* [n,I] */
  Residual *out_x;        /* [n_out,D] rows that go on after the last keys */
  Act *out_xb;            /* [n_out,D] */
  float *rope, *out_rope; /* [n,c] and [n_out,c] */
  float *inv_freq;        /* [1,c/2], or [n_seqs,c/2] if it varies */
  float *host_inv_freq;   /* the same */
  float rope_scale;
  float *logits;     /* [max_logits,V] */
  DecoderFine *fine; /* NULL unless the family zooms */
  int n_map;         /* image tokens that a selection is made of */
};

/* Lays the arrays out in `arena` (device) and, once that has memory, in a
 * host block of its own. */
void vlm_decoder_batch_layout (
    DecoderBatch *batch, VlmArena *arena, int max_tokens);
void vlm_decoder_batch_clear (DecoderBatch *batch);

/* Fills and uploads the arrays for these inputs; their sequences' lengths are
 * still those before the step. */
void vlm_decoder_batch_build (
    DecoderBatch *batch, Device *dev, const VlmStepInput *inputs, int n_inputs);

/* A step in parts, for those who look at single layers: after the batch is
 * built and the second looks are noted, x = the inputs' rows and their
 * rotation; then one layer for all rows, x[n,D] in place. Sequences' lengths
 * are left as they are. */
void vlm_decoder_enter (
    VlmDecoder *d, const VlmStepInput *inputs, int n_inputs);
void vlm_decoder_layer (VlmDecoder *d, const VlmKvPool *pool, int layer);

/* d->attn = what the queries d->q of `rows` attend to in this layer; noted is
 * what later layers shall. */
void vlm_decoder_attend (
    VlmDecoder *d, const VlmKvPool *pool, int layer, DecoderRows rows);

/* For up to `most` sequences in a step. */
DecoderFine *vlm_decoder_fine_new (int most);
void vlm_decoder_fine_free (DecoderFine *fine);

/* Lays it out: queries of `width`, maps of n_map values. */
void vlm_decoder_fine_layout (DecoderFine *fine, VlmArena *arena,
    const Device *dev, int width, int n_map);

/* Notes which sequences of the step look closer; the batch is built. */
void vlm_decoder_fine_begin (
    VlmDecoder *d, const VlmStepInput *inputs, int n_inputs);

/* Whether every row is one that the next call attends for anew. */
gboolean vlm_decoder_fine_covers (
    const VlmDecoder *d, int layer, DecoderRows rows);

/* Rows of d->attn whose sequences selected cells in the layer before attend to
 * those too; then what this layer selects. */
void vlm_decoder_fine_attend (
    VlmDecoder *d, const VlmKvPool *pool, int layer, DecoderRows rows);

G_END_DECLS
