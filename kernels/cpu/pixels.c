/* pixels.c - pictures of video to RGB, plain C
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#include "kernels/cpu/cpu.h"

#include <string.h>

/* The sample in row y and column x of a part. */
static int
sample (const Pixels *p, int part, int y, int x)
{
  const PixelPart *at = &p->part[part];
  const uint8_t *s = p->plane[at->plane] + y * p->stride[at->plane] +
                     at->offset + (size_t) x * at->step;

  return p->bytes == 1 ? s[0] : s[0] | s[1] << 8;
}

/* Sample i of n that pixel x sees, its other neighbour, and how much. */
typedef struct Near {
  int i, other, weight;
} Near;

static Near
near_of (int x, int size, int shift, const int near[2])
{
  Near a = { x, x, 0 };
  int last = (size - 1) >> 1;

  if (!shift)
    return a;
  a.i = x >> 1;
  a.other = x & 1 ? a.i + 1 : a.i - 1;
  a.other = a.other < 0 ? 0 : a.other > last ? last : a.other;
  a.weight = near[x & 1];
  return a;
}

static int
blend (int a, int b, int weight)
{
  return ((4 - weight) * a + weight * b + 2) >> 2;
}

static int
blended (const Pixels *p, int part, Near y, Near x)
{
  int a = blend (
      sample (p, part, y.i, x.i), sample (p, part, y.i, x.other), x.weight);
  int b = blend (sample (p, part, y.other, x.i),
      sample (p, part, y.other, x.other), x.weight);

  return blend (a, b, y.weight);
}

static uint8_t
weighed (const int32_t m[4], const int v[3])
{
  int32_t sum = m[0] * v[0] + m[1] * v[1] + m[2] * v[2] + m[3];

  sum = (sum + (1 << (PIXELS_PRECISION - 1))) >> PIXELS_PRECISION;
  return sum < 0 ? 0 : sum > 255 ? 255 : (uint8_t) sum;
}

static void
pixel (uint8_t rgb[3], const Pixels *p, int y, int x)
{
  Near ny = near_of (y, p->skip_y + p->height, p->shift_y, p->near_y);
  Near nx = near_of (x, p->skip_x + p->width, p->shift_x, p->near_x);
  int v[3] = { sample (p, 0, y, x), blended (p, 1, ny, nx),
    blended (p, 2, ny, nx) };

  for (int c = 0; c < 3; c++)
    rgb[c] = p->is_rgb ? (uint8_t) v[c] : weighed (p->matrix[c], v);
}

/* Whether rows can be taken as they are. */
static bool
is_packed (const Pixels *p)
{
  for (int c = 0; c < 3; c++)
    if (p->part[c].plane || p->part[c].step != 3 || p->part[c].offset != c)
      return false;
  return p->is_rgb;
}

static void
picture_row (uint8_t *rgb, const Pixels *p, int y)
{
  y += p->skip_y;
  if (is_packed (p)) {
    memcpy (rgb, p->plane[0] + y * p->stride[0] + 3 * p->skip_x,
        (size_t) 3 * p->width);
    return;
  }
  for (int x = 0; x < p->width; x++)
    pixel (rgb + 3 * x, p, y, x + p->skip_x);
}

typedef struct ToRgb {
  uint8_t *dst;
  const Pixels *src;
  const RgbCanvas *canvas;
} ToRgb;

static void
fill (uint8_t *rgb, int n, const uint8_t colour[3])
{
  for (int i = 0; i < 3 * n; i++)
    rgb[i] = colour[i % 3];
}

static void
canvas_rows (void *data, int from, int to, int thread)
{
  const ToRgb *a = data;
  const RgbCanvas *c = a->canvas;

  for (int row = from; row < to; row++) {
    uint8_t *rgb = a->dst + (size_t) 3 * row * c->width;
    int y = row - c->top, right = c->left + a->src->width;

    if (y < 0 || y >= a->src->height) {
      fill (rgb, c->width, c->colour);
      continue;
    }
    fill (rgb, c->left, c->colour);
    picture_row (rgb + 3 * c->left, a->src, y);
    fill (rgb + 3 * right, c->width - right, c->colour);
  }
}

static void
to_rgb (Device *dev, uint8_t *dst, const Pixels *src, const RgbCanvas *canvas)
{
  ToRgb a = { dst, src, canvas };

  cpu_run (dev, (size_t) 3 * canvas->height * canvas->width, canvas->height, 0,
      canvas_rows, &a);
}

void
cpu_init_pixels (Ops *op)
{
  op->to_rgb = to_rgb;
}
