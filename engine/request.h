/* request.h - a loaded model and one request's way through it
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * begin: prompt -> geometry -> tiles -> image encoder and policy -> projected
 * rows spliced into the prompt's embeddings. step: the prompt in chunks, then
 * a token at a time, until an end mark, a stop string, or no room. Private to
 * runner.c; the worker's alone.
 */
#pragma once

#include "engine/decoder.h"
#include "engine/places.h"
#include "engine/plan.h"
#include "engine/projector.h"
#include "engine/prompt.h"
#include "engine/recall.h"
#include "engine/runner.h"
#include "engine/tokenizer.h"
#include "engine/vision.h"

G_BEGIN_DECLS

/* Everything that vlm_runner_load makes. */
typedef struct {
  Device *dev;
  const VlmModel *model;
  VlmPlan plan;
  VlmTokenizer *tokenizer;
  int image_id; /* the tokenizer's <image> */
  VlmVision *vision;
  VlmProjector *projector;
  VlmDecoder *decoder;
  VlmKvPool *pool;
  VlmFineStore *fine;  /* of families that zoom, else NULL */
  VlmRecall *recalls;  /* [plan.batch] */
  VlmTiler *tiler[2];  /* by VlmResampling; made when first used */
  Residual *rows;      /* [context,D] the prompt that is being prefilled */
  VlmPlaces places;    /* and where its tokens stand, if not 0, 1, 2 ... */
  GPtrArray *samplers; /* VlmSampler, idle */
} VlmNetworks;

/* Sets job->work. Needs networks->rows: no other request may be in its
 * prompt. */
gboolean vlm_request_begin (VlmNetworks *networks, VlmJob *job, GError **error);

/* Adds what the request wants to do next to a step: a chunk of its prompt, or
 * its newest token and at most *spare that are proposed to follow, which are
 * taken off it. FALSE if it wants nothing (it has ended). */
gboolean vlm_request_input (VlmJob *job, VlmStepInput *input, int *spare);

/* Takes the step's result: logits [n_logits,V] of this request or NULL. */
void vlm_request_output (VlmJob *job, float *logits);

/* Says job->read if a wait has shown that a picture in GPU memory has been
 * read; `now`: waits for it. */
void vlm_request_let_go (VlmJob *job, gboolean now);

/* Ends the request with an error (copied). */
void vlm_request_fail (VlmJob *job, const GError *error);

void vlm_request_end (VlmJob *job);

G_END_DECLS
