/* resize.h - what the variants of the CPU resize share
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Every variant gives the same bytes.
 */
#pragma once

#include "kernels/cpu/cpu.h"

/* Multiply-adds of a pass over `lines` rows or columns. */
static inline size_t
cpu_resize_cost (const ResizeAxis *axis, int lines)
{
  return (size_t) 3 * lines * axis->n_out * axis->max_taps;
}

/* Arguments of either pass. */
typedef struct CpuResize {
  uint8_t *dst;
  const uint8_t *src;
  size_t src_stride;
  int lines; /* rows of resize_rows, width of resize_columns */
  const ResizeAxis *axis;
} CpuResize;

/* One row of resize_rows: outputs from .. to-1 of axis. */
void cpu_resize_row (
    uint8_t *dst, const uint8_t *src, const ResizeAxis *axis, int from, int to);

/* Bytes from .. to-1 of row i of resize_columns; dst is that row. */
void cpu_resize_column (uint8_t *dst, const uint8_t *src, size_t src_stride,
    int from, int to, const ResizeAxis *axis, int i);
