/* elementwise-simd.c - swiglu and rope, once per vector level
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#include "kernels/cpu/simd.h"

#include "kernels/cpu/cpu.h"
#include "kernels/cpu/variants.h"

#define RUN 4096 /* values a thread takes at a time */

static void
swiglu_run (float *gate, const float *up, size_t count)
{
  size_t i = 0;
  for (; i + SIMD_LANES <= count; i += SIMD_LANES) {
    vf g = vf_load (gate + i);
    vf_store (gate + i, vf_mul (vf_mul (g, vf_sigmoid (g)), vf_load (up + i)));
  }
  int n = (int) (count - i);
  if (n > 0) {
    vf g = vf_load_n (gate + i, n);
    vf_store_n (gate + i, n,
        vf_mul (vf_mul (g, vf_sigmoid (g)), vf_load_n (up + i, n)));
  }
}

static void
swiglu (Device *dev, Act *gate, const Act *up, size_t count)
{
#pragma omp parallel for num_threads(dev->n_threads) if (count > CPU_SMALL)
  for (size_t i = 0; i < count; i += RUN)
    swiglu_run ((float *) gate + i, (const float *) up + i,
        count - i < RUN ? count - i : RUN);
}

SIMD_INLINE void
rotate (float *a, float *b, const float *cosine, const float *sine, int n)
{
  vf x = vf_load_n (a, n), y = vf_load_n (b, n);
  vf c = vf_load_n (cosine, n), s = vf_load_n (sine, n);
  vf_store_n (a, n, vf_fnma (y, s, vf_mul (x, c)));
  vf_store_n (b, n, vf_fma (x, s, vf_mul (y, c)));
}

static void
rope (Device *dev, Act *x, const float *table, int n, int h, int c)
{
  int half = c / 2;
  size_t count = (size_t) n * h * c;
#pragma omp parallel for num_threads(dev->n_threads) if (count > CPU_SMALL)
  for (int i = 0; i < n; i++) {
    const float *cosine = table + (size_t) i * c, *sine = cosine + half;
    for (int head = 0; head < h; head++) {
      float *a = (float *) x + ((size_t) i * h + head) * c;
      for (int j = 0; j < half; j += SIMD_LANES)
        rotate (a + j, a + half + j, cosine + j, sine + j, half - j);
    }
  }
}

void
SIMD_NAME (cpu_init_elementwise) (Ops *op)
{
  op->swiglu = swiglu;
  op->rope = rope;
}
