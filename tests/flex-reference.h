/* flex-reference.h - FlexAttention's layer in doubles, row after row
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Written from the paper and from what the released LlamaAttention computes,
 * without the engine's order of things: every fine token has a key, a mask of
 * G x G says which count, and nothing is in cells or pages.
 */
#pragma once

#include <glib.h>

typedef struct {
  int D, I;    /* width, hidden */
  int h, k, c; /* heads, key heads, head width */
  int g, G;    /* sides of the image tokens and of the fine ones */
  double theta, eps;
} FlexShape;

/* Rows are outputs. */
typedef struct {
  const float *norm1, *q, *k, *v, *o; /* [D] [h c,D] [k c,D] [k c,D] [D,h c] */
  const float *norm2, *gate, *up, *down; /* [D] [I,D] [I,D] [D,I] */
  const float *fine_k, *fine_v;          /* [k c,D] of hierarchical layers */
} FlexLayer;

/* The cosine or sine of frequency `freq` at fine token (y, x), of tables that
 * begin with position `begin`: Keys' bicubic interpolation with a = -3/4. */
double flex_rotation (
    const FlexShape *s, int begin, int y, int x, double freq, gboolean sine);

/* Fine keys and values [G G,k c] of F [G G,D], line after line. */
void flex_fine_keys (const FlexShape *s, const FlexLayer *l, const float *F,
    int begin, double *keys, double *values);

/* What a row looks at. */
typedef struct {
  const double *keys, *values; /* [G G,k c] */
  const guint8 *mask;          /* [G G] */
} FlexLook;

/* One row x[D] at position pos through a layer: its key and value are row pos
 * of the caches [pos + 1,k c]. `look` may be NULL. In p[pos + 1], unless NULL,
 * how much it attends to its own keys alone, summed over heads. */
void flex_row (const FlexShape *s, const FlexLayer *l, double *x, int pos,
    double *keys, double *values, const FlexLook *look, double *p);

/* What map[g g] selects, mask[G G], for a picture of w x h. Returns the least
 * distance of a value from the threshold, of 255. */
double flex_select (const FlexShape *s, const double *map, int w, int h,
    int threshold, guint8 *mask);
