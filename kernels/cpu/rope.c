/* rope.c - rotary position embedding, plain C
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * The angle is rounded to f32 before cosine and sine, as transformers does:
 * at positions in the thousands that rounding is visible.
 */
#include "kernels/cpu/cpu.h"

#include <math.h>

#define SINE 512 /* multiply-adds that a sine or cosine counts as */

typedef struct Table {
  float *table;
  const int *pos;
  const float *inv_freq;
  int c;
  float scale;
} Table;

static void
rope_table_rows (void *data, int from, int to, int thread)
{
  const Table *t = data;
  int c = t->c, half = c / 2;
  for (int i = from; i < to; i++)
    for (int j = 0; j < half; j++) {
      float angle = (float) t->pos[i] * t->inv_freq[j];
      t->table[(size_t) i * c + j] = cosf (angle) * t->scale;
      t->table[(size_t) i * c + half + j] = sinf (angle) * t->scale;
    }
}

static void
rope_table (Device *dev, float *table, const int *pos, const float *inv_freq,
    int n, int c, float scale)
{
  Table t = { table, pos, inv_freq, c, scale };
  cpu_run (dev, (size_t) n * c * SINE, n, 0, rope_table_rows, &t);
}

typedef struct Rope {
  float *y;
  const float *x, *table;
  int h, c;
} Rope;

static void
rope_rows (void *data, int from, int to, int thread)
{
  const Rope *r = data;
  int h = r->h, c = r->c, half = c / 2;
  for (int i = from; i < to; i++)
    for (int head = 0; head < h; head++) {
      const float *cosine = r->table + (size_t) i * c, *sine = cosine + half;
      size_t at = ((size_t) i * h + head) * c;
      const float *a = r->x + at, *b = a + half;
      float *y = r->y + at;
      for (int j = 0; j < half; j++) {
        y[j] = a[j] * cosine[j] - b[j] * sine[j];
        y[half + j] = b[j] * cosine[j] + a[j] * sine[j];
      }
    }
}

static void
rope (Device *dev, Act *y, const float *x, const float *table, int n, int h,
    int c)
{
  Rope r = { y, x, table, h, c };
  cpu_run (dev, (size_t) n * h * c * CPU_VALUE, n, 0, rope_rows, &r);
}

void
cpu_init_rope (Ops *op)
{
  op->rope_table = rope_table;
  op->rope = rope;
}
