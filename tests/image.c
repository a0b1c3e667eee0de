/* image.c - grids, token counts, exact resize, tiles
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Checksums were taken from Pillow 13.0 and torchvision 0.29, geometry and
 * counts from transformers.
 */
#include <glib.h>
#include <string.h>

#include "engine/error.h"
#include "engine/image-axis.h"
#include "engine/image.h"
#include "kernels/cpu/cpu.h"

/* ---- helpers ---- */

/* The five standard pinpoints for tiles of T pixels. */
static VlmConfig
next_config (int T)
{
  VlmConfig config = { .newline = TRUE,
    .vision = { .image_size = T, .patch = 14, .side = T / 14 },
    .image = { .mode = VLM_IMAGE_ANYRES,
        .mean = { 0.48145466f, 0.4578275f, 0.40821073f },
        .std = { 0.26862954f, 0.26130258f, 0.27577711f },
        .rescale = 0.00392156862745098,
        .n_pinpoints = 5,
        .pinpoint = { { T, 2 * T }, { 2 * T, T }, { 2 * T, 2 * T },
            { 3 * T, T }, { T, 3 * T } } } };

  config.vision.n_patches = config.vision.side * config.vision.side;
  return config;
}

static VlmConfig
llava15_config (VlmImageMode mode)
{
  VlmConfig config = next_config (336);

  config.newline = FALSE;
  config.image.mode = mode;
  config.image.n_pinpoints = 0;
  return config;
}

static guint32
crc32 (const guint8 *data, gsize size)
{
  guint32 crc = ~0u;

  for (gsize i = 0; i < size; i++) {
    crc ^= data[i];
    for (int bit = 0; bit < 8; bit++)
      crc = (crc >> 1) ^ (crc & 1 ? 0xedb88320u : 0);
  }
  return ~crc;
}

static guint64
sum_of (const guint8 *data, gsize size)
{
  guint64 sum = 0;

  for (gsize i = 0; i < size; i++)
    sum += data[i];
  return sum;
}

/* The deterministic picture behind the checksums. */
static guint8 *
test_picture (int width, int height, gsize stride)
{
  guint8 *data = g_malloc0 (stride * height);

  for (int y = 0; y < height; y++)
    for (int x = 0; x < width; x++) {
      guint8 *p = data + y * stride + 3 * (gsize) x;

      p[0] = (guint8) (7 * x + 13 * y + ((x * y) >> 3));
      p[1] = (guint8) (x * x + 3 * y);
      p[2] = (guint8) (x ^ (5 * y));
    }
  return data;
}

/* ---- grids ---- */

typedef struct {
  int w, h, grid_h, grid_w, fit_w, fit_h, left, top, kept_h, kept_w, tokens;
} GridCase;

static const GridCase grids_336[] = {
  { 336, 336, 336, 672, 336, 336, 168, 0, 24, 24, 1176 },
  { 224, 224, 336, 672, 336, 336, 168, 0, 24, 24, 1176 },
  { 300, 300, 336, 672, 337, 336, 167, 0, 24, 24, 1176 },
  { 672, 672, 672, 672, 672, 672, 0, 0, 48, 48, 2928 },
  { 500, 500, 672, 672, 672, 672, 0, 0, 48, 48, 2928 },
  { 1000, 1000, 672, 672, 672, 672, 0, 0, 48, 48, 2928 },
  { 640, 480, 672, 672, 672, 504, 0, 84, 36, 48, 2340 },
  { 800, 600, 672, 672, 672, 504, 0, 84, 36, 48, 2340 },
  { 1024, 768, 672, 672, 672, 504, 0, 84, 36, 48, 2340 },
  { 480, 640, 672, 672, 504, 672, 84, 0, 48, 36, 2352 },
  { 1280, 720, 672, 672, 672, 378, 0, 147, 28, 48, 1948 },
  { 1920, 1080, 672, 672, 672, 378, 0, 147, 28, 48, 1948 },
  { 3840, 2160, 672, 672, 672, 378, 0, 147, 28, 48, 1948 },
  { 720, 1280, 672, 672, 378, 672, 147, 0, 48, 28, 1968 },
  { 1080, 1920, 672, 672, 378, 672, 147, 0, 48, 28, 1968 },
  { 1024, 899, 672, 672, 672, 590, 0, 41, 42, 48, 2634 },
  { 1100, 808, 672, 672, 672, 494, 0, 89, 36, 48, 2340 },
  { 320, 240, 336, 672, 448, 336, 112, 0, 24, 32, 1368 },
  { 176, 144, 336, 672, 411, 336, 130, 0, 24, 30, 1320 },
  { 672, 336, 336, 672, 672, 336, 0, 0, 24, 48, 1752 },
  { 336, 672, 672, 336, 336, 672, 0, 0, 48, 24, 1776 },
  { 1000, 300, 336, 1008, 1008, 303, 0, 16, 22, 72, 2182 },
  { 300, 1000, 1008, 336, 303, 1008, 16, 0, 72, 22, 2232 },
  { 400, 900, 1008, 336, 336, 756, 0, 126, 54, 24, 1926 },
  { 2000, 500, 336, 1008, 1008, 252, 0, 42, 18, 72, 1890 },
};

static const GridCase grids_112[] = {
  { 112, 112, 112, 224, 112, 112, 56, 0, 8, 8, 136 },
  { 100, 100, 112, 224, 113, 112, 55, 0, 8, 8, 136 },
  { 99, 88, 112, 224, 126, 112, 49, 0, 8, 10, 152 },
  { 97, 61, 112, 224, 179, 112, 22, 0, 8, 12, 168 },
  { 192, 144, 224, 224, 224, 168, 0, 28, 12, 16, 268 },
  { 640, 480, 224, 224, 224, 168, 0, 28, 12, 16, 268 },
  { 144, 192, 224, 224, 168, 224, 28, 0, 16, 12, 272 },
  { 256, 144, 224, 224, 224, 126, 0, 49, 10, 16, 234 },
  { 1280, 720, 224, 224, 224, 126, 0, 49, 10, 16, 234 },
  { 400, 120, 112, 336, 336, 101, 0, 5, 8, 24, 264 },
  { 120, 400, 336, 112, 101, 336, 5, 0, 24, 8, 280 },
  { 224, 224, 224, 224, 224, 224, 0, 0, 16, 16, 336 },
};

static void
check_grid (const VlmConfig *config, const GridCase *c)
{
  VlmTileGeometry g;
  int T = config->vision.image_size, y, x, h, w;

  g_assert_true (vlm_tile_geometry (&g, config, c->w, c->h, NULL));
  g_assert_cmpint (g.rows * T, ==, c->grid_h);
  g_assert_cmpint (g.cols * T, ==, c->grid_w);
  g_assert_cmpint (g.fit_w, ==, c->fit_w);
  g_assert_cmpint (g.fit_h, ==, c->fit_h);
  g_assert_cmpint (g.pad_x, ==, c->left);
  g_assert_cmpint (g.pad_y, ==, c->top);
  vlm_tile_kept (&g, &y, &h, &x, &w);
  g_assert_cmpint (h, ==, c->kept_h);
  g_assert_cmpint (w, ==, c->kept_w);
  g_assert_cmpint (2 * y + h, ==, g.rows * g.side);
  g_assert_cmpint (2 * x + w, ==, g.cols * g.side);
  g_assert_cmpint (vlm_tile_image_tokens (&g, config), ==, c->tokens);
}

static void
test_grids (void)
{
  VlmConfig large = next_config (336), small = next_config (112);

  for (guint i = 0; i < G_N_ELEMENTS (grids_336); i++)
    check_grid (&large, &grids_336[i]);
  for (guint i = 0; i < G_N_ELEMENTS (grids_112); i++)
    check_grid (&small, &grids_112[i]);
}

static void
test_grid_in_doubles (void)
{
  VlmConfig config = next_config (336);
  VlmTileGeometry g;

  g_assert_true (vlm_tile_geometry (&g, &config, 577, 1153, NULL));
  g_assert_cmpint (g.rows, ==, 2);
  g_assert_cmpint (g.cols, ==, 1);

  config = next_config (112);
  config.image.n_pinpoints = 1;
  g_assert_true (vlm_tile_geometry (&g, &config, 192, 108, NULL));
  g_assert_cmpint (g.fit_h, ==, 112);
  config.image.pinpoint[0][0] = config.image.pinpoint[0][1] = 112;
  g_assert_true (vlm_tile_geometry (&g, &config, 192, 108, NULL));
  g_assert_cmpint (g.fit_h, ==, 64);
}

static void
test_grid_extremes (void)
{
  VlmConfig config = next_config (336);
  VlmTileGeometry g;
  GError *error = NULL;
  int y, x, h, w;

  g_assert_true (vlm_tile_geometry (&g, &config, 1, 1, NULL));
  g_assert_cmpint (g.cols, ==, 2);
  g_assert_true (vlm_tile_geometry (&g, &config, 1, 5000, NULL));
  vlm_tile_kept (&g, &y, &h, &x, &w);
  g_assert_cmpint (w, ==, 0);
  g_assert_cmpint (vlm_tile_image_tokens (&g, &config), ==, 576 + h);
  g_assert_true (vlm_tile_geometry (&g, &config, 16384, 16384, NULL));
  g_assert_cmpint (vlm_tile_count (&g), ==, 5);

  g_assert_false (vlm_tile_geometry (&g, &config, 0, 5, &error));
  g_assert_error (error, VLM_ERROR, VLM_ERROR_REQUEST);
  g_clear_error (&error);
  g_assert_false (vlm_tile_geometry (&g, &config, 5, 1 << 20, &error));
  g_assert_error (error, VLM_ERROR, VLM_ERROR_REQUEST);
  g_clear_error (&error);
  config.image.pinpoint[0][1] = 336 * 64;
  config.image.n_pinpoints = 1;
  g_assert_false (vlm_tile_geometry (&g, &config, 640, 480, &error));
  g_assert_error (error, VLM_ERROR, VLM_ERROR_REQUEST);
  g_clear_error (&error);
  config.image.n_pinpoints = 0;
  g_assert_false (vlm_tile_geometry (&g, &config, 640, 480, &error));
  g_assert_error (error, VLM_ERROR, VLM_ERROR_REQUEST);
  g_clear_error (&error);
}

static void
test_single_tile (void)
{
  VlmConfig crop = llava15_config (VLM_IMAGE_CENTRE_CROP);
  VlmConfig pad = llava15_config (VLM_IMAGE_PAD_SQUARE);
  VlmTileGeometry g;

  g_assert_true (vlm_tile_geometry (&g, &crop, 640, 480, NULL));
  g_assert_cmpint (vlm_tile_count (&g), ==, 1);
  g_assert_cmpint (g.fit_w, ==, 448);
  g_assert_cmpint (g.fit_h, ==, 336);
  g_assert_cmpint (g.pad_x, ==, -56);
  g_assert_cmpint (g.pad_y, ==, 0);
  g_assert_cmpint (vlm_tile_image_tokens (&g, &crop), ==, 576);
  g_assert_true (vlm_tile_geometry (&g, &crop, 97, 401, NULL));
  g_assert_cmpint (g.fit_h, ==, 1389);
  g_assert_cmpint (g.pad_y, ==, -526);
  crop.keep_class_token = TRUE;
  g_assert_cmpint (vlm_tile_image_tokens (&g, &crop), ==, 577);

  g_assert_true (vlm_tile_geometry (&g, &pad, 640, 480, NULL));
  g_assert_cmpint (vlm_tile_count (&g), ==, 1);
  g_assert_cmpint (vlm_tile_image_tokens (&g, &pad), ==, 576);
}

static void
test_pixel_aspect (void)
{
  VlmPicture picture = {
    .width = 720, .height = 576, .pixel_aspect_n = 16, .pixel_aspect_d = 15
  };
  int w, h;
  GError *error = NULL;

  g_assert_true (vlm_picture_square_size (&picture, &w, &h, NULL));
  g_assert_cmpint (w, ==, 768);
  g_assert_cmpint (h, ==, 576);
  picture.pixel_aspect_n = G_MAXINT;
  picture.pixel_aspect_d = 1;
  g_assert_true (vlm_picture_square_size (&picture, &w, &h, NULL));
  g_assert_cmpint (w, ==, VLM_MAX_PICTURE_SIDE);
  picture.pixel_aspect_d = 0;
  g_assert_false (vlm_picture_square_size (&picture, &w, &h, &error));
  g_assert_error (error, VLM_ERROR, VLM_ERROR_REQUEST);
  g_clear_error (&error);
}

/* ---- resize ---- */

typedef struct {
  int w, h, out_w, out_h;
  guint32 pillow_crc;
  guint64 pillow_sum;
  guint32 torchvision_crc;
  guint64 torchvision_sum;
} ResizeCase;

static const ResizeCase resizes[] = {
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
  VlmConfig config = next_config (336);
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
  g_autofree guint8 *data = test_picture (c->w, c->h, stride);
  VlmPicture picture = { data, c->w, c->h, stride, 1, 1 };
  g_autofree guint8 *pillow = resize_by_tiles (
      dev, VLM_RESAMPLING_PILLOW, &picture, c->out_w, c->out_h, 112, 0);

  g_assert_cmphex (crc32 (pillow, size), ==, c->pillow_crc);
  g_assert_cmpuint (sum_of (pillow, size), ==, c->pillow_sum);
  if (c->torchvision_sum) {
    g_autofree guint8 *torchvision = resize_by_tiles (
        dev, VLM_RESAMPLING_TORCHVISION, &picture, c->out_w, c->out_h, 168, 31);

    g_assert_cmphex (crc32 (torchvision, size), ==, c->torchvision_crc);
    g_assert_cmpuint (sum_of (torchvision, size), ==, c->torchvision_sum);
  }
}

static void
test_resize (void)
{
  for (int level = 0; level < CPU_N_LEVELS; level++) {
    Device *dev = open_level ((CpuLevel) level, 2);

    for (guint i = 0; dev && i < G_N_ELEMENTS (resizes); i++)
      check_resize (dev, &resizes[i]);
    device_close (dev);
  }
}

int
main (int argc, char **argv)
{
  g_test_init (&argc, &argv, NULL);
  g_test_add_func ("/image/grids", test_grids);
  g_test_add_func ("/image/grid-in-doubles", test_grid_in_doubles);
  g_test_add_func ("/image/grid-extremes", test_grid_extremes);
  g_test_add_func ("/image/single-tile", test_single_tile);
  g_test_add_func ("/image/pixel-aspect", test_pixel_aspect);
  g_test_add_func ("/image/resize", test_resize);
  return g_test_run ();
}
