/* attend-simd.h - queries against 64 keys at a time, softmax as it goes
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Scores of a page of keys are computed, turned into weights relative to the
 * largest score so far, and their values added up; when the largest score
 * grows, what was added is scaled down. (Milakov, Gimelshein: Online
 * normalizer calculation for softmax, 2018; Dao et al.: FlashAttention, 2022.)
 * A row's arithmetic depends on its own keys only, page after page: it has
 * the same bits whichever rows are beside it.
 */
#pragma once

#include "kernels/cpu/cpu.h"
#include "kernels/cpu/multiply-simd.h"

#include <math.h>

_Static_assert(PANEL == KEY_PANEL, "keys of the cache lie in panels");

#define ATTEND_ROWS 48 /* queries that share a page while it is cached */

/* Queries of one head, and what is known of their outputs so far. */
typedef struct Attend {
  int n, c;     /* rows; head width */
  int v_stride; /* of values, c or more */
  int padded_c; /* c rounded up to PANEL */
  float scale;
  float *q;     /* blocks of up to BLOCK rows, each [c,m] */
  float *out;   /* [n,padded_c], not yet divided by sum */
  float *score; /* [BLOCK,KV_PAGE_TOKENS] */
  float max[ATTEND_ROWS], sum[ATTEND_ROWS];
  int first[ATTEND_ROWS], last[ATTEND_ROWS]; /* keys each row sees */
} Attend;

static inline int
attend_padded (int c)
{
  return (c + PANEL - 1) / PANEL * PANEL;
}

static inline size_t
attend_floats (int c)
{
  return (size_t) ATTEND_ROWS * attend_padded (c) * 2 + BLOCK * KV_PAGE_TOKENS;
}

/* Carves the arrays out of attend_floats(c) floats. */
static inline void
attend_init (Attend *a, float *memory, int c, int v_stride, float scale)
{
  a->n = 0;
  a->c = c;
  a->v_stride = v_stride;
  a->padded_c = attend_padded (c);
  a->scale = scale;
  a->q = memory;
  a->out = a->q + (size_t) ATTEND_ROWS * a->padded_c;
  a->score = a->out + (size_t) ATTEND_ROWS * a->padded_c;
}

/* Sets row i of n. */
SIMD_INLINE void
attend_row (Attend *a, int i, int n, const float *q, int first, int last)
{
  int start = i / BLOCK * BLOCK, m = n - start < BLOCK ? n - start : BLOCK;
  float *to = a->q + (size_t) start * a->c + i % BLOCK;
  for (int j = 0; j < a->c; j++)
    to[(size_t) j * m] = q[j];
  for (int j = 0; j < a->padded_c; j += SIMD_LANES)
    vf_store (a->out + (size_t) i * a->padded_c + j, vf_set1 (0));
  a->max[i] = -INFINITY;
  a->sum[i] = 0;
  a->first[i] = first;
  a->last[i] = last;
}

/* Lanes from .. to-1 of x, the others replaced. */
SIMD_INLINE vf
keep_lanes (vf x, int from, int to, float other)
{
  float lanes[SIMD_LANES];
  vf_store (lanes, x);
  for (int i = 0; i < SIMD_LANES; i++)
    if (i < from || i >= to)
      lanes[i] = other;
  return vf_load (lanes);
}

SIMD_INLINE void
scale_row (float *out, int c, float factor)
{
  for (int j = 0; j < c; j += SIMD_LANES)
    vf_store (out + j, vf_mul (vf_load (out + j), vf_set1 (factor)));
}

/* The largest score so far of row i is now `max`. */
SIMD_INLINE void
raise_max (Attend *a, int i, float max)
{
  float lanes[SIMD_LANES];
  vf_store (lanes, vf_exp_down (vf_set1 (a->max[i] - max)));
  if (a->sum[i] > 0)
    scale_row (a->out + (size_t) i * a->padded_c, a->padded_c, lanes[0]);
  a->sum[i] *= lanes[0];
  a->max[i] = max;
}

/* Of n scores those of keys from .. to-1 become weights, the others 0. `whole`
 * is a constant: all of them are seen. */
SIMD_INLINE void
weigh_row (
    Attend *a, int i, float *score, int n, int from, int to, const bool whole)
{
  vf top = vf_set1 (-INFINITY), total = vf_set1 (0), scale = vf_set1 (a->scale);
  for (int j = 0; j < n; j += SIMD_LANES) {
    vf s = vf_mul (vf_load (score + j), scale);
    if (!whole && (from > j || to < j + SIMD_LANES))
      s = keep_lanes (s, from - j, to - j, -INFINITY);
    vf_store (score + j, s);
    top = vf_max (s, top);
  }
  float max = vf_largest (top);
  if (max > a->max[i])
    raise_max (a, i, max);
  for (int j = 0; j < n; j += SIMD_LANES) {
    vf p = vf_exp_down (vf_sub (vf_load (score + j), vf_set1 (a->max[i])));
    if (!whole && (from > j || to < j + SIMD_LANES))
      p = keep_lanes (p, from - j, to - j, 0);
    vf_store (score + j, p);
    total = vf_add (total, p);
  }
  a->sum[i] += vf_sum (total);
}

SIMD_INLINE void
weigh_nothing (float *score)
{
  for (int j = 0; j < KV_PAGE_TOKENS; j += SIMD_LANES)
    vf_store (score + j, vf_set1 (0));
}

/* Adds the values of n_keys keys to m rows from `row` on. */
SIMD_INLINE void
add_values (Attend *a, int row, int m, const float *v, int n_keys)
{
  int whole = a->v_stride < a->padded_c ? a->c / PANEL : a->padded_c / PANEL;
  Multiply values = { .sum = a->out + (size_t) row * a->padded_c,
    .sum_row = a->padded_c,
    .sum_panel = PANEL,
    .x = a->score,
    .x_row = KV_PAGE_TOKENS,
    .x_k = 1,
    .w = v,
    .w_k = a->v_stride,
    .w_panel = PANEL,
    .type = TYPE_F32,
    .n_k = n_keys,
    .tail = a->c - whole * PANEL };
  multiply_block (&values, m, whole);
  if (values.tail > 0)
    multiply_tail (&values, m, whole);
}

/* Keys key .. key+63, of which those before `end` exist: k as a cache page has
 * it, v[64,v_stride] (only the rows that exist are read). */
static void
attend_page (Attend *a, const float *k, const float *v, int key, int end)
{
  int n_keys = end - key < KV_PAGE_TOKENS ? end - key : KV_PAGE_TOKENS;
  int n_panels = (n_keys + PANEL - 1) / PANEL, n_scores = n_panels * PANEL;
  for (int row = 0; row < a->n; row += BLOCK) {
    int m = a->n - row < BLOCK ? a->n - row : BLOCK;
    Multiply scores = { .sum = a->score,
      .sum_row = KV_PAGE_TOKENS,
      .sum_panel = PANEL,
      .x = a->q + (size_t) row * a->c,
      .x_row = 1,
      .x_k = m,
      .w = k,
      .w_k = PANEL,
      .w_panel = (size_t) a->c * PANEL,
      .type = TYPE_F32,
      .n_k = a->c,
      .first = true };
    multiply_block (&scores, m, n_panels);
    for (int i = 0; i < m; i++) {
      int from = a->first[row + i] - key, to = a->last[row + i] + 1 - key;
      float *score = a->score + i * KV_PAGE_TOKENS;
      if (from <= 0 && to >= KV_PAGE_TOKENS)
        weigh_row (a, row + i, score, KV_PAGE_TOKENS, 0, KV_PAGE_TOKENS, true);
      else if (from < n_keys && to > 0)
        weigh_row (a, row + i, score, n_scores, from, to, false);
      else
        weigh_nothing (score);
    }
    add_values (a, row, m, v, n_keys);
  }
}

/* y[c] = row i. */
SIMD_INLINE void
attend_result (const Attend *a, int i, float *y)
{
  const float *out = a->out + (size_t) i * a->padded_c;
  vf sum = vf_set1 (a->sum[i]);
  for (int j = 0; j < a->c; j += SIMD_LANES)
    vf_store_n (y + j, a->c - j, vf_div (vf_load (out + j), sum));
}
