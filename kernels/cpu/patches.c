/* patches.c - tiles of bytes to rows of patches, plain C
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#include "kernels/cpu/cpu.h"

/* One patch row y of one channel plane. */
static void
patch_line (float *dst, const uint8_t *src, const float *lut, int p)
{
  for (int x = 0; x < p; x++)
    dst[x] = lut[src[3 * x]];
}

static void
patch (float *dst, const uint8_t *corner, const float *lut, int side, int p)
{
  for (int c = 0; c < 3; c++)
    for (int y = 0; y < p; y++)
      patch_line (dst + (c * p + y) * p, corner + (size_t) y * side * 3 + c,
          lut + 256 * c, p);
}

static void
patches (Device *dev, Act *y, const uint8_t *tiles, const float *lut, int t,
    int side, int p)
{
  int g = side / p;
  int threads = cpu_threads_for (dev, (size_t) 3 * t * side * side);

#pragma omp parallel for num_threads(threads)
  for (int row = 0; row < t * g; row++) {
    const uint8_t *tile = tiles + (size_t) (row / g) * side * side * 3;
    const uint8_t *line = tile + (size_t) (row % g) * p * side * 3;

    for (int x = 0; x < g; x++)
      patch ((float *) y + ((size_t) row * g + x) * 3 * p * p,
          line + (size_t) x * p * 3, lut, side, p);
  }
}

void
cpu_init_patches (Ops *op)
{
  op->patches = patches;
}
