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
 * variance 1/inputs, embeddings 1, norms near 1. max_layers > 0 cuts both
 * networks down to that many layers that run. Equal arguments give equal
 * models, whatever `stored` rounds them to. */
VlmModel *vlm_model_new_random (const char *name, const char *config_json,
    DataType stored, int max_layers, guint64 seed, GError **error);

/* Parses the config and cuts the layers, but makes no tensor: enough for the
 * *_bytes functions of the networks. */
VlmModel *vlm_model_new_hollow (
    const char *name, const char *config_json, int max_layers, GError **error);

/* Bytes of host memory that vlm_model_new_random's tensors take. */
guint64 vlm_model_random_bytes (const VlmModel *hollow, DataType stored);

G_END_DECLS
