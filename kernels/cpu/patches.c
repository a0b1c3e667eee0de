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

typedef struct Patches {
  float *y;
  const uint8_t *tiles;
  const float *lut;
  int side, p;
} Patches;

/* An item is a row of patches. */
static void
patches_rows (void *data, int from, int to, int thread)
{
  const Patches *a = data;
  int side = a->side, p = a->p, g = side / p;

  for (int row = from; row < to; row++) {
    const uint8_t *tile = a->tiles + (size_t) (row / g) * side * side * 3;
    const uint8_t *line = tile + (size_t) (row % g) * p * side * 3;

    for (int x = 0; x < g; x++)
      patch (a->y + ((size_t) row * g + x) * 3 * p * p,
          line + (size_t) x * p * 3, a->lut, side, p);
  }
}

static void
patches (Device *dev, Act *y, const uint8_t *tiles, const float *lut, int t,
    int side, int p)
{
  Patches a = { y, tiles, lut, side, p };

  cpu_run (
      dev, (size_t) 3 * t * side * side, t * (side / p), 0, patches_rows, &a);
}

void
cpu_init_patches (Ops *op)
{
  op->patches = patches;
}
