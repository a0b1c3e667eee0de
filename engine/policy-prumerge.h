/* policy-prumerge.h - what PruMerge and PruMerge+ share
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Source: Shang et al., "LLaVA-PruMerge: Adaptive Token Reduction for
 * Efficient Large Multimodal Models", arXiv 2403.15388, and its code,
 * github.com/42Shawn/LLaVA-PruMerge, clip_encoder.py; where the two differ,
 * the code. Tile by tile, on keys of the layer after the last:
 *
 *   a[j]   class attention of one head of the full width
 *   kept   chosen by a; PruMerge+ adds more at even steps
 *   y[i]   x[i] + sum of a[j] x[j] over the tokens j whose keys are nearest
 *          to kept token i's, kept or not
 *   extra  sum of a[j] x[j] over the tokens not kept, the tile's last row
 */
#pragma once

#include <glib.h>
#include "engine/policy.h"

G_BEGIN_DECLS

/* Parameters that both have, first. */
enum {
  VLM_PRUMERGE_REFERENCE,
  VLM_PRUMERGE_ADAPTIVE,
  VLM_PRUMERGE_NEIGHBOURS,
  VLM_PRUMERGE_N_PARAMS,
};

#define VLM_PRUMERGE_PARAMS                                                    \
  { "reference",                                                               \
    "1: as the authors' code, padding included and always adaptive", 0, 1,     \
    0 },                                                                       \
      { "adaptive",                                                            \
        "1: as many as have outlying attention, whatever the budget", 0, 1,    \
        0 },                                                                   \
  {                                                                            \
    "neighbours", "Tokens merged into each kept one", 0, 256, 32               \
  }

/* One tile. */
typedef struct {
  const float *a; /* [N] */
  int n;          /* tokens that take part: all in the reference mode, else
                   * those that are not padding */
  int *list;      /* [n] ascending */
  int *ranked;    /* [n] by a, the largest first */
  int n_kept;
  int *kept;    /* room for n; most attention first */
  int *is_kept; /* [N] by patch */
} VlmPrumergeTile;

/* Whether rows follow from the attention instead of the budget. */
gboolean vlm_prumerge_is_adaptive (const VlmPolicyInput *input);

/* How many tokens have outlying attention: more than the upper quartile and
 * one and a half times the distance of the quartiles. */
int vlm_prumerge_outliers (const VlmPrumergeTile *tile);

/* How many of m outliers are kept: all, and at least 1; in the reference mode
 * as the authors' code rounds, to none or one fewer for some numbers of tokens
 * (not for 576). */
int vlm_prumerge_rounded (
    const VlmPolicyInput *input, const VlmPrumergeTile *tile, int m);

/* Keeps one more token. */
void vlm_prumerge_keep (VlmPrumergeTile *tile, int j);

/* Keeps tokens of a tile whose list is ranked and that keeps none: `most` if
 * that is not negative, else by attention. */
typedef void (*VlmPrumergeChoose) (
    const VlmPolicyInput *input, VlmPrumergeTile *tile, int most);

gboolean vlm_prumerge_plan (
    const VlmPolicyInput *input, int *per_tile, gboolean *all, GError **error);
gboolean vlm_prumerge_select (const VlmPolicyInput *input,
    VlmSelection *selection, VlmPrumergeChoose choose, GError **error);
int vlm_prumerge_entries (const VlmPolicyInput *input);

G_END_DECLS
