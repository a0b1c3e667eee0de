/* panels.h - weights as the vector levels of the CPU keep them
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * W[rows,cols] is cut into panels of 16 rows, each stored [cols,16], rows past
 * the last as zeros: Mat.pack = [panels,cols,16] of Mat.type, Mat.data = NULL.
 * So a product with one token walks memory in one direction, a product with
 * many loads whole vectors, and both add each output's terms in the same
 * order, from column 0 on: a token's result has the same bits whatever else
 * is in the batch. Made once, when the model is loaded.
 *
 * Where the processor multiplies bf16 itself, matrices of that type keep the
 * two columns that one instruction consumes together, in panels of 64 rows:
 * [panels,cols/2,64,2], columns padded to a multiple of 32. That is the
 * arrangement oneDNN calls BA16a64b2a.
 */
#pragma once

#include "kernels/cpu/cpu.h"

typedef struct PanelLayout {
  int rows; /* of a panel */
  int step; /* columns kept together */
  int cols; /* with padding */
  int n_panels;
} PanelLayout;

PanelLayout panel_layout (const Device *dev, DataType type, int rows, int cols);

/* Position of W[row,col] in Mat.pack, in elements. */
static inline size_t
panel_index (const PanelLayout *layout, int row, int col)
{
  size_t block = (size_t) (row / layout->rows) * (layout->cols / layout->step) +
                 col / layout->step;
  return (block * layout->rows + row % layout->rows) * layout->step +
         col % layout->step;
}

/* Sets mat_init, mat_clear, mat_bytes and embed. */
void cpu_init_panels (Ops *op);
