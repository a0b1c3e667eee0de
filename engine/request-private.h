/* request-private.h - what the files of a request share
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#pragma once

#include "engine/request.h"

G_BEGIN_DECLS

/* Points that the device notes of the request that is in its prompt: the
 * prompt's rows are there; the first token's logits are. */
enum { VLM_MARK_SEEN, VLM_MARK_READ };

/* job->work */
typedef struct {
  VlmNetworks *networks;
  VlmPrompt prompt;
  VlmSelection selection;
  VlmSequence sequence;
  const VlmPolicy *policy;
  VlmFine *fine; /* FlexAttention's, or NULL */
  int *layer_fine_tokens;
  VlmRecall *recall; /* or NULL */
  VlmSampler *sampler;
  VlmTextStream *pieces;
  GString *text;
  GArray *ids;       /* int, generated */
  int n_prompt;      /* tokens of the prompt, the picture's rows included */
  gboolean in_place; /* what was not dropped stands where it would */
  int skipped;       /* positions of what was: see VlmSequence */
  int room;          /* tokens the sequence may have */
  int newest;        /* id to be fed next */
  int n_draft;       /* ids proposed to follow it in this step */
  int boldness;      /* how many may be */
  int step_ids[1 + VLM_DRAFT_TOKENS];
  gboolean is_tidal;
  VlmTidal tidal;
  int exact;             /* cached tokens that were read with full attention */
  gboolean reading;      /* the device may still read the picture */
  unsigned syncs_at_cut; /* the device's then */
  gint64 begun_us, first_us;
} VlmWork;

static inline VlmWork *
vlm_request_work (VlmJob *job)
{
  return job->work;
}

/* What the language model may use of the last request. Nothing is the same
 * where frequencies depend on the length (dynamic RoPE), or what a layer sees
 * on the last token of a step (FlexAttention). */
VlmReuse vlm_request_reuse (VlmJob *job);

G_END_DECLS
