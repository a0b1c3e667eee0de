/* panels.h - weights as the vector levels of the CPU keep them
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * W[rows,cols] is cut into panels of 16 rows, each stored [cols,16], rows past
 * the last as zeros: Mat.pack = [panels,cols,16] of Mat.type, Mat.data = NULL.
 * So a product with one token walks memory in one direction, a product with
 * many loads whole vectors, and both add each output's terms in the same
 * order, from column 0 on: a token's result has the same bits whatever else
 * is in the batch. Made once, when the model is loaded.
 */
#pragma once

#include "kernels/cpu/cpu.h"

#define PANEL_ROWS 16

static inline int
panel_count (int rows)
{
  return (rows + PANEL_ROWS - 1) / PANEL_ROWS;
}

/* Sets mat_init, mat_clear, mat_bytes and embed. */
void cpu_init_panels (Ops *op);
