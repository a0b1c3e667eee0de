/* rope.c - rotary position embedding, plain C
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * The angle is rounded to f32 before cosine and sine, as transformers does:
 * at positions in the thousands that rounding is visible.
 */
#include "kernels/cpu/cpu.h"

#include <math.h>

static void
rope_table (Device *dev, float *table, const int *pos, const float *inv_freq,
    int n, int c, float scale)
{
  int half = c / 2;
#pragma omp parallel for num_threads(dev->n_threads) if (n * half > 2048)
  for (int i = 0; i < n; i++)
    for (int j = 0; j < half; j++) {
      float angle = (float) pos[i] * inv_freq[j];
      table[(size_t) i * c + j] = cosf (angle) * scale;
      table[(size_t) i * c + half + j] = sinf (angle) * scale;
    }
}

static void
rope (Device *dev, Act *x, const float *table, int n, int h, int c)
{
  int half = c / 2;
#pragma omp parallel for num_threads(dev->n_threads)
  for (int i = 0; i < n; i++)
    for (int head = 0; head < h; head++) {
      const float *cosine = table + (size_t) i * c, *sine = cosine + half;
      float *a = (float *) x + ((size_t) i * h + head) * c, *b = a + half;
      for (int j = 0; j < half; j++) {
        float aj = a[j], bj = b[j];
        a[j] = aj * cosine[j] - bj * sine[j];
        b[j] = bj * cosine[j] + aj * sine[j];
      }
    }
}

void
cpu_init_rope (Ops *op)
{
  op->rope_table = rope_table;
  op->rope = rope;
}
