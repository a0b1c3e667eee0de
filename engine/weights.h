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
  char *name;        /* canonical */
  char *stored;      /* as the file spells it, for messages */
  char *file;        /* its path, for messages */
  char *dtype;       /* as the file spells it */
  gboolean readable; /* dtype is F32, BF16 or F16; else `type` says nothing */
  DataType type;
  int n_dims;
  gint64 shape[VLM_MAX_DIMS];
  const guint8 *data; /* in the mapping */
  gsize bytes;
} VlmTensor;

typedef struct VlmWeights VlmWeights;

/* Opens model.safetensors, or model.safetensors.index.json and its shards. */
VlmWeights *vlm_weights_open (const char *folder, GError **error);

/* Adds the tensors of another folder whose canonical names begin with `prefix`
 * and are not there yet. */
gboolean vlm_weights_join (VlmWeights *weights, const char *folder,
    const char *prefix, GError **error);
void vlm_weights_free (VlmWeights *weights);

/* An empty set in memory, for models that are made and not read; `name`
 * begins messages as the folder does. */
VlmWeights *vlm_weights_new_memory (const char *name);

/* Adds a tensor under its canonical name, not there yet, and returns its
 * values: those given, which must live as long as weights, or if NULL new ones
 * that belong to weights, for the caller to fill. */
gpointer vlm_weights_add (VlmWeights *weights, const char *canonical,
    DataType type, int n_dims, const gint64 *shape, gpointer values);

/* NULL if there is none that DataType can express. */
const VlmTensor *vlm_weights_find (const VlmWeights *weights, const char *name);

/* TRUE even for a tensor that find and require would refuse. */
gboolean vlm_weights_has (const VlmWeights *weights, const char *name);

/* As find, but checks the shape (n_dims integers follow) and reports a
 * missing or misshapen tensor by file, name, expected and found; the name is
 * spelled as this folder spells those beside it. */
const VlmTensor *vlm_weights_require (const VlmWeights *weights, GError **error,
    const char *name, int n_dims, ...);

/* Told of every tensor that require gives; FALSE makes require fail with
 * VLM_ERROR_CANCELLED. */
typedef gboolean (*VlmTensorFunc) (const VlmTensor *tensor, gpointer user_data);

/* Progress of a load, and its end between two tensors: func is called on the
 * thread that loads, until it is set to NULL. */
void vlm_weights_watch (
    VlmWeights *weights, VlmTensorFunc func, gpointer user_data);

/* Bytes of all tensors. */
guint64 vlm_weights_bytes (const VlmWeights *weights);

/* The canonical form of a tensor name, owned, or NULL for one that no forward
 * pass reads (rotary tables, position ids, the encoder's closing norm).
 *   [model.]vision_tower.[vision_model.]X        vision.X
 *   [model.]language_model.[model.]X             text.X
 *   [model.][language_model.]lm_head.X           lm_head.X
 *   [model.]multi_modal_projector.X              multi_modal_projector.X
 *   [model.]image_newline                        image_newline
 * and of LLaVA's own repository:
 *   model.vision_tower.vision_tower.vision_model.X   vision.X
 *   model.mm_projector.0.X, .2.X      multi_modal_projector.linear_1.X, _2.X
 *   model.layers.X, .embed_tokens.X, .norm.X         text.layers.X ... */
char *vlm_weights_canonical_name (const char *name);

/* The other way: how published folders, or LLaVA's own, spell a canonical
 * name. Owned. */
char *vlm_weights_published_name (const char *canonical, gboolean original);

/* Whether a stored name is of LLaVA's own repository. */
gboolean vlm_weights_is_original (const char *name);

/* The tensors of one safetensors file in memory, `file` for messages, raw
 * names. Parses only: for tests and fuzzing. Elements VlmTensor, data inside
 * the given bytes. Refuses a header that does not fit its file, ranges that
 * leave the file, overlap, leave gaps or disagree with shape and dtype, and a
 * name given twice. */
GPtrArray *vlm_safetensors_parse (
    const guint8 *bytes, gsize length, const char *file, GError **error);

/* Copies a tensor's values as f32 to out[], whatever its type. */
void vlm_tensor_to_f32 (const VlmTensor *tensor, float *out);

G_DEFINE_AUTOPTR_CLEANUP_FUNC (VlmWeights, vlm_weights_free)

G_END_DECLS
