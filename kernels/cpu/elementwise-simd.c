/* elementwise-simd.c - swiglu and rope, once per vector level
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#include "kernels/cpu/simd.h"

#include "kernels/cpu/cpu.h"
#include "kernels/cpu/variants.h"

#define RUN 4096 /* values a thread takes at a time */

static void
swiglu_run (float *y, const float *gate, const float *up, size_t count)
{
  size_t i = 0;
  for (; i + SIMD_LANES <= count; i += SIMD_LANES) {
    vf g = vf_load (gate + i);
    vf_store (y + i, vf_mul (vf_mul (g, vf_sigmoid (g)), vf_load (up + i)));
  }
  int n = (int) (count - i);
  if (n > 0) {
    vf g = vf_load_n (gate + i, n);
    vf_store_n (
        y + i, n, vf_mul (vf_mul (g, vf_sigmoid (g)), vf_load_n (up + i, n)));
  }
}

typedef struct Swiglu {
  float *y;
  const float *gate, *up;
  size_t count;
} Swiglu;

static void
swiglu_runs (void *data, int from, int to, int thread)
{
  const Swiglu *s = data;
  for (int run = from; run < to; run++) {
    size_t i = (size_t) run * RUN;
    swiglu_run (s->y + i, s->gate + i, s->up + i,
        s->count - i < RUN ? s->count - i : RUN);
  }
}

static void
swiglu (Device *dev, Act *y, const float *gate, const float *up, size_t count)
{
  Swiglu s = { y, gate, up, count };
  cpu_run (dev, count * CPU_VALUE, (int) ((count + RUN - 1) / RUN), 0,
      swiglu_runs, &s);
}

SIMD_INLINE void
rotate (float *y, const float *x, const float *cosine, int half, int n)
{
  vf a = vf_load_n (x, n), b = vf_load_n (x + half, n);
  vf c = vf_load_n (cosine, n), s = vf_load_n (cosine + half, n);
  vf_store_n (y, n, vf_fnma (b, s, vf_mul (a, c)));
  vf_store_n (y + half, n, vf_fma (a, s, vf_mul (b, c)));
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
  for (int i = from; i < to; i++) {
    const float *cosine = r->table + (size_t) i * c;
    for (int head = 0; head < h; head++) {
      size_t at = ((size_t) i * h + head) * c;
      for (int j = 0; j < half; j += SIMD_LANES)
        rotate (r->y + at + j, r->x + at + j, cosine + j, half, half - j);
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
SIMD_NAME (cpu_init_elementwise) (Ops *op)
{
  op->swiglu = swiglu;
  op->rope = rope;
}
