/* weights.h - safetensors files: map, find, check
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Tensors are found by canonical name, whichever of the layouts of
 * transformers the folder uses: vision.*, multi_modal_projector.*,
 * image_newline, text.*, lm_head.weight. Files stay mapped read-only for the
 * life of the VlmWeights; data pointers point into the mapping and may be
 * unaligned.
 */
#pragma once

#include <glib.h>
#include "kernels/mat.h"

G_BEGIN_DECLS

#define VLM_MAX_DIMS 8

typedef struct {
  char *name; /* canonical */
  char *file; /* base name, for messages */
  DataType type;
  int n_dims;
  gint64 shape[VLM_MAX_DIMS];
  const guint8 *data; /* in the mapping */
  gsize bytes;
} VlmTensor;

typedef struct VlmWeights VlmWeights;

/* Opens model.safetensors, or model.safetensors.index.json and its shards. */
VlmWeights *vlm_weights_open (const char *folder, GError **error);
void vlm_weights_free (VlmWeights *weights);

/* NULL if there is none. */
const VlmTensor *vlm_weights_find (const VlmWeights *weights, const char *name);

/* As find, but checks the shape (n_dims integers follow) and reports a
 * missing or misshapen tensor by file, name, expected and found. */
const VlmTensor *vlm_weights_require (const VlmWeights *weights, GError **error,
    const char *name, int n_dims, ...);

/* Bytes of all tensors. */
guint64 vlm_weights_bytes (const VlmWeights *weights);

/* The tensors of one safetensors file in memory, `file` for messages, raw
 * names. Parses only: for tests and fuzzing. Elements VlmTensor, data inside
 * the given bytes. */
GPtrArray *vlm_safetensors_parse (
    const guint8 *bytes, gsize length, const char *file, GError **error);

/* Copies a tensor's values as f32 to out[], whatever its type. */
void vlm_tensor_to_f32 (const VlmTensor *tensor, float *out);

G_DEFINE_AUTOPTR_CLEANUP_FUNC (VlmWeights, vlm_weights_free)

G_END_DECLS
