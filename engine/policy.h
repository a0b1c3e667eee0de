/* policy.h - which visual tokens the language model shall see
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * A policy is a constant descriptor in a list (policy.c); the element's enum,
 * its documentation and the tests walk that list. `plan` and `select` are
 * pure: host arrays in, indices out, no allocation, no clock, integers and
 * fixed tie rules where a decision is made, so that every device keeps the
 * same tokens for the same scores.
 *
 * Token ids: patch j = y*side + x of tile t is t*N + j; the class token of
 * tile t is P*N + t (P tiles of N patches). Policies choose among patches;
 * whoever packs adds newlines and class tokens where `packed` says so.
 */
#pragma once

#include <glib.h>
#include "engine/image.h"

G_BEGIN_DECLS

#define VLM_POLICY_MAX_PARAMS 8

/* What the encoder must record for a policy. */
typedef enum {
  VLM_TAP_CLS_FIRST = 1 << 0, /* tile 0, first layer: CLS attention */
  VLM_TAP_CLS_LAST = 1 << 1,  /* all tiles, last layer that runs */
} VlmPolicyTaps;

typedef struct {
  const char *name; /* e.g. "alpha" */
  const char *blurb;
  double minimum, maximum, fallback;
} VlmPolicyParam;

/* What the encoder recorded and the caller asks for. */
typedef struct {
  VlmTileGeometry geometry;
  const float *cls_first; /* [N]; read by plan alone */
  const float *cls_last;  /* [P,N]; read by select alone, and only rows of
                           * tiles that keep some tokens; NULL when all is
                           * kept */
  double budget;          /* 0 to 1: share of P*N; > 1: a number of tokens */
  double param[VLM_POLICY_MAX_PARAMS]; /* in the descriptor's order */
} VlmPolicyInput;

/* What the language model shall see, in sequence order. Arrays are the
 * caller's, of the size vlm_policy_bound says. */
typedef struct {
  int n;           /* tokens kept */
  gboolean packed; /* nothing dropped: stock packing, newlines included */
  int *order;      /* [bound] token ids */
  int *per_tile;   /* [P] the plan; hired-reference may pack fewer */
} VlmSelection;

typedef struct {
  const char *name;
  const char *nick;  /* Title Case, for enums */
  const char *blurb; /* one sentence */
  unsigned taps;     /* VlmPolicyTaps */
  int n_params;
  VlmPolicyParam params[VLM_POLICY_MAX_PARAMS];

  /* How many tokens each tile may keep, from cls_first alone, so that tiles
   * without budget need no encoding: per_tile[P]. TRUE in *all when nothing
   * will be dropped: stock packing, no score needed. Fails with
   * VLM_ERROR_SETTINGS on a budget below 0 or not a number, and with
   * VLM_ERROR_REQUEST on a score that is not a number. */
  gboolean (*plan) (const VlmPolicyInput *input, int *per_tile, gboolean *all,
      GError **error);

  /* The tokens themselves, for the plan given in selection->per_tile, which
   * select leaves as it is. Fails with VLM_ERROR_REQUEST on a score that is
   * not a number. */
  gboolean (*select) (
      const VlmPolicyInput *input, VlmSelection *selection, GError **error);
} VlmPolicy;

/* NULL-terminated, the default first. */
extern const VlmPolicy *const vlm_policies[];

/* NULL if there is none of that name. */
const VlmPolicy *vlm_policy_find (const char *name);

/* Most tokens a selection can have: P*N. */
int vlm_policy_bound (const VlmTileGeometry *geometry);

/* Fills input->param with the defaults of the policy. */
void vlm_policy_defaults (const VlmPolicy *policy, VlmPolicyInput *input);

/* Sets one parameter by name, checking its range. */
gboolean vlm_policy_set_param (const VlmPolicy *policy, VlmPolicyInput *input,
    const char *name, double value, GError **error);

G_END_DECLS
