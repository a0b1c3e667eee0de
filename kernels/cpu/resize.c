/* resize.c - separable 8-bit resize, plain C
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#include "kernels/cpu/resize.h"

static uint8_t
to_byte (int32_t sum, int precision)
{
  int32_t v = sum >> precision;

  return v < 0 ? 0 : v > 255 ? 255 : (uint8_t) v;
}

void
cpu_resize_row (
    uint8_t *dst, const uint8_t *src, const ResizeAxis *axis, int from, int to)
{
  const int32_t half = 1 << (axis->precision - 1);

  for (int i = from; i < to; i++) {
    const uint8_t *p = src + (size_t) 3 * axis->first[i];
    const int32_t *w = axis->weight + (size_t) i * axis->max_taps;
    int32_t r = half, g = half, b = half;

    for (int t = 0; t < axis->n_taps[i]; t++) {
      r += w[t] * p[3 * t];
      g += w[t] * p[3 * t + 1];
      b += w[t] * p[3 * t + 2];
    }
    dst[3 * i] = to_byte (r, axis->precision);
    dst[3 * i + 1] = to_byte (g, axis->precision);
    dst[3 * i + 2] = to_byte (b, axis->precision);
  }
}

static void
resize_rows_part (void *data, int from, int to, int thread)
{
  const CpuResize *r = data;

  for (int y = from; y < to; y++)
    cpu_resize_row (r->dst + (size_t) y * r->axis->n_out * 3,
        r->src + (size_t) y * r->src_stride, r->axis, 0, r->axis->n_out);
}

static void
resize_rows (Device *dev, uint8_t *dst, const uint8_t *src, size_t src_stride,
    int n, const ResizeAxis *axis)
{
  CpuResize r = { dst, src, src_stride, n, axis };

  cpu_run (dev, cpu_resize_cost (axis, n), n, 0, resize_rows_part, &r);
}

/* Sums of a block stay in the first-level cache while its rows stream by. */
#define COLUMN_BLOCK 256

static void
resize_column_block (uint8_t *dst, const uint8_t *src, size_t src_stride,
    int count, const int32_t *weight, int n_taps, int precision)
{
  int32_t sum[COLUMN_BLOCK];

  for (int x = 0; x < count; x++)
    sum[x] = 1 << (precision - 1);
  for (int t = 0; t < n_taps; t++) {
    const uint8_t *row = src + (size_t) t * src_stride;

    for (int x = 0; x < count; x++)
      sum[x] += weight[t] * row[x];
  }
  for (int x = 0; x < count; x++)
    dst[x] = to_byte (sum[x], precision);
}

void
cpu_resize_column (uint8_t *dst, const uint8_t *src, size_t src_stride,
    int from, int to, const ResizeAxis *axis, int i)
{
  const uint8_t *rows = src + (size_t) axis->first[i] * src_stride;

  for (int x = from; x < to; x += COLUMN_BLOCK) {
    int count = to - x < COLUMN_BLOCK ? to - x : COLUMN_BLOCK;

    resize_column_block (dst + x, rows + x, src_stride, count,
        axis->weight + (size_t) i * axis->max_taps, axis->n_taps[i],
        axis->precision);
  }
}

static void
resize_columns_part (void *data, int from, int to, int thread)
{
  const CpuResize *r = data;
  int count = 3 * r->lines;

  for (int i = from; i < to; i++)
    cpu_resize_column (r->dst + (size_t) i * count, r->src, r->src_stride, 0,
        count, r->axis, i);
}

static void
resize_columns (Device *dev, uint8_t *dst, const uint8_t *src,
    size_t src_stride, int width, const ResizeAxis *axis)
{
  CpuResize r = { dst, src, src_stride, width, axis };

  cpu_run (dev, cpu_resize_cost (axis, width), axis->n_out, 0,
      resize_columns_part, &r);
}

void
cpu_init_resize (Ops *op)
{
  op->resize_rows = resize_rows;
  op->resize_columns = resize_columns;
}
