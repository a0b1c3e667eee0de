/* resize.h - what the variants of the CPU resize share
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Every variant gives the same bytes.
 */
#pragma once

#include "kernels/cpu/cpu.h"

/* Threads for a pass over `lines` rows or columns. */
static inline int
cpu_resize_threads (const Device *dev, const ResizeAxis *axis, int lines)
{
  return cpu_threads_for (
      dev, (size_t) 3 * lines * axis->n_out * axis->max_taps);
}

/* One row of resize_rows: outputs from .. to-1 of axis. */
void cpu_resize_row (
    uint8_t *dst, const uint8_t *src, const ResizeAxis *axis, int from, int to);

/* Bytes from .. to-1 of row i of resize_columns; dst is that row. */
void cpu_resize_column (uint8_t *dst, const uint8_t *src, size_t src_stride,
    int from, int to, const ResizeAxis *axis, int i);
