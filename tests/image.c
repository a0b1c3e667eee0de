/* image.c - grids, token counts, tiles
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Checksums, geometry and counts were taken from transformers 5.23.
 */
#include <glib.h>
#include <string.h>

#include "engine/error.h"
#include "engine/image.h"
#include "tests/picture.h"

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
  VlmConfig large = picture_next_config (336),
            small = picture_next_config (112);

  for (guint i = 0; i < G_N_ELEMENTS (grids_336); i++)
    check_grid (&large, &grids_336[i]);
  for (guint i = 0; i < G_N_ELEMENTS (grids_112); i++)
    check_grid (&small, &grids_112[i]);
}

static void
test_grid_in_doubles (void)
{
  VlmConfig config = picture_next_config (336);
  VlmTileGeometry g;

  g_assert_true (vlm_tile_geometry (&g, &config, 577, 1153, NULL));
  g_assert_cmpint (g.rows, ==, 2);
  g_assert_cmpint (g.cols, ==, 1);

  config = picture_next_config (112);
  config.image.n_pinpoints = 1;
  g_assert_true (vlm_tile_geometry (&g, &config, 192, 108, NULL));
  g_assert_cmpint (g.fit_h, ==, 112);
  config.image.pinpoint[0][0] = config.image.pinpoint[0][1] = 112;
  g_assert_true (vlm_tile_geometry (&g, &config, 192, 108, NULL));
  g_assert_cmpint (g.fit_h, ==, 64);
}

static void
check_no_geometry (const VlmConfig *config, int w, int h)
{
  VlmTileGeometry g;
  GError *error = NULL;

  g_assert_false (vlm_tile_geometry (&g, config, w, h, &error));
  g_assert_error (error, VLM_ERROR, VLM_ERROR_REQUEST);
  g_clear_error (&error);
}

static void
test_grid_extremes (void)
{
  VlmConfig config = picture_next_config (336);
  VlmTileGeometry g;
  int y, x, h, w;

  g_assert_true (vlm_tile_geometry (&g, &config, 1, 1, NULL));
  g_assert_cmpint (g.cols, ==, 2);
  g_assert_true (vlm_tile_geometry (&g, &config, 1, 5000, NULL));
  vlm_tile_kept (&g, &y, &h, &x, &w);
  g_assert_cmpint (w, ==, 0);
  g_assert_cmpint (vlm_tile_image_tokens (&g, &config), ==, 576 + h);
  g_assert_true (vlm_tile_geometry (&g, &config, 16384, 16384, NULL));
  g_assert_cmpint (vlm_tile_count (&g), ==, 5);

  check_no_geometry (&config, 0, 5);
  check_no_geometry (&config, 5, 1 << 20);
  config.image.pinpoint[0][1] = 336 * 64;
  config.image.n_pinpoints = 1;
  check_no_geometry (&config, 640, 480);
  config.image.n_pinpoints = 0;
  check_no_geometry (&config, 640, 480);
}

static void
test_single_tile (void)
{
  VlmConfig crop = picture_single_config (VLM_IMAGE_CENTRE_CROP, 336);
  VlmConfig pad = picture_single_config (VLM_IMAGE_PAD_SQUARE, 336);
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
  check_no_geometry (&pad, 1, VLM_MAX_SQUARE_SIDE + 1);
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

/* ---- tiles ---- */

/* Tiles of 112 pixels of the deterministic picture, by image mode and
 * resampling, as the processors of transformers 5.23 make them. */
typedef struct {
  int w, h;
  guint32 crc[3][2];
} TileCase;

static const TileCase tile_cases[] = {
  { 640, 480,
      { { 0x462dc152, 0xdcbb0587 }, { 0xb17d1285, 0xfc69f406 },
          { 0xbd237a78, 0xf88ce7d7 } } },
  { 97, 401,
      { { 0x01d917dd, 0x1f70a6d1 }, { 0xd4bb8530, 0xad49e590 },
          { 0x792ea1be, 0x2a00cef1 } } },
  { 333, 111,
      { { 0x75448ce5, 0x1fb1473d }, { 0x8f0b6d48, 0x71fa11ef },
          { 0xfc0161af, 0xbcdd1f5e } } },
  { 112, 112,
      { { 0x1e0351f6, 0x1e0351f6 }, { 0x84cccf20, 0x84cccf20 },
          { 0x84cccf20, 0x84cccf20 } } },
  { 37, 29,
      { { 0xd6841291, 0x9c903f11 }, { 0xb6c19ad5, 0xdf6061c8 },
          { 0x50e9d671, 0x169cf9c5 } } },
  { 1, 1,
      { { 0x070a3f99, 0x070a3f99 }, { 0x74d9e17b, 0x74d9e17b },
          { 0x74d9e17b, 0x74d9e17b } } },
  { 1, 700,
      { { 0x381d6f1c, 0x381d6f1c }, { 0xc2171678, 0x301ca8d9 },
          { 0xa0f7a3ee, 0xa60373bd } } },
  { 700, 1,
      { { 0x748d3047, 0x748d3047 }, { 0x38eba215, 0xe5f2f1ca },
          { 0xe7b9c65c, 0xe7b9c65c } } },
  { 401, 350,
      { { 0xe82318f1, 0x90359be3 }, { 0x61faf7ab, 0x5ca9a3ae },
          { 0xee514378, 0x3f859008 } } },
};

static guint32
tiles_crc (VlmTiler *tiler, const VlmConfig *config, const VlmPicture *picture)
{
  VlmTileGeometry g;
  const guint8 *tiles;
  gsize tile = 3 * 112 * 112;
  GError *error = NULL;
  int w, h;

  g_assert_true (vlm_picture_square_size (picture, &w, &h, NULL));
  g_assert_true (vlm_tile_geometry (&g, config, w, h, NULL));
  tiles = vlm_tiler_run (tiler, picture, &g, &error);
  g_assert_no_error (error);
  return picture_crc32 (tiles, tile * vlm_tile_count (&g));
}

/* One tiler takes every size in turn, each twice. */
static void
check_tiles (Device *dev, VlmImageMode mode, VlmResampling resampling)
{
  VlmConfig config = mode == VLM_IMAGE_ANYRES
                         ? picture_next_config (112)
                         : picture_single_config (mode, 112);
  g_autoptr (VlmTiler) tiler = vlm_tiler_new (dev, &config, resampling);

  for (guint i = 0; i < 2 * G_N_ELEMENTS (tile_cases); i++) {
    const TileCase *c = &tile_cases[i / 2];
    gsize stride = (gsize) 3 * c->w + i % 2 * 7;
    g_autofree guint8 *data = picture_new (c->w, c->h, stride);
    VlmPicture picture = { data, c->w, c->h, stride, 1, 1 };

    g_assert_cmphex (
        tiles_crc (tiler, &config, &picture), ==, c->crc[mode][resampling]);
  }
}

static Device *
open_cpu (int n_threads)
{
  DeviceStatus status;
  Device *dev = device_open ("cpu", n_threads, &status);

  g_assert_nonnull (dev);
  return dev;
}

static void
test_tiles (void)
{
  Device *dev = open_cpu (1);

  for (int mode = 0; mode < 3; mode++)
    for (int resampling = 0; resampling < 2; resampling++)
      check_tiles (dev, (VlmImageMode) mode, (VlmResampling) resampling);
  device_close (dev);
}

/* More windows than the cache holds: sizes come back right. */
static void
test_many_sizes (void)
{
  Device *dev = open_cpu (1);
  VlmConfig config = picture_next_config (112);
  g_autoptr (VlmTiler) tiler =
      vlm_tiler_new (dev, &config, VLM_RESAMPLING_TORCHVISION);
  g_autofree guint8 *data = picture_new (300, 300, 900);
  VlmPicture picture = { data, 300, 300, 900, 1, 1 };
  guint32 first = tiles_crc (tiler, &config, &picture);

  for (int side = 20; side < 300; side += 3) {
    picture.width = side;
    picture.height = 300 - side / 2;
    tiles_crc (tiler, &config, &picture);
  }
  picture.width = picture.height = 300;
  g_assert_cmphex (tiles_crc (tiler, &config, &picture), ==, first);
  g_clear_pointer (&tiler, vlm_tiler_free);
  device_close (dev);
}

/* A picture of one colour stays it, whatever the shape of its pixels; the
 * grid is that of the shape seen. */
static void
test_anamorphic (void)
{
  Device *dev = open_cpu (1);
  VlmConfig config = picture_next_config (112);
  VlmConfig square = picture_single_config (VLM_IMAGE_PAD_SQUARE, 112);
  g_autoptr (VlmTiler) tiler =
      vlm_tiler_new (dev, &config, VLM_RESAMPLING_TORCHVISION);
  g_autoptr (VlmTiler) padder =
      vlm_tiler_new (dev, &square, VLM_RESAMPLING_TORCHVISION);
  g_autofree guint8 *data = g_malloc (120 * 90 * 3);
  VlmPicture picture = { data, 120, 90, 360, 2, 1 };
  const guint8 *tiles;
  VlmTileGeometry g;

  memset (data, 200, 120 * 90 * 3);
  g_assert_true (vlm_tile_geometry (&g, &config, 240, 90, NULL));
  g_assert_cmpint (g.cols, ==, 3);
  tiles = vlm_tiler_run (tiler, &picture, &g, NULL);
  g_assert_nonnull (tiles);
  for (int x = 0; x < 112; x++) {
    g_assert_cmpint (tiles[(56 * 112 + x) * 3], ==, 200);
    g_assert_cmpint (
        tiles[((112 + 56) * 112 + x) * 3], ==, x < g.pad_x ? 0 : 200);
  }

  g_assert_true (vlm_tile_geometry (&g, &square, 240, 90, NULL));
  tiles = vlm_tiler_run (padder, &picture, &g, NULL);
  g_assert_nonnull (tiles);
  g_assert_cmpint (tiles[(30 * 112 + 56) * 3], ==, 122);
  g_assert_cmpint (tiles[(56 * 112) * 3], ==, 200);
  g_clear_pointer (&tiler, vlm_tiler_free);
  g_clear_pointer (&padder, vlm_tiler_free);
  device_close (dev);
}

static void
test_normalise (void)
{
  static const double low[3] = { -1.7922626, -1.7520971, -1.4802198 };
  static const double high[3] = { 1.9303361, 2.0748837, 2.145897 };
  Device *dev = open_cpu (1);
  VlmConfig config = picture_next_config (112);

  for (int r = 0; r < 2; r++) {
    g_autoptr (VlmTiler) tiler =
        vlm_tiler_new (dev, &config, (VlmResampling) r);
    const float *lut = vlm_tiler_lut (tiler);

    for (int c = 0; c < 3; c++) {
      g_assert_cmpfloat_with_epsilon (lut[256 * c], low[c], 3e-7);
      g_assert_cmpfloat_with_epsilon (lut[256 * c + 255], high[c], 3e-7);
    }
  }
  device_close (dev);
}

static void
check_refused (
    VlmTiler *tiler, const VlmPicture *picture, const VlmTileGeometry *g)
{
  GError *error = NULL;

  g_assert_null (vlm_tiler_run (tiler, picture, g, &error));
  g_assert_error (error, VLM_ERROR, VLM_ERROR_REQUEST);
  g_clear_error (&error);
}

/* NV12 of noise, w x h, strides odd; the caller frees planes. */
static Pixels
planes_new (int w, int h)
{
  gsize stride = w + w % 2 + 5;
  guint8 *luma = picture_new ((int) stride, h, 3 * stride);
  guint8 *chroma = picture_new ((int) stride, h, 3 * stride);

  return (Pixels){
    .plane = { luma, chroma },
    .stride = { stride, stride },
    .part = { { 0, 0, 1 }, { 1, 0, 2 }, { 1, 1, 2 } },
    .width = w,
    .height = h,
    .bytes = 1,
    .shift_x = 1,
    .shift_y = 1,
    .near_x = { 0, 2 },
    .near_y = { 1, 1 },
    .matrix = { { 1 << 20, 0, 1 << 20, -(128 << 20) },
        { 1 << 20, -(1 << 18), -(1 << 19), 96 << 20 },
        { 1 << 20, 1 << 21, 0, -(256 << 20) } },
  };
}

/* Planes give the tiles that RGB made of them gives. */
static void
check_planes (Device *dev, const VlmConfig *config, int w, int h)
{
  g_autoptr (VlmTiler) tiler =
      vlm_tiler_new (dev, config, VLM_RESAMPLING_TORCHVISION);
  g_autofree guint8 *rgb = g_malloc (3 * w * h);
  Pixels pixels = planes_new (w, h);
  RgbCanvas canvas = { w, h };
  VlmPicture as_is = { NULL, w, h, 0, 1, 1, &pixels };
  VlmPicture made = { rgb, w, h, (gsize) 3 * w, 1, 1 };
  guint32 want;

  dev->op->to_rgb (dev, rgb, &pixels, &canvas);
  want = tiles_crc (tiler, config, &made);
  g_assert_cmphex (tiles_crc (tiler, config, &as_is), ==, want);
  g_free ((gpointer) pixels.plane[0]);
  g_free ((gpointer) pixels.plane[1]);
}

static void
test_planes (void)
{
  Device *dev = open_cpu (1);

  for (int mode = 0; mode < 3; mode++) {
    VlmConfig config = mode == VLM_IMAGE_ANYRES
                           ? picture_next_config (112)
                           : picture_single_config ((VlmImageMode) mode, 112);

    check_planes (dev, &config, 97, 61);
    check_planes (dev, &config, 1, 1);
    check_planes (dev, &config, 30, 200);
  }
  device_close (dev);
}

static void
test_refusals (void)
{
  Device *dev = open_cpu (1);
  VlmConfig config = picture_next_config (112);
  g_autoptr (VlmTiler) tiler =
      vlm_tiler_new (dev, &config, VLM_RESAMPLING_TORCHVISION);
  g_autofree guint8 *data = picture_new (8, 8, 24);
  VlmPicture no_data = { NULL, 8, 8, 24, 1, 1 };
  VlmPicture short_rows = { data, 8, 8, 23, 1, 1 };
  VlmPicture no_rows = { data, 8, 0, 24, 1, 1 };
  VlmTileGeometry g;

  g_assert_true (vlm_tile_geometry (&g, &config, 8, 8, NULL));
  check_refused (tiler, &no_data, &g);
  check_refused (tiler, &short_rows, &g);
  check_refused (tiler, &no_rows, &g);
  for (guint i = 0; i < 8; i++) {
    Pixels pixels = planes_new (8, 8);
    VlmPicture picture = { NULL, 8, 8, 0, 1, 1, &pixels };
    guint8 *luma = (guint8 *) pixels.plane[0];
    g_autofree guint8 *chroma = (guint8 *) pixels.plane[1];

    pixels.bytes += i == 0;
    pixels.shift_x += i == 1;
    pixels.near_y[1] -= 2 * (i == 2);
    pixels.skip_x -= i == 3;
    pixels.part[2].plane += 2 * (i == 4);
    pixels.part[1].offset -= i == 5;
    pixels.stride[1] = i == 6 ? 7 : pixels.stride[1];
    pixels.plane[0] = i == 7 ? NULL : luma;
    check_refused (tiler, &picture, &g);
    g_free (luma);
  }
  g_clear_pointer (&tiler, vlm_tiler_free);
  device_close (dev);
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
  g_test_add_func ("/image/tiles", test_tiles);
  g_test_add_func ("/image/many-sizes", test_many_sizes);
  g_test_add_func ("/image/anamorphic", test_anamorphic);
  g_test_add_func ("/image/normalise", test_normalise);
  g_test_add_func ("/image/planes", test_planes);
  g_test_add_func ("/image/refusals", test_refusals);
  return g_test_run ();
}
