/* picture.c - pictures, settings and checksums for tests
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#include "tests/picture.h"

VlmConfig
picture_next_config (int T)
{
  VlmConfig config = { .newline = TRUE,
    .vision = { .image_size = T, .patch = 14, .side = T / 14 },
    .image = { .mode = VLM_IMAGE_ANYRES,
        .do_rescale = TRUE,
        .do_normalize = TRUE,
        .mean = { 0.48145466, 0.4578275, 0.40821073 },
        .std = { 0.26862954, 0.26130258, 0.27577711 },
        .rescale = 0.00392156862745098,
        .n_pinpoints = 5,
        .pinpoint = { { T, 2 * T }, { 2 * T, T }, { 2 * T, 2 * T },
            { 3 * T, T }, { T, 3 * T } } } };

  config.vision.n_patches = config.vision.side * config.vision.side;
  return config;
}

VlmConfig
picture_single_config (VlmImageMode mode, int T)
{
  VlmConfig config = picture_next_config (T);

  config.newline = FALSE;
  config.image.mode = mode;
  config.image.n_pinpoints = 0;
  return config;
}

guint32
picture_crc32 (const guint8 *data, gsize size)
{
  guint32 crc = ~0u;

  for (gsize i = 0; i < size; i++) {
    crc ^= data[i];
    for (int bit = 0; bit < 8; bit++)
      crc = (crc >> 1) ^ (crc & 1 ? 0xedb88320u : 0);
  }
  return ~crc;
}

guint8 *
picture_new (int width, int height, gsize stride)
{
  guint8 *data = g_malloc0 (stride * (height - 1) + (gsize) 3 * width);

  for (int y = 0; y < height; y++)
    for (int x = 0; x < width; x++) {
      guint8 *p = data + y * stride + 3 * (gsize) x;

      p[0] = (guint8) (7 * x + 13 * y + ((x * y) >> 3));
      p[1] = (guint8) (x * x + 3 * y);
      p[2] = (guint8) (x ^ (5 * y));
    }
  return data;
}
