/* policy-pick.h - what policies share: best tokens of a tile, packing order
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Nothing here allocates; ties go to the lower index.
 */
#pragma once

#include <glib.h>
#include "engine/policy.h"
#include "kernels/ops.h"

G_BEGIN_DECLS

/* The tokens of a rectangle that are its n best: those above a threshold and
 * the first few equal to it. */
typedef struct {
  guint32 cut; /* see kernels/choice.h */
  int n_at;    /* of this rank, still to take */
} VlmPick;

/* score[side*side]; 0 <= n <= patches of the rectangle. FALSE and an error
 * if a score in it is not a number; none is read when n is 0. */
gboolean vlm_pick_init (VlmPick *pick, const float *score, int side,
    const PatchRect *rect, int n, GError **error);

/* Whether the last layer's scores of tile t are numbers; else an error. */
gboolean vlm_pick_check (
    const VlmPolicyInput *input, int t, const PatchRect *rect, GError **error);

/* vlm_pick_init over the last layer's scores of tile t. */
gboolean vlm_pick_tile (VlmPick *pick, const VlmPolicyInput *input, int t,
    const PatchRect *rect, int n, GError **error);

/* Whether the pick takes this token. Ask once per token, in ascending order,
 * for every token of the rectangle. */
gboolean vlm_pick_takes (VlmPick *pick, float score);

/* What stock packing uses: the grid, unpadded. */
VlmCanvas vlm_canvas_stock (const VlmTileGeometry *g);

/* The grid with its padding. */
VlmCanvas vlm_canvas_whole (const VlmTileGeometry *g);

/* What the published HiRED code packs: rows and columns of the grid are
 * swapped, the picture's sides are not, and what is unpadded follows in the
 * float32 steps of torch. */
VlmCanvas vlm_canvas_transposed (const VlmTileGeometry *g);

/* The part of tile t in use: all of tile 0, else its share of the canvas,
 * which may be empty. */
PatchRect vlm_canvas_tile (
    const VlmCanvas *canvas, const VlmTileGeometry *g, int t);

static inline int
vlm_patch_count (const PatchRect *rect)
{
  return (rect->y1 - rect->y0) * (rect->x1 - rect->x0);
}

/* Fills n and order: tile 0 ascending, then the canvas in raster order. pick
 * [P] says which; NULL takes every token and reads no score. */
void vlm_canvas_order (const VlmCanvas *canvas, const VlmPolicyInput *input,
    VlmPick *pick, VlmSelection *selection);

/* The selection of the tokens whose mark [P*N] has this value, tile 0's and
 * then those of the canvas, and how many there are of each tile. */
void vlm_canvas_marked (const VlmCanvas *canvas, const VlmTileGeometry *g,
    const float *mark, float value, VlmSelection *selection);

/* What is known of the device's choice before it: how many rows, and whether
 * they are stock packing. FALSE if the plan keeps all but padding; then the
 * selection is complete and nothing need be chosen. */
gboolean vlm_pick_begin (const VlmCanvas *canvas, const VlmPolicyInput *input,
    VlmSelection *selection);

/* What choose_patches and pack_patches are told of the tiles live[n]: tiles[n],
 * listed after `first` rows. */
void vlm_pick_tiles (const VlmCanvas *canvas, const VlmTileGeometry *g,
    const int *per_tile, const int *live, int n, int first, PatchTile *tiles);

/* The error of a score of the last layer that is not a number. */
void vlm_pick_refuse (int tile, int patch, int side, GError **error);

/* Whether the plan keeps all but padding; then the selection is complete and
 * no score has been read. */
gboolean vlm_pick_everything (
    const VlmPolicyInput *input, VlmSelection *selection);

/* A sum of scores as errors show it: a NaN without its sign, which follows from
 * nothing. */
double vlm_shown_sum (double sum);

/* The budget in tokens: floor of a share of P*N, or the number given, at most
 * `limit`. `slack` is added before rounding down. FALSE and an error if it is
 * negative or not a number. */
gboolean vlm_budget_tokens (const VlmPolicyInput *input, double slack,
    int limit, int *tokens, GError **error);

G_END_DECLS
