/* resize.c - the exact 8-bit resize
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Checksums were taken from Pillow 13.0 and torchvision 0.29.
 */
#include <glib.h>
#include <string.h>

#include "engine/image-axis.h"
#include "kernels/cpu/cpu.h"
#include "tests/picture.h"

static guint64
sum_of (const guint8 *data, gsize size)
{
  guint64 sum = 0;

  for (gsize i = 0; i < size; i++)
    sum += data[i];
  return sum;
}

/* ---- checksums ---- */

typedef struct {
  int w, h, out_w, out_h;
  guint32 pillow_crc;
  guint64 pillow_sum;
  guint32 torchvision_crc;
  guint64 torchvision_sum;
} ResizeCase;

static const ResizeCase cases[] = {
  { 640, 480, 672, 504, 0x88182101, 129268810, 0x5ddfdd8c, 129266020 },
  { 640, 480, 336, 336, 0xe8c27cc3, 43079182, 0x14070a84, 43090241 },
  { 1280, 720, 672, 378, 0xd5e47b71, 97097812, 0x48cf8fc6, 97096905 },
  { 1920, 1080, 336, 336, 0x6751f87d, 43158599, 0x7c082343, 43158263 },
  { 97, 61, 179, 112, 0x1ca311c7, 7404494, 0x320b41dd, 7404090 },
  { 300, 300, 337, 336, 0xcedf5a7f, 43189115, 0x09e94da4, 43189710 },
  { 37, 29, 112, 112, 0x4b68a9cc, 3906651, 0x64a3c957, 3906503 },
  /* Pillow 13: the first three go down the columns first */
  { 1080, 1920, 336, 336, 0x6732df6b, 43166603, 0, 0 },
  { 120, 400, 112, 112, 0xb5c0a0ae, 4778877, 0, 0 },
  { 342, 608, 112, 112, 0x8bed2b6a, 4790545, 0, 0 },
  { 480, 640, 504, 672, 0xe4160026, 129392080, 0, 0 },
};

/* Resizes with a geometry made by hand: tiles of T pixels cover the fitted
 * picture, which is put together again without their padding. */
static guint8 *
resize_by_tiles (Device *dev, VlmResampling resampling,
    const VlmPicture *picture, int out_w, int out_h, int T, int pad)
{
  VlmConfig config = picture_next_config (336);
  VlmTileGeometry g = { .tile_px = T,
    .img_h = picture->height,
    .img_w = picture->width,
    .fit_h = out_h,
    .fit_w = out_w,
    .pad_x = pad,
    .pad_y = pad,
    .cols = (pad + out_w + T - 1) / T,
    .rows = (pad + out_h + T - 1) / T };
  gsize line = (gsize) 3 * T;
  guint8 *whole = g_malloc ((gsize) 3 * out_w * out_h);
  g_autoptr (VlmTiler) tiler = NULL;
  const guint8 *tiles;

  config.vision.image_size = T;
  tiler = vlm_tiler_new (dev, &config, resampling);
  tiles = vlm_tiler_run (tiler, picture, &g, NULL);
  g_assert_nonnull (tiles);
  for (int y = 0; y < g.rows * T; y++)
    for (int x = 0; x < g.cols * T; x++) {
      int tile = 1 + y / T * g.cols + x / T;
      const guint8 *p = tiles + (tile * T + y % T) * line + (gsize) 3 * (x % T);

      if (y >= pad && y < pad + out_h && x >= pad && x < pad + out_w)
        memcpy (whole + ((gsize) (y - pad) * out_w + x - pad) * 3, p, 3);
      else
        g_assert_cmpint (p[0] | p[1] | p[2], ==, 0);
    }
  return whole;
}

static Device *
open_level (CpuLevel level, int n_threads)
{
  DeviceStatus status = { 0 };

  return cpu_open (level, n_threads, &status);
}

static void
check_resize (Device *dev, const ResizeCase *c)
{
  gsize size = (gsize) 3 * c->out_w * c->out_h;
  gsize stride = (gsize) 3 * c->w + 5;
  g_autofree guint8 *data = picture_new (c->w, c->h, stride);
  VlmPicture picture = { data, c->w, c->h, stride, 1, 1 };
  g_autofree guint8 *pillow = resize_by_tiles (
      dev, VLM_RESAMPLING_PILLOW, &picture, c->out_w, c->out_h, 112, 0);

  g_assert_cmphex (picture_crc32 (pillow, size), ==, c->pillow_crc);
  g_assert_cmpuint (sum_of (pillow, size), ==, c->pillow_sum);
  if (c->torchvision_sum) {
    g_autofree guint8 *torchvision = resize_by_tiles (
        dev, VLM_RESAMPLING_TORCHVISION, &picture, c->out_w, c->out_h, 168, 31);

    g_assert_cmphex (picture_crc32 (torchvision, size), ==, c->torchvision_crc);
    g_assert_cmpuint (sum_of (torchvision, size), ==, c->torchvision_sum);
  }
}

static void
test_checksums (void)
{
  for (int level = 0; level < CPU_N_LEVELS; level++) {
    Device *dev = open_level ((CpuLevel) level, 2);

    for (guint i = 0; dev && i < G_N_ELEMENTS (cases); i++)
      check_resize (dev, &cases[i]);
    device_close (dev);
  }
}

/* ---- variants ---- */

/* A window of a random axis: padding before, after or cut off. */
static void
random_axis (VlmAxis *axis, VlmResampling resampling, int n_in)
{
  int n_out = g_test_rand_int_range (1, 90);
  int from = g_test_rand_int_range (-20, n_out);
  int count = g_test_rand_int_range (1, 100);

  g_assert_true (vlm_axis_init (axis, resampling, n_in, n_out, from, count));
  g_assert_cmpint (axis->axis.n_in, ==, n_in);
  g_assert_cmpint (axis->axis.n_out, ==, count);
}

static guint8 *
random_bytes (gsize size)
{
  guint8 *data = g_malloc (size);

  for (gsize i = 0; i < size; i++)
    data[i] = g_test_rand_int_range (0, 5) ? g_test_rand_int () & 255
                                           : (g_test_rand_int () & 1) * 255;
  return data;
}

/* Both slots of `fast` against those of `plain`; sources and outputs end
 * exactly where they must, for the address sanitizer to see. */
static void
compare_once (Device *plain, Device *fast, VlmResampling resampling)
{
  int n_in = g_test_rand_int_range (1, 200), n = g_test_rand_int_range (1, 40);
  gsize slack = g_test_rand_int_range (0, 9);
  gsize wide = 3 * n_in + slack, narrow = 3 * n + slack;
  g_auto (VlmAxis) axis = { 0 };
  g_autofree guint8 *rows = random_bytes (wide * n - slack);
  g_autofree guint8 *columns = random_bytes (narrow * n_in - slack);
  g_autofree guint8 *a = NULL, *b = NULL;
  gsize size;

  random_axis (&axis, resampling, n_in);
  size = (gsize) 3 * n * axis.axis.n_out;
  a = g_malloc (size);
  b = g_malloc (size);
  plain->op->resize_rows (plain, a, rows, wide, n, &axis.axis);
  fast->op->resize_rows (fast, b, rows, wide, n, &axis.axis);
  g_assert_cmpmem (a, size, b, size);
  plain->op->resize_columns (plain, a, columns, narrow, n, &axis.axis);
  fast->op->resize_columns (fast, b, columns, narrow, n, &axis.axis);
  g_assert_cmpmem (a, size, b, size);
}

static void
test_variants (void)
{
  Device *plain = open_level (CPU_LEVEL_PLAIN, 1);

  for (int level = 1; level < CPU_N_LEVELS; level++) {
    Device *fast = open_level ((CpuLevel) level, 2);

    for (int i = 0; fast && i < 600; i++)
      compare_once (plain, fast, (VlmResampling) (i % 2));
    device_close (fast);
  }
  device_close (plain);
}

/* An axis whose size does not change passes bytes through. */
static void
test_identity (void)
{
  for (int r = 0; r < 2; r++) {
    g_auto (VlmAxis) axis = { 0 };

    g_assert_true (vlm_axis_init (&axis, (VlmResampling) r, 50, 50, 0, 50));
    for (int i = 0; i < 50; i++)
      for (int t = 0; t < axis.n_taps[i]; t++)
        g_assert_cmpint (axis.weight[i * axis.axis.max_taps + t], ==,
            axis.first[i] + t == i ? 1 << axis.axis.precision : 0);
  }
}

/* Sums of 32 bits hold, and a white picture stays white, on axes as steep as
 * they come. */
static void
test_steep (void)
{
  static const int axes[][2] = { { VLM_MAX_PICTURE_SIDE, 1 },
    { VLM_MAX_PICTURE_SIDE, 3 }, { 16384, 336 }, { 1, 336 }, { 2, 1008 } };
  Device *dev = open_level (CPU_LEVEL_BEST, 1);

  for (guint i = 0; i < 2 * G_N_ELEMENTS (axes); i++) {
    int n_in = axes[i / 2][0], n_out = axes[i / 2][1];
    g_autofree guint8 *white = g_malloc ((gsize) 3 * n_in);
    g_autofree guint8 *out = g_malloc0 ((gsize) 3 * n_out);
    g_auto (VlmAxis) axis = { 0 };

    memset (white, 255, (gsize) 3 * n_in);
    g_assert_true (
        vlm_axis_init (&axis, (VlmResampling) (i % 2), n_in, n_out, 0, n_out));
    dev->op->resize_rows (dev, out, white, (gsize) 3 * n_in, 1, &axis.axis);
    for (int x = 0; x < 3 * n_out; x++)
      g_assert_cmpint (out[x], >=, 253);
  }
  device_close (dev);
}

int
main (int argc, char **argv)
{
  g_test_init (&argc, &argv, NULL);
  g_test_add_func ("/resize/checksums", test_checksums);
  g_test_add_func ("/resize/variants", test_variants);
  g_test_add_func ("/resize/identity", test_identity);
  g_test_add_func ("/resize/steep", test_steep);
  return g_test_run ();
}
