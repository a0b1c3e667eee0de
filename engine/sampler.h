/* sampler.h - logits to id: greedy, or drawn by temperature, top-k and top-p
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Order of processing as transformers' generation/logits_process.py. The
 * draws come from a splitmix64 stream, the same on every device.
 */
#pragma once

#include <glib.h>
#include "kernels/ops.h"

G_BEGIN_DECLS

typedef struct {
  double temperature;        /* 0: greedy, ties to the lowest id */
  double top_p;              /* 1: off */
  int top_k;                 /* 0: off */
  double repetition_penalty; /* 1: off; over prompt and output ids */
  guint64 seed;
} VlmSampling;

typedef struct VlmSampler VlmSampler;

VlmSampler *vlm_sampler_new (Device *dev, int vocab);
void vlm_sampler_free (VlmSampler *sampler);

/* Begins a sequence: settings and the prompt's ids (each image once). */
void vlm_sampler_start (VlmSampler *sampler, const VlmSampling *sampling,
    const int *prompt_ids, int n);

/* The next id from logits [vocab] in device memory (overwritten). */
int vlm_sampler_next (VlmSampler *sampler, float *logits);

G_DEFINE_AUTOPTR_CLEANUP_FUNC (VlmSampler, vlm_sampler_free)

G_END_DECLS
