/* tidal.h - TidalDecode: which keys a decode step attends to, layer by layer
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * The keys that score highest are much the same in neighbouring layers. So a
 * step of one token attends to everything in its first layers; in the
 * selection layer, and again in the re-selection layer, it also notes its
 * best keys; the other layers attend to those noted last. The cache stays
 * whole, and prompts are read with full attention. Source: Yang et al.,
 * TidalDecode: Fast and Accurate LLM Decoding with Position Persistent Sparse
 * Attention, ICLR 2025; checked against its evaluation code (github.com/
 * DerrickYLJ/TidalDecode), whose choice is VLM_TIDAL_QUERY's.
 */
#pragma once

#include "engine/engine.h"
#include "engine/model.h"
#include "kernels/ops.h"

G_BEGIN_DECLS

/* Layers below are dense. */
#define VLM_TIDAL_SELECT_LAYER 2

/* One sequence's settings, checked against a model. */
typedef struct {
  VlmTidalGroup group;
  int tokens;         /* budget: up to so many cached ones all are seen */
  int reselect_layer; /* 0: none */
  gboolean always;    /* for tests: even where all are seen */
} VlmTidal;

typedef enum {
  VLM_TIDAL_DENSE,  /* all keys */
  VLM_TIDAL_SELECT, /* all keys, and the best are noted */
  VLM_TIDAL_SPARSE, /* those noted last */
} VlmTidalLayer;

/* Fails with VLM_ERROR_REQUEST if the decoder has no layer left to be sparse,
 * if a number is out of range, or if the re-selection layer is asked to be
 * known and is not: known are 7 for Llama-2-7B and Vicuna-7B, 13 for
 * Llama-3-8B (the paper's, counted from 0), and none for fewer than eight
 * layers. `name` is the model's, for the sentence. */
gboolean vlm_tidal_init (VlmTidal *tidal, const VlmTidalSettings *settings,
    const VlmTextConfig *text, const char *name, GError **error);

/* Whether a step of n tokens that leaves `length` in the cache is sparse. */
gboolean vlm_tidal_applies (const VlmTidal *tidal, int n, int length);

VlmTidalLayer vlm_tidal_layer (const VlmTidal *tidal, int layer);

/* What the kernels choose: the budget's keys with the newest among them; as
 * the evaluation code does, whatever they are; or two pages at least, the
 * newest among them, and as many as the budget begins. */
KeyChoice vlm_tidal_choice (const VlmTidal *tidal);

/* Whether two sequences may share a call; NULL is full attention. */
gboolean vlm_tidal_equal (const VlmTidal *a, const VlmTidal *b);

G_END_DECLS
