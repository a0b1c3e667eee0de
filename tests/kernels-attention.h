/* kernels-attention.h - what the attention cases share
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#pragma once

#include "tests/kernels.h"

/* Scores of up to 128 products reach 1000 with large inputs; their rounding
 * (some eps of that) moves exponentials by that much, relatively. */
#define ATTENTION_TOLERANCE(kt) (kt_fill (kt) == KT_LARGE ? 2e-3 : 2e-5)

/* y[c] = softmax(scale q k^T) v over n_keys rows `stride` apart, with the
 * probabilities left in p; y may be NULL. */
void attend_twin (double *y, double *p, const float *q, const float *k,
    const float *v, int n_keys, int stride, int c, double scale);

void kv_write_case (Kt *kt, const int *size);
void attention_paged_case (Kt *kt, const int *size);
void key_attention_case (Kt *kt, const int *size);
