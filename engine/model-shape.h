/* model-shape.h - models of a known shape and random weights, in memory
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * For measuring speed without a checkpoint and for tests of the networks.
 * They have no tokenizer and no chat template. Shapes are those of the
 * published config.json files.
 */
#pragma once

#include "engine/model.h"

G_BEGIN_DECLS

typedef struct {
  const char *name;   /* as the published repository calls itself */
  const char *config; /* config.json */
} VlmShape;

/* Ends with a NULL name. */
extern const VlmShape vlm_shapes[];

/* NULL if there is none of that name. */
const VlmShape *vlm_shape_find (const char *name);

/* The model of a config.json text with all tensors random: matrices of
 * variance 1/inputs, tables of 1, norms near 1, stored as F32 or BF16. Equal
 * arguments give equal models. With `shared`, matrices and tables are all the
 * same values in the same memory, so that a large shape costs the host no
 * more than its largest tensor. */
VlmModel *vlm_model_new_random (const char *name, const char *config_json,
    DataType stored, gboolean shared, guint64 seed, GError **error);

/* Cuts both networks down to `layers` layers that run: for measuring, what it
 * says is no longer what the checkpoint says. */
void vlm_model_cut_layers (VlmModel *model, int layers);

/* Encoder layers that run: up to the deepest feature layer. */
int vlm_model_vision_layers (const VlmModel *model);

G_END_DECLS
