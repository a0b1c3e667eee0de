/* onednn.h - the products that oneDNN computes for the CPU backend
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Its 2.x and 3.x interfaces differ; onednn.c alone knows. Without oneDNN in
 * the build every function says that it cannot.
 */
#pragma once

#include "kernels/mat.h"

#include <stdbool.h>

typedef struct Onednn Onednn;

/* NULL without oneDNN. */
Onednn *onednn_new (void);
void onednn_free (Onednn *onednn);

/* Does oneDNN have tiles of bf16 (AMX) to compute with? */
bool onednn_has_amx (void);

/* y[n,rows] = x[n,cols] W^T in f32, on n_threads. TYPE_F32: W[rows,cols] as
 * it is. TYPE_BF16: x and W are bf16, and W lies in pairs (see panels.h), an
 * arrangement that oneDNN knows as BA16a64b2a. False if it has no fast way
 * for these. */
bool onednn_matmul (Onednn *onednn, DataType type, float *y, const void *x,
    const void *w, int n, int rows, int cols, int n_threads);

/* y[n,rows] = x[n,cols] W^T of 8-bit integers. */
bool onednn_matmul_int8 (int32_t *y, const uint8_t *x, const int8_t *w, int n,
    int rows, int cols, int n_threads);
