/* near.h - cosines between neighbours in a tile, whatever multiplies
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#pragma once

#include <math.h>
#include <stddef.h>

typedef struct Near {
  float *y;
  const float *x;
  int side, d;
} Near;

typedef float NearDot (const float *a, const float *b, int n);

/* See near_cosines in ops.h. Row `row` of the tiles' patches, one tile's after
 * another's. */
static inline void
near_row (const Near *c, int row, NearDot *dot)
{
  static const int right[4] = { 1, -1, 0, 1 }, below[4] = { 0, 1, 1, 1 };
  size_t first = (size_t) row / c->side * (c->side * c->side + 1) + 1;
  int y = row % c->side;

  for (int x = 0; x < c->side; x++) {
    const float *a = c->x + (first + y * c->side + x) * c->d;
    float norm = sqrtf (dot (a, a, c->d));

    for (int i = 0; i < 4; i++) {
      int x2 = x + right[i], y2 = y + below[i];
      const float *b = c->x + (first + y2 * c->side + x2) * c->d;
      float norms = 0;

      if (x2 >= 0 && x2 < c->side && y2 < c->side)
        norms = norm * sqrtf (dot (b, b, c->d));
      c->y[((size_t) row * c->side + x) * 4 + i] =
          norms == 0 ? 0 : dot (a, b, c->d) / norms;
    }
  }
}
