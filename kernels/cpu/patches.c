/* patches.c - tiles of bytes to rows of patches, plain C
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#include "kernels/cpu/cpu.h"

#include <stdlib.h>

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

typedef struct Shrunk {
  float *y;
  const uint8_t *tiles;
  const float *lut;
  int z, side, p;
} Shrunk;

/* The inputs *first .. that output i of n sees, and their weights. */
static int
shrink_taps (float *weight, int *first, int i, int z, int n)
{
  int from = z * i - z / 2, to = z * i + z + z / 2 - 1, sum = 0;

  *first = from < 0 ? 0 : from;
  to = to < z * n ? to : z * n - 1;
  for (int s = *first; s <= to; s++)
    sum += 2 * z - abs (2 * (s - z * i) + 1 - z);
  for (int s = *first; s <= to; s++)
    weight[s - *first] =
        (float) (2 * z - abs (2 * (s - z * i) + 1 - z)) / (float) sum;
  return to - *first + 1;
}

#define MAX_SHRINK 16

static float
shrunk_value (const Shrunk *a, int oy, int ox, int channel)
{
  float wx[2 * MAX_SHRINK], wy[2 * MAX_SHRINK], value = 0;
  int side = a->side, x0, y0;
  int n_x = shrink_taps (wx, &x0, ox, a->z, side);
  int n_y = shrink_taps (wy, &y0, oy, a->z, side);

  for (int y = y0; y < y0 + n_y; y++) {
    float line = 0;

    for (int x = x0; x < x0 + n_x; x++) {
      size_t tile = (size_t) (y / side) * a->z + x / side;
      size_t at = (tile * side + y % side) * side + x % side;

      line += wx[x - x0] * a->lut[256 * channel + a->tiles[3 * at + channel]];
    }
    value += wy[y - y0] * line;
  }
  return value;
}

/* An item is a row of patches. */
static void
shrunk_rows (void *data, int from, int to, int thread)
{
  const Shrunk *a = data;
  int p = a->p, g = a->side / p;
  float *y = a->y + (size_t) from * g * 3 * p * p;

  for (int row = from; row < to; row++)
    for (int x = 0; x < g; x++)
      for (int i = 0; i < 3 * p * p; i++)
        *y++ =
            shrunk_value (a, row * p + i / p % p, x * p + i % p, i / (p * p));
}

static void
shrunk_patches (Device *dev, Act *y, const uint8_t *tiles, const float *lut,
    int z, int side, int p)
{
  Shrunk a = { y, tiles, lut, z, side, p };

  if (z > MAX_SHRINK) {
    device_fail (dev, DEVICE_LOST, "A picture cannot be shrunk %d times.", z);
    return;
  }
  cpu_run (
      dev, (size_t) 12 * z * z * side * side, side / p, 0, shrunk_rows, &a);
}

void
cpu_init_patches (Ops *op)
{
  op->shrunk_patches = shrunk_patches;
  op->patches = patches;
}
