/* params.h - a network's weights on a device, from tensors by name
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * A network lists its tensors in one function; run with a loading VlmParams it
 * loads them, with a measuring one it adds up their bytes. The first failure
 * is kept and what follows does nothing, so that the list needs no checks.
 */
#pragma once

#include <glib.h>
#include "engine/weights.h"
#include "kernels/ops.h"

G_BEGIN_DECLS

typedef struct VlmParams VlmParams;

/* Owns every matrix and vector loaded through it: the Mat structures
 * themselves are the caller's and must outlive it. Matrices become `type`,
 * vectors f32. */
VlmParams *vlm_params_new (
    Device *dev, const VlmWeights *weights, DataType type);

/* The same, but only measures: touches neither tensors nor device memory. */
VlmParams *vlm_params_new_measuring (
    Device *dev, const VlmWeights *weights, DataType type);

/* Releases all that was loaded. Accepts NULL. */
void vlm_params_free (VlmParams *params);

/* *w = the matrix NAME.weight [rows,cols], with NAME.bias [rows] if asked. */
void vlm_params_mat (VlmParams *params, Mat *w, int rows, int cols,
    gboolean bias, const char *name_format, ...) G_GNUC_PRINTF (6, 7);

/* The same of the convolution NAME.weight [rows,3,side,side], no bias, as a
 * matrix over patches in (channel, y, x) order. */
void vlm_params_convolution (VlmParams *params, Mat *w, int rows, int side,
    const char *name_format, ...) G_GNUC_PRINTF (5, 6);

/* *v = the tensor NAME [n] in device memory. */
void vlm_params_vector (VlmParams *params, float **v, int n,
    const char *name_format, ...) G_GNUC_PRINTF (4, 5);

/* *v = the tensor NAME [rows,cols] in device memory, f32. */
void vlm_params_table (VlmParams *params, float **v, int rows, int cols,
    const char *name_format, ...) G_GNUC_PRINTF (5, 6);

/* *v = n values of the caller's, in device memory. */
void vlm_params_values (
    VlmParams *params, float **v, const float *values, int n);

/* TRUE if everything so far succeeded, else the first failure. */
gboolean vlm_params_check (VlmParams *params, GError **error);

/* Device bytes of all so far. */
guint64 vlm_params_bytes (const VlmParams *params);

G_DEFINE_AUTOPTR_CLEANUP_FUNC (VlmParams, vlm_params_free)

G_END_DECLS
