/* policy.h - which visual tokens the language model shall see
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * A policy is a constant descriptor in a list (policy.c); the element's enum,
 * its documentation and the tests walk that list. `plan` and `select` are
 * pure: host arrays in, a selection out, no allocation, no clock, integers and
 * fixed tie rules where a decision is made, so that every device keeps the
 * same tokens for the same scores. Where the choice follows from the plan by
 * the rule that most share, the device makes it, and select is not needed; so
 * it does the plan's shares, where these alone depend on scores.
 *
 * A selection is a sparse matrix over the encoder's tokens: each row that the
 * language model sees is one token, or, where a policy merges, a weighted sum
 * of several, taken before the projector.
 *
 * Token ids: patch j = y*side + x of tile t is t*N + j; the class token of
 * tile t is P*N + t (P tiles of N patches). Whoever packs adds newlines where
 * `packed` says so.
 */
#pragma once

#include <glib.h>
#include "engine/image.h"

G_BEGIN_DECLS

#define VLM_POLICY_MAX_PARAMS 8

/* What the encoder can record for a policy. "Last" is the last layer that
 * runs, whose output is the features (22 of 24, from 0); "next" the one after
 * it, of which only keys and the class token's query are computed, or the
 * last itself where the encoder ends with it. */
typedef enum {
  VLM_TAP_CLS_FIRST = 1 << 0,    /* first layer: class attention of tile 0;
                                  * for the plan, or not recorded */
  VLM_TAP_CLS_LAST = 1 << 1,     /* last layer: class attention */
  VLM_TAP_KEYS_LAST = 1 << 2,    /* its keys, averaged over heads */
  VLM_TAP_CLS_NEXT = 1 << 3,     /* next layer: class attention as if it had
                                  * one head of the full width */
  VLM_TAP_COSINES_NEXT = 1 << 4, /* cosines between its keys, full width */
  VLM_TAP_NEAR_LAST = 1 << 5,    /* last layer: cosines between what patches
                                  * beside and below each other bring to it */
} VlmPolicyTaps;

#define VLM_TAPS_NEXT (VLM_TAP_CLS_NEXT | VLM_TAP_COSINES_NEXT)

/* Tiles stitched side by side, `across` in a row, and what is used of them,
 * in patches. */
typedef struct {
  int across;
  PatchRect used;
  gboolean bare; /* no newlines even if nothing is dropped */
} VlmCanvas;

typedef struct {
  const char *name; /* e.g. "alpha" */
  const char *blurb;
  double minimum, maximum, fallback;
} VlmPolicyParam;

/* What the encoder recorded and the caller asks for. Arrays of taps that the
 * policy did not name are NULL. plan sees those of plan_taps, filled for tile
 * 0 alone; select sees those of select_taps too, filled for every tile that
 * the plan gives tokens, and none when all is kept. Class attention is summed
 * over heads. */
typedef struct {
  VlmTileGeometry geometry;
  const float *cls_first; /* [N] */
  const float *cls_last;  /* [P,N] */
  const float *key;       /* [P,N,key_width] */
  int key_width;          /* of one head */
  const float *cls_next;  /* [P,N] */
  const float *cosine;    /* [P,N,N] */
  const float *near;      /* [P,N,4] as near_cosines in kernels/ops.h */
  gboolean newlines;      /* the model has one at the end of each line */
  double budget;          /* 0 to 1: share of P*N; > 1: a number of tokens */
  double param[VLM_POLICY_MAX_PARAMS]; /* in the descriptor's order */
} VlmPolicyInput;

/* What the language model shall see, in sequence order. Arrays are the
 * caller's, made by vlm_selection_init. */
typedef struct {
  int n;           /* rows */
  gboolean packed; /* nothing dropped: stock packing, newlines included */
  int n_lines;     /* not packed: lines of the canvas that end with a newline */
  int *lines;      /* [rows*side] the last row of each, ascending */
  int *order;      /* [bound] id of the token whose place row i takes, -1 for
                    * a sum that has none. After a choice by the device only
                    * if asked for, by vlm_vision_finish */
  int *per_tile;   /* [P] given: the plan; left: rows of each tile.
                    * hired-reference may pack fewer */
  /* Where rows are sums: row i = sum of weight[e] * token source[e] over
   * start[i] <= e < start[i+1]. Else row i is token order[i]. */
  gboolean merged;
  int *start;    /* [bound+1] */
  int *source;   /* [entries] ids, only of tiles that the plan gives tokens;
                  * at most `bound` to a row */
  float *weight; /* [entries] */
  /* for select's own use */
  int *work;     /* [VLM_POLICY_WORK * P*N] */
  float *values; /* [N] */
} VlmSelection;

#define VLM_POLICY_WORK 4

typedef struct {
  const char *name;
  const char *nick;  /* Title Case, for enums */
  const char *blurb; /* one sentence */
  gboolean in_place; /* kept tokens stand where they do in the whole prompt,
                      * unless asked otherwise */
  /* VlmPolicyTaps. With more than CLS_FIRST in plan_taps tile 0 is encoded
   * before the plan, the others after it. */
  unsigned plan_taps, select_taps;
  int n_params;
  VlmPolicyParam params[VLM_POLICY_MAX_PARAMS];

  /* How many rows each tile may have, so that tiles without any need no
   * encoding: per_tile[P]. TRUE in *all when nothing will be dropped: stock
   * packing, nothing tapped for select. Fails with VLM_ERROR_SETTINGS on a
   * budget below 0 or not a number, and with VLM_ERROR_REQUEST on a score
   * that is not a number. */
  gboolean (*plan) (const VlmPolicyInput *input, int *per_tile, gboolean *all,
      GError **error);

  /* Where tiles 1 and up share what tile 0 leaves them, which nothing but the
   * geometry decides, in proportion to the first layer's attention to a part of
   * tile 0, by share_patches in kernels/ops.h: that part. The device may do it
   * then: of the plan without cls_first, whose weights are the tiles' sizes,
   * all but these shares holds. Only with best_of; NULL else. */
  PatchRect (*area) (const VlmPolicyInput *input, int tile);

  /* Which of the two chooses is not NULL.
   *
   * best_of: by the device. As many as planned of each tile, the best by the
   * last layer's class attention of what this canvas uses of the tile, in the
   * canvas' order. No more is planned than that; plan_taps have nothing but
   * CLS_FIRST, select_taps are CLS_LAST.
   *
   * select: on the host. The rows themselves, for the plan given in
   * selection->per_tile. A policy whose numbers follow from the scores corrects
   * it: fewer in any tile, more in none that had none. Fails with
   * VLM_ERROR_REQUEST on a score that is not a number. */
  VlmCanvas (*best_of) (const VlmPolicyInput *input);
  gboolean (*select) (
      const VlmPolicyInput *input, VlmSelection *selection, GError **error);

  /* Most entries a selection can have for this geometry and parameters; NULL
   * for policies that never merge. */
  int (*entries) (const VlmPolicyInput *input);
} VlmPolicy;

/* NULL-terminated, the default first. */
extern const VlmPolicy *const vlm_policies[];

/* NULL if there is none of that name. */
const VlmPolicy *vlm_policy_find (const char *name);

/* What a model is described with if nothing is asked for: the first of the
 * list, or "all" where layers choose for themselves what they look at. */
const VlmPolicy *vlm_policy_of (const VlmConfig *config);

/* All patches: P*N. */
int vlm_policy_tokens (const VlmTileGeometry *geometry);

/* Most rows a selection can have: one for each patch and one more for each
 * tile, a class token or a sum of what was dropped. */
int vlm_policy_bound (const VlmTileGeometry *geometry);

/* Makes the arrays of a selection by this policy for this input (geometry and
 * parameters), per_tile zero. Released with vlm_selection_clear. */
void vlm_selection_init (VlmSelection *selection, const VlmPolicy *policy,
    const VlmPolicyInput *input);
void vlm_selection_clear (VlmSelection *selection);

/* Fills input->param with the defaults of the policy. */
void vlm_policy_defaults (const VlmPolicy *policy, VlmPolicyInput *input);

/* Sets one parameter by name, checking its range. */
gboolean vlm_policy_set_param (const VlmPolicy *policy, VlmPolicyInput *input,
    const char *name, double value, GError **error);

G_END_DECLS
