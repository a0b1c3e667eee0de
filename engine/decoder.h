/* decoder.h - the language model: one step over a ragged batch of tokens
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Llama, Mistral and Qwen2 in one forward pass. Prefill is a step with many
 * tokens of one sequence, decoding a step with one token of each; a step may
 * mix both. Source: transformers' modeling_llama.py, modeling_mistral.py,
 * modeling_qwen2.py.
 */
#pragma once

#include "engine/fine.h"
#include "engine/kvcache.h"
#include "engine/model.h"
#include "engine/tidal.h"
#include "kernels/ops.h"

G_BEGIN_DECLS

typedef struct VlmDecoder VlmDecoder;

/* max_tokens: most tokens of one step; max_logits: most rows of logits. The
 * model must outlive it: weights may be used in their mapping. */
VlmDecoder *vlm_decoder_new (Device *dev, const VlmModel *model, DataType type,
    int max_tokens, int max_logits, GError **error);
void vlm_decoder_free (VlmDecoder *decoder);
guint64 vlm_decoder_bytes (Device *dev, const VlmModel *model, DataType type,
    int max_tokens, int max_logits);

/* Embeds ids[n] (host) into rows first .. first+n-1 of x [*,D]. */
void vlm_decoder_embed (
    VlmDecoder *decoder, Residual *x, int first, const int *ids, int n);

/* What one sequence contributes to a step. */
typedef struct {
  VlmSequence *seq;      /* reserved for n more tokens; its length grows by n */
  int n;                 /* tokens, at least 1 */
  const int *ids;        /* [n] host, or NULL: then rows */
  const Residual *rows;  /* [n,D] embeddings in device memory */
  int n_logits;          /* logits wanted of its last n_logits tokens */
  int rope_length;       /* positions the RoPE is scaled for: the whole prompt's
                            while it is prefilled, then up to the newest's */
  const gint *cancelled; /* polled once per layer; or NULL */
  const VlmTidal *tidal; /* full attention if NULL, or if n is not 1 */
  VlmFine *fine;         /* FlexAttention: what the token whose logits are
                            wanted, one at most, looks at closer; or NULL */
  const int *pos;        /* [n] positions in device memory, or NULL: those
                            that follow from the sequence */
} VlmStepInput;

/* Runs one step. *logits (device, valid until the next step) has the rows
 * wanted, [sum of n_logits, V], inputs in order; logits may be NULL. All
 * sequences are of one pool. Tokens whose logits are not wanted skip the last
 * layer but for their keys and values. */
gboolean vlm_decoder_step (VlmDecoder *decoder, const VlmStepInput *inputs,
    int n_inputs, float **logits, GError **error);

/* For measuring: called in every layer, before its attention, with its
 * queries q [batch->n,heads*head_width] (device) and the layer's cache, which
 * has the step's keys. func NULL ends it. */
typedef void (*VlmDecoderWatch) (Device *dev, int layer, const Act *q,
    const KvLayer *kv, const PagedBatch *batch, gpointer user_data);
void vlm_decoder_watch (
    VlmDecoder *decoder, VlmDecoderWatch func, gpointer user_data);

G_DEFINE_AUTOPTR_CLEANUP_FUNC (VlmDecoder, vlm_decoder_free)

G_END_DECLS
