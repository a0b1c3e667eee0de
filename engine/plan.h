/* plan.h - how much memory an engine takes, decided before it takes any
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Everything is sized for the largest picture the configuration allows. The
 * key/value cache holds `batch` sequences of `context` tokens: several if half
 * of the free memory suffices for all, else one, with a shorter context if it
 * must be.
 */
#pragma once

#include "engine/model.h"
#include "kernels/ops.h"

G_BEGIN_DECLS

typedef struct {
  DataType type;  /* of the weights */
  int max_tiles;  /* of one picture, the base tile included */
  int max_tokens; /* image rows a policy may make of those, newlines not
                   * counted */
  int max_rows;   /* image rows of a sequence, newlines counted */
  int context;    /* tokens a sequence may have */
  int positions;  /* those the model can tell apart: context at least */
  int batch;      /* sequences that decode together */
  int chunk;      /* prompt tokens of one step */
  int n_pages;
  guint64 weight_bytes; /* networks with their scratch */
  guint64 cache_bytes;
  guint64 row_bytes;    /* embeddings and positions of one prompt */
  guint64 recall_bytes; /* encoder states of streams' last pictures */
} VlmPlan;

/* Most tokens that are proposed in one step, of all its sequences. */
#define VLM_DRAFT_TOKENS 32

/* Tokens of one step. */
static inline int
vlm_plan_step_tokens (const VlmPlan *plan)
{
  return plan->chunk + plan->batch;
}

/* Rows of logits it may give: those of proposed tokens among them. */
static inline int
vlm_plan_step_logits (const VlmPlan *plan)
{
  return plan->batch + VLM_DRAFT_TOKENS;
}

/* Prompt tokens of a step at most. A GPU is not busy with hundreds, and reads
 * every weight once a step: it gets prompts of up to most_tokens whole where
 * their working memory is little of what is free. */
int vlm_plan_chunk (Device *dev, const VlmModel *model, DataType type,
    int most_tokens, guint64 free_bytes);

/* Tokens of the next of as few and as equal steps as `left` (1 at least) can be
 * read in: a short one would cost as much as the weights it reads. */
int vlm_plan_piece (int chunk, int left);

/* Fails with VLM_ERROR_NO_MEMORY when not even one sequence of 1024 tokens
 * fits, naming needed and free bytes. */
gboolean vlm_plan_make (VlmPlan *plan, Device *dev, const VlmModel *model,
    DataType type, GError **error);

G_END_DECLS
