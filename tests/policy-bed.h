/* policy-bed.h - running a policy on made-up scores
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#pragma once

#include <glib.h>

#include "engine/policy.h"

/* Tokens of the largest case. */
#define BOUND 4096

/* What a policy said. Zero it, run policies, clear it. */
typedef struct {
  VlmSelection selection;
  const int *order;
  int *per_tile; /* the selection's */
  gboolean all;
} Outcome;

void outcome_clear (Outcome *outcome);
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC (Outcome, outcome_clear)

/* Pinpoints of tiles of 56 pixels. */
extern const int toy_pinpoints[3][2];

VlmTileGeometry geometry_of (int side, int tile_px, int h, int w,
    int n_pinpoints, const int pinpoints[][2]);

/* With the policy's default parameters. */
VlmPolicyInput input_of (const VlmPolicy *policy, const VlmTileGeometry *g,
    const float *first, const float *last, double budget);

/* The rows for selection->per_tile: the policy's select, or the choice of the
 * device that POLICY_DEVICE names, plain C if it does not. */
gboolean choose_rows (const VlmPolicy *policy, const VlmPolicyInput *input,
    VlmSelection *selection, GError **error);

/* Plans and chooses; neither may fail. */
void run_policy (
    const VlmPolicy *policy, const VlmPolicyInput *input, Outcome *o);

/* Reads "3 4 7..9"; returns how many integers that were. */
int parse_list (const char *text, int *out);

/* found[n] is what the text says. */
void check_list (const char *expected, const int *found, int n);

/* last[P,N] (P at most 5): multiples modulo a prime, so that no two tokens of
 * a tile are equal; or all ones. */
void fill_scores (float *last, int P, int N, int modulus, gboolean constant);

/* Whether a token is not padding. */
gboolean eligible (const VlmTileGeometry *g, int id);
