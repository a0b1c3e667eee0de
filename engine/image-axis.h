/* image-axis.h - fixed-point weights of one axis of the exact resize
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Bicubic (a = -0.5) with antialiasing over 8-bit samples. Positions and
 * weights are IEEE doubles in Pillow's order of operations (Resample.c,
 * precompute_coeffs); torchvision (UpSampleKernel.cpp) computes the same ones
 * and differs only in how they are rounded:
 *
 *   Pillow       22 fractional bits in int32
 *   torchvision  as many bits, at most 22, as keep the largest weight of the
 *                whole axis below 2^15: int16
 */
#pragma once

#include <glib.h>
#include "engine/image.h"

G_BEGIN_DECLS

/* A window of an axis: outputs from .. from+count-1 of n_in -> n_out, in host
 * memory. Outputs outside 0..n_out-1 have no taps and come out black, which
 * is how padding and cutting into tiles happen. */
typedef struct {
  ResizeAxis axis; /* n_out is count here; max_taps a multiple of 4 */
  int lo, hi;      /* only input pixels lo <= p < hi are read */
  int *first;      /* [count]; owned, as the next two */
  int *n_taps;     /* [count] */
  gint32 *weight;  /* [count,max_taps] */
} VlmAxis;

/* n_in, n_out, count >= 1. FALSE if the tables do not fit into memory. */
gboolean vlm_axis_init (VlmAxis *axis, VlmResampling resampling, int n_in,
    int n_out, int from, int count);
void vlm_axis_clear (VlmAxis *axis);

G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC (VlmAxis, vlm_axis_clear)

G_END_DECLS
