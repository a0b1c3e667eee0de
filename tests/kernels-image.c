/* kernels-image.c - cases of colours, of the 8-bit resize and of patches
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Integers and table look-ups: every backend must give the same bits. That
 * they are torchvision's and Pillow's bits is tested in image.c.
 */
#include "tests/kernels.h"

#include <math.h>
#include <string.h>

/* A triangle filter's taps with small negative lobes, as fixed point. */
typedef struct Axis {
  ResizeAxis host;
  KtBuf first, n_taps, weight;
} Axis;

static Axis
axis_new (Kt *kt, int n_in, int n_out, int narrow)
{
  int max_taps = n_in < 7 ? n_in : 7;
  int *first = kt_bytes (kt, sizeof *first * n_out);
  int *n_taps = kt_bytes (kt, sizeof *n_taps * n_out);
  int32_t *weight = kt_bytes (kt, sizeof *weight * n_out * max_taps);
  Axis axis = { { n_in, n_out, max_taps, first, n_taps, weight,
      narrow ? 14 : 22, narrow } };
  int unit = 1 << axis.host.precision;
  for (int i = 0; i < n_out; i++) {
    n_taps[i] = 1 + kt_below (kt, max_taps);
    first[i] = kt_below (kt, n_in - n_taps[i] + 1);
    for (int j = 0, left = unit; j < n_taps[i]; j++) {
      int part = kt_below (kt, unit / 2) - unit / 8;
      weight[i * max_taps + j] = j == n_taps[i] - 1 ? left : part;
      if (narrow && weight[i * max_taps + j] > 32767)
        weight[i * max_taps + j] = 32767;
      left -= part;
    }
  }
  axis.first = kt_array (kt, first, sizeof *first * n_out);
  axis.n_taps = kt_array (kt, n_taps, sizeof *n_taps * n_out);
  axis.weight = kt_array (kt, weight, sizeof *weight * n_out * max_taps);
  return axis;
}

static ResizeAxis
axis_on (const Axis *axis, int on)
{
  ResizeAxis device = axis->host;
  device.first = axis->first.on[on];
  device.n_taps = axis->n_taps.on[on];
  device.weight = axis->weight.on[on];
  return device;
}

static uint8_t *
random_bytes (Kt *kt, size_t count)
{
  uint8_t *x = kt_bytes (kt, count);
  for (size_t i = 0; i < count; i++)
    x[i] = kt_below (kt, 5) ? kt_below (kt, 256) : kt_below (kt, 2) * 255;
  return x;
}

static uint8_t
resized (const ResizeAxis *axis, const uint8_t *src, size_t step, int i)
{
  int64_t sum = (int64_t) 1 << (axis->precision - 1);
  for (int j = 0; j < axis->n_taps[i]; j++)
    sum += (int64_t) axis->weight[i * axis->max_taps + j] *
           src[(axis->first[i] + j) * step];
  sum >>= axis->precision;
  return sum < 0 ? 0 : sum > 255 ? 255 : (uint8_t) sum;
}

static void
resize_rows (Kt *kt, const int *size)
{
  int n = size[0], n_in = size[1], n_out = size[2], stride = 3 * n_in + 5;
  Axis axis = axis_new (kt, n_in, n_out, size[3]);
  const uint8_t *src = random_bytes (kt, (size_t) n * stride);
  uint8_t *want = kt_bytes (kt, (size_t) n * n_out * 3);
  for (int i = 0; i < n * n_out * 3; i++)
    want[i] = resized (
        &axis.host, src + i / (n_out * 3) * stride + i % 3, 3, i / 3 % n_out);
  KtBuf S = kt_array (kt, src, (size_t) n * stride),
        D = kt_array (kt, NULL, (size_t) n * n_out * 3);
  kt_work (kt, 3.0 * n * (n_in + n_out), 6.0 * n * n_out * 7);
  KT_EACH (kt, dev, on)
  {
    ResizeAxis a = axis_on (&axis, on);
    dev->op->resize_rows (dev, D.on[on], S.on[on], stride, n, &a);
  }
  kt_expect_same (kt, &D, want);
}

static void
resize_columns (Kt *kt, const int *size)
{
  int width = size[0], n_in = size[1], n_out = size[2];
  int stride = 3 * width + 5, row = 3 * width;
  Axis axis = axis_new (kt, n_in, n_out, size[3]);
  const uint8_t *src = random_bytes (kt, (size_t) n_in * stride);
  uint8_t *want = kt_bytes (kt, (size_t) n_out * row);
  for (int i = 0; i < n_out * row; i++)
    want[i] = resized (&axis.host, src + i % row, stride, i / row);
  KtBuf S = kt_array (kt, src, (size_t) n_in * stride),
        D = kt_array (kt, NULL, (size_t) n_out * row);
  kt_work (kt, 3.0 * width * (n_in + n_out), 6.0 * width * n_out * 7);
  KT_EACH (kt, dev, on)
  {
    ResizeAxis a = axis_on (&axis, on);
    dev->op->resize_columns (dev, D.on[on], S.on[on], stride, width, &a);
  }
  kt_expect_same (kt, &D, want);
}

static void
patches (Kt *kt, const int *size)
{
  int t = size[0], g = size[1], p = size[2], side = g * p;
  size_t count = (size_t) t * side * side * 3;
  const uint8_t *tiles = random_bytes (kt, count);
  const float *lut =
      kt_rounded (kt, TYPE_BF16, kt_uniform (kt, 3 * 256, 2), 3 * 256);
  float *want = kt_bytes (kt, count * sizeof *want), *to = want;
  for (int at = 0; at < t * g * g; at++)
    for (int i = 0; i < 3 * p * p; i++) {
      int y = at / g % g * p + i / p % p, x = at % g * p + i % p;
      int channel = i / (p * p), tile = at / (g * g);
      *to++ = lut[256 * channel +
                  tiles[(((size_t) tile * side + y) * side + x) * 3 + channel]];
    }
  KtBuf T = kt_array (kt, tiles, count), Y = kt_acts (kt, NULL, count),
        L = kt_array (kt, lut, sizeof *lut * 3 * 256);
  kt_work (kt, 5.0 * count, 0);
  KT_EACH (kt, dev, on)
  dev->op->patches (dev, Y.on[on], T.on[on], L.on[on], t, side, p);
  kt_expect_same (kt, &Y, want);
}

/* Weights of one axis, in doubles: [n_out][4*z], and the first input. */
static int
twin_taps (double *weight, int *first, int i, int z, int n)
{
  double sum = 0;
  int n_taps = 0;
  *first = -1;
  for (int s = 0; s < n; s++) {
    double far = (s + 0.5 - (i + 0.5) * z) / z;
    double w = far < 0 ? 1 + far : 1 - far;
    if (w <= 1e-12)
      continue;
    if (*first < 0)
      *first = s;
    weight[n_taps++] = w;
    sum += w;
  }
  for (int j = 0; j < n_taps; j++)
    weight[j] /= sum;
  return n_taps;
}

static void
shrunk_patches (Kt *kt, const int *size)
{
  int z = size[0], g = size[1], p = size[2], side = g * p;
  size_t count = (size_t) side * side * 3, n_bytes = count * z * z;
  const uint8_t *tiles = random_bytes (kt, n_bytes);
  const float *lut = kt_uniform (kt, 3 * 256, 2);
  KtBuf T = kt_array (kt, tiles, n_bytes), Y = kt_acts (kt, NULL, count),
        L = kt_array (kt, lut, sizeof *lut * 3 * 256);
  kt_work (kt, n_bytes + 4.0 * count, 8.0 * n_bytes);
  KT_EACH (kt, dev, on)
  dev->op->shrunk_patches (dev, Y.on[on], T.on[on], L.on[on], z, side, p);
  if (kt_timing (kt))
    return;
  double *want = kt_bytes (kt, sizeof *want * count), wx[64], wy[64];
  for (size_t at = 0; at < count; at++) {
    int patch = at / (3 * p * p), i = at % (3 * p * p), x0, y0;
    int channel = i / (p * p);
    int n_x = twin_taps (wx, &x0, patch % g * p + i % p, z, z * side);
    int n_y = twin_taps (wy, &y0, patch / g * p + i / p % p, z, z * side);
    for (int y = y0; y < y0 + n_y; y++)
      for (int x = x0; x < x0 + n_x; x++) {
        size_t tile = (size_t) (y / side) * z + x / side;
        size_t pixel = (tile * side + y % side) * side + x % side;
        want[at] += wy[y - y0] * wx[x - x0] *
                    lut[256 * channel + tiles[3 * pixel + channel]];
      }
  }
  kt_expect (kt, &Y, want, g * g, 3 * p * p, 1e-6);
}

/* ---- pictures of video ---- */

/* The layouts that a case runs over: where the parts lie. */
typedef struct Layout {
  int n_planes, bytes, shift_x, shift_y;
  PixelPart part[3];
  bool is_rgb;
} Layout;

static const Layout layouts[] = {
  { 1, 1, 0, 0, { { 0, 0, 3 }, { 0, 1, 3 }, { 0, 2, 3 } }, true },  /* RGB */
  { 1, 1, 0, 0, { { 0, 3, 4 }, { 0, 2, 4 }, { 0, 1, 4 } }, true },  /* xBGR */
  { 3, 1, 0, 0, { { 0, 0, 1 }, { 1, 0, 1 }, { 2, 0, 1 } }, false }, /* Y444 */
  { 3, 1, 1, 1, { { 0, 0, 1 }, { 1, 0, 1 }, { 2, 0, 1 } }, false }, /* I420 */
  { 2, 1, 1, 1, { { 0, 0, 1 }, { 1, 0, 2 }, { 1, 1, 2 } }, false }, /* NV12 */
  { 2, 2, 1, 1, { { 0, 0, 2 }, { 1, 0, 4 }, { 1, 2, 4 } }, false }, /* P010 */
  { 1, 1, 1, 0, { { 0, 0, 2 }, { 0, 1, 4 }, { 0, 3, 4 } }, false }, /* YUY2 */
};

/* Sample in doubles, of a subsampled part blended and rounded as said. */
static int
twin_near (int x, int size, int shift, const int near[2], int *other)
{
  int last = (size - 1) / 2;
  *other = x;
  if (!shift)
    return 0;
  *other = x / 2 + (x % 2 ? 1 : -1);
  *other = *other < 0 ? 0 : *other > last ? last : *other;
  return near[x % 2];
}

static int
twin_raw (const Pixels *p, int part, int y, int x)
{
  const PixelPart *at = &p->part[part];
  const uint8_t *s = p->plane[at->plane] + y * p->stride[at->plane] +
                     at->offset + x * at->step;
  return p->bytes == 1 ? *s : s[0] + 256 * s[1];
}

static int
twin_sample (const Pixels *p, int part, int y, int x)
{
  int shift_x = part ? p->shift_x : 0, shift_y = part ? p->shift_y : 0;
  int x1, y1, i = x >> shift_x, j = y >> shift_y;
  int wx = twin_near (x, p->skip_x + p->width, shift_x, p->near_x, &x1);
  int wy = twin_near (y, p->skip_y + p->height, shift_y, p->near_y, &y1);
  double above = floor (
      ((4 - wx) * twin_raw (p, part, j, i) + wx * twin_raw (p, part, j, x1)) /
          4.0 +
      0.5);
  double below = floor (
      ((4 - wx) * twin_raw (p, part, y1, i) + wx * twin_raw (p, part, y1, x1)) /
          4.0 +
      0.5);
  return (int) floor (((4 - wy) * above + wy * below) / 4 + 0.5);
}

static uint8_t
twin_rgb (const Pixels *p, const RgbCanvas *canvas, int row, int column, int c)
{
  int y = row - canvas->top, x = column - canvas->left;
  double sum = 0;
  if (x < 0 || y < 0 || x >= p->width || y >= p->height)
    return canvas->colour[c];
  for (int part = 0; part < 3; part++) {
    int s = twin_sample (p, part, y + p->skip_y, x + p->skip_x);
    if (p->is_rgb && part == c)
      return (uint8_t) s;
    sum += (double) p->matrix[c][part] * s;
  }
  sum = floor ((sum + p->matrix[c][3]) / (1 << PIXELS_PRECISION) + 0.5);
  return sum < 0 ? 0 : sum > 255 ? 255 : (uint8_t) sum;
}

static void
random_matrix (Kt *kt, Pixels *p)
{
  int one = 1 << (PIXELS_PRECISION - 8 * (p->bytes - 1));
  for (int c = 0; c < 3; c++) {
    for (int part = 0; part < 3; part++)
      p->matrix[c][part] = kt_below (kt, 3 * one) - one;
    p->matrix[c][3] = (kt_below (kt, 400) - 200) << PIXELS_PRECISION;
  }
}

/* size: layout + 1, width, height, border, and how much is skipped. */
static void
to_rgb (Kt *kt, const int *size)
{
  const Layout *l = &layouts[size[0] - 1];
  int w = size[1], h = size[2], border = size[3], skip = size[4];
  Pixels p = { .width = w,
    .height = h,
    .skip_x = skip,
    .skip_y = skip,
    .bytes = l->bytes,
    .shift_x = l->shift_x,
    .shift_y = l->shift_y,
    .near_x = { skip, skip ? 1 : 2 },
    .near_y = { 1, 1 },
    .is_rgb = l->is_rgb };
  RgbCanvas canvas = { w + 3 * border, h + 2 * border, border, border,
    { 12, 34, 56 } };
  size_t count = (size_t) 3 * canvas.width * canvas.height;
  KtBuf plane[3], D = kt_array (kt, NULL, count);
  memcpy (p.part, l->part, sizeof p.part);
  random_matrix (kt, &p);
  for (int i = 0; i < l->n_planes; i++) {
    p.stride[i] = 4 * (size_t) (w + skip + 1) + 3 + i;
    size_t bytes = p.stride[i] * (h + skip);
    p.plane[i] = random_bytes (kt, bytes);
    plane[i] = kt_array (kt, p.plane[i], bytes);
  }
  kt_work (kt, 4.5 * w * h, 18.0 * w * h);
  KT_EACH (kt, dev, on)
  {
    Pixels on_device = p;
    for (int i = 0; i < l->n_planes; i++)
      on_device.plane[i] = plane[i].on[on];
    dev->op->to_rgb (dev, D.on[on], &on_device, &canvas);
  }
  uint8_t *want = kt_bytes (kt, count);
  for (size_t i = 0; !kt_timing (kt) && i < count; i++)
    want[i] = twin_rgb (&p, &canvas, (int) (i / 3 / canvas.width),
        (int) (i / 3 % canvas.width), (int) (i % 3));
  kt_expect_same (kt, &D, want);
}

#define RESIZES                                                                \
  .sizes = { { 1, 1, 1 }, { 5, 33, 17 }, { 17, 100, 65, 1 },                   \
    { 3, 577, 336, 1 }, { 40, 64, 130 }, { 8, 90, 41 }, { 21, 200, 64, 1 },    \
    { 22, 33, 20 }, { 64, 12, 30, 1 } },                                       \
  .benches = { { 1080, 1920, 672, 1 }, { 672, 1080, 672, 1 },                  \
    { 1080, 1920, 672 } }

const KtCase kt_cases_image[] = {
  { KT_SLOT (resize_rows), resize_rows, RESIZES },
  { KT_SLOT (resize_columns), resize_columns, RESIZES },
  { KT_SLOT (to_rgb), to_rgb,
      .sizes = { { 1, 1, 1 }, { 5, 5, 3, 2 }, { 6, 33, 9, 0, 1 },
          { 2, 40, 10, 0, 3 }, { 1, 33, 7, 3, 1 }, { 3, 65, 17 },
          { 4, 64, 8, 1, 1 }, { 5, 31, 12, 0, 1 }, { 4, 1, 1 }, { 7, 34, 5 },
          { 7, 7, 5, 2, 1 }, { 6, 2, 40 } },
      .benches = { { 5, 1920, 1080 }, { 4, 1920, 1080 }, { 6, 1920, 1080 },
          { 2, 1920, 1080 }, { 1, 1920, 1080, 100 } } },
  { KT_SLOT (patches), patches,
      .sizes = { { 1, 1, 1 }, { 2, 8, 8 }, { 1, 3, 14 }, { 5, 2, 7 } },
      .benches = { { 5, 24, 14 }, { 5, 8, 8 } } },
  { KT_SLOT (shrunk_patches), shrunk_patches,
      .sizes = { { 1, 2, 7 }, { 2, 3, 5 }, { 3, 1, 1 }, { 3, 4, 7 },
          { 4, 2, 3 }, { 7, 1, 4 } },
      .benches = { { 3, 24, 14 } } },
  { NULL },
};
