/* multiply-simd.h - the inner loop of products and of attention
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#pragma once

#include "kernels/cpu/simd.h"

#include <stdbool.h>

#define PANEL 16 /* columns of an operand taken together */
#define BLOCK 6  /* rows whose sums fit the registers */
#define VECTORS (PANEL / SIMD_LANES)

/* Panels multiplied at once by m rows: enough independent sums to hide the
 * latency of an fma, few enough for the registers. */
#if SIMD_LANES == 8
#define PANELS_AT_ONCE(m) ((m) == 1 ? 4 : (m) <= 3 ? 2 : 1)
#else
#define PANELS_AT_ONCE(m) 4
#endif
#define MOST_PANELS 4

/* Besides the types of mat.h: pairs of bf16 of two neighbouring k, in x and in
 * w, each pair counted as one element. */
#define TYPE_PAIRS ((DataType) (TYPE_F16 + 1))

SIMD_INLINE size_t
element_bytes (DataType type)
{
  return type == TYPE_PAIRS ? 4 : data_type_bytes (type);
}

SIMD_INLINE vf
load_elements (const void *p, DataType type)
{
  return type == TYPE_PAIRS ? vf_load (p) : vf_load_as (p, type);
}

SIMD_INLINE vf
add_product (vf sum, vf x, vf w, DataType type)
{
#ifdef SIMD_PAIRS
  if (type == TYPE_PAIRS)
    return vf_dot_pairs (sum, x, w);
#endif
  return vf_fma (x, w, sum);
}

/* sum[i,p,16] (+)= sum over k of x[i,k] w[k,p,16]: strides say where things
 * are, in elements. `first` starts from zero. Terms are added one by one in
 * the order of k, each rounded once: how rows and panels are grouped into
 * calls does not change a bit. */
typedef struct Multiply {
  float *sum;
  size_t sum_row, sum_panel;
  const float *x;
  size_t x_row, x_k;
  const void *w;
  size_t w_k, w_panel;
  DataType type; /* of w */
  int n_k;
  bool first;
  int tail; /* columns of the last panel, where it is not whole */
} Multiply;

SIMD_INLINE const void *
w_at (const Multiply *a, int k, int panel, int lane)
{
  size_t at = k * a->w_k + panel * a->w_panel + lane;
  return (const char *) a->w + at * element_bytes (a->type);
}

/* Beyond a panel's tail nothing is read. */
SIMD_INLINE vf
load_w (const Multiply *a, int k, int panel, int lane, const bool whole)
{
  const void *w = w_at (a, k, panel, lane);
  return whole ? load_elements (w, a->type) : vf_load_n (w, a->tail - lane);
}

/* The body for m rows and n_panels panels, all of them whole or the only one
 * not, of f32; these are constants. */
SIMD_INLINE void
multiply (const Multiply *a, const int m, const int n_panels, const bool whole)
{
  vf acc[BLOCK][MOST_PANELS][VECTORS];
  for (int i = 0; i < m; i++)
    for (int p = 0; p < n_panels; p++)
      for (int v = 0; v < VECTORS; v++)
        acc[i][p][v] = a->first ? vf_set1 (0)
                                : vf_load (a->sum + i * a->sum_row +
                                           p * a->sum_panel + v * SIMD_LANES);
  for (int k = 0; k < a->n_k; k++) {
    vf b[MOST_PANELS][VECTORS];
    for (int p = 0; p < n_panels; p++)
      for (int v = 0; v < VECTORS; v++)
        b[p][v] = load_w (a, k, p, v * SIMD_LANES, whole);
    for (int i = 0; i < m; i++) {
      vf x = vf_set1 (a->x[i * a->x_row + k * a->x_k]);
      for (int p = 0; p < n_panels; p++)
        for (int v = 0; v < VECTORS; v++)
          acc[i][p][v] = add_product (acc[i][p][v], x, b[p][v], a->type);
    }
  }
  for (int i = 0; i < m; i++)
    for (int p = 0; p < n_panels; p++)
      for (int v = 0; v < VECTORS; v++)
        vf_store (a->sum + i * a->sum_row + p * a->sum_panel + v * SIMD_LANES,
            acc[i][p][v]);
}

SIMD_INLINE void
multiply_at (const Multiply *a, int panel, const int m, const int n_panels,
    const bool whole)
{
  Multiply at = *a;
  at.sum += panel * a->sum_panel;
  at.w = w_at (a, 0, panel, 0);
  multiply (&at, m, n_panels, whole);
}

#define MULTIPLY_CASE(m)                                                       \
  case m:                                                                      \
    for (; panel + PANELS_AT_ONCE (m) <= n_panels;                             \
         panel += PANELS_AT_ONCE (m))                                          \
      multiply_at (a, panel, m, PANELS_AT_ONCE (m), true);                     \
    for (; panel < n_panels; panel++)                                          \
      multiply_at (a, panel, m, 1, true);                                      \
    break

/* Any number of panels by m rows, 1 <= m <= BLOCK. Inline it where `type` and
 * the strides are constants. */
SIMD_INLINE void
multiply_block (const Multiply *a, int m, int n_panels)
{
  int panel = 0;
  switch (m) {
    MULTIPLY_CASE (1);
    MULTIPLY_CASE (2);
    MULTIPLY_CASE (3);
    MULTIPLY_CASE (4);
    MULTIPLY_CASE (5);
    MULTIPLY_CASE (6);
  }
}

#define MULTIPLY_TAIL(m)                                                       \
  case m:                                                                      \
    multiply_at (a, panel, m, 1, false);                                       \
    break

/* The same for the one panel of which only a->tail columns exist; their sums
 * are followed by zeros. */
SIMD_INLINE void
multiply_tail (const Multiply *a, int m, int panel)
{
  switch (m) {
    MULTIPLY_TAIL (1);
    MULTIPLY_TAIL (2);
    MULTIPLY_TAIL (3);
    MULTIPLY_TAIL (4);
    MULTIPLY_TAIL (5);
    MULTIPLY_TAIL (6);
  }
}
