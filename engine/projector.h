/* projector.h - kept features to text width, packed and spliced into a prompt
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Source: transformers' modeling_llava_next.py, multi_modal_projector and
 * pack_image_features.
 */
#pragma once

#include "engine/model.h"
#include "engine/policy.h"
#include "kernels/ops.h"

G_BEGIN_DECLS

typedef struct VlmProjector VlmProjector;

/* max_tokens: most image tokens of one picture, newlines and class token not
 * counted. The model must outlive it. */
VlmProjector *vlm_projector_new (Device *dev, const VlmModel *model,
    DataType type, int max_tokens, GError **error);
void vlm_projector_free (VlmProjector *projector);
guint64 vlm_projector_bytes (
    Device *dev, const VlmModel *model, DataType type, int max_tokens);

/* Image rows the selection takes in the sequence: n, plus, where the family has
 * newlines, one per kept canvas row when it is packed, else its lines, plus the
 * class token where the select strategy is "full". Of a zoomed picture only
 * tile 0's. */
int vlm_projector_rows (const VlmProjector *projector,
    const VlmSelection *selection, const VlmTileGeometry *geometry);

/* Projects features [n, C*layers] (vision.h's) and writes image rows into x at
 * rows first .. first + vlm_projector_rows - 1 of x [*,D]. */
void vlm_projector_run (VlmProjector *projector, const Act *features,
    const VlmSelection *selection, const VlmTileGeometry *geometry, Residual *x,
    int first);

/* Projects the features of a zoomed picture's grid, which follow those of tile
 * 0 line after line, into rows[i] of y [G*G,D], activations as products alone
 * read them; `rows` is host memory. */
void vlm_projector_run_fine (VlmProjector *projector, const Act *features,
    const VlmTileGeometry *geometry, Act *y, const int *rows);

G_DEFINE_AUTOPTR_CLEANUP_FUNC (VlmProjector, vlm_projector_free)

G_END_DECLS
