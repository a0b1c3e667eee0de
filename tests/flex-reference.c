/* flex-reference.c - FlexAttention's layer in doubles, row after row
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#include "tests/flex-reference.h"

#include <math.h>

/* y[rows] = W[rows,cols] x */
static void
multiply (const float *w, const double *x, int rows, int cols, double *y)
{
  for (int i = 0; i < rows; i++) {
    y[i] = 0;
    for (int j = 0; j < cols; j++)
      y[i] += w[(gsize) i * cols + j] * x[j];
  }
}

static void
norm (const FlexShape *s, const float *w, const double *x, double *y)
{
  double sum = 0;

  for (int i = 0; i < s->D; i++)
    sum += x[i] * x[i];
  for (int i = 0; i < s->D; i++)
    y[i] = w[i] * x[i] / sqrt (sum / s->D + s->eps);
}

/* cosines[c/2] and sines[c/2], for each of n heads of x[n,c]. */
static void
rotate (double *x, int n, int c, const double *cosines, const double *sines)
{
  int half = c / 2;

  for (int head = 0; head < n; head++, x += c)
    for (int j = 0; j < half; j++) {
      double a = x[j], b = x[half + j];

      x[j] = a * cosines[j] - b * sines[j];
      x[half + j] = b * cosines[j] + a * sines[j];
    }
}

static double
frequency (const FlexShape *s, int j)
{
  return pow (s->theta, -2.0 * j / s->c);
}

static void
rotate_at (const FlexShape *s, double *x, int n, int pos)
{
  double cosines[64], sines[64];

  for (int j = 0; j < s->c / 2; j++) {
    cosines[j] = cos (pos * frequency (s, j));
    sines[j] = sin (pos * frequency (s, j));
  }
  rotate (x, n, s->c, cosines, sines);
}

static double
cubic (double x)
{
  x = fabs (x);
  if (x <= 1)
    return 1.25 * x * x * x - 2.25 * x * x + 1;
  return x < 2 ? -0.75 * x * x * x + 3.75 * x * x - 6 * x + 3 : 0;
}

double
flex_rotation (
    const FlexShape *s, int begin, int y, int x, double freq, gboolean sine)
{
  double step = (double) s->g / s->G, sum = 0;
  double cy = (y + 0.5) * step - 0.5, cx = (x + 0.5) * step - 0.5;

  for (int v = (int) floor (cy) - 1; v <= (int) floor (cy) + 2; v++)
    for (int u = (int) floor (cx) - 1; u <= (int) floor (cx) + 2; u++) {
      int at = CLAMP (v, 0, s->g - 1) * s->g + CLAMP (u, 0, s->g - 1);
      double angle = (begin + at) * freq;

      sum +=
          cubic (cy - v) * cubic (cx - u) * (sine ? sin (angle) : cos (angle));
    }
  return sum;
}

void
flex_fine_keys (const FlexShape *s, const FlexLayer *l, const float *F,
    int begin, double *keys, double *values)
{
  int kv = s->k * s->c;
  g_autofree double *row = g_new (double, s->D);
  double cosines[64], sines[64];

  for (int i = 0; i < s->G * s->G; i++) {
    for (int j = 0; j < s->D; j++)
      row[j] = F[(gsize) i * s->D + j];
    for (int j = 0; j < s->c / 2; j++) {
      double freq = frequency (s, j);

      cosines[j] = flex_rotation (s, begin, i / s->G, i % s->G, freq, FALSE);
      sines[j] = flex_rotation (s, begin, i / s->G, i % s->G, freq, TRUE);
    }
    multiply (l->fine_k, row, kv, s->D, keys + (gsize) i * kv);
    multiply (l->fine_v, row, kv, s->D, values + (gsize) i * kv);
    rotate (keys + (gsize) i * kv, s->k, s->c, cosines, sines);
  }
}

static double
score (const FlexShape *s, const double *q, const double *key)
{
  double sum = 0;

  for (int j = 0; j < s->c; j++)
    sum += q[j] * key[j];
  return sum / sqrt (s->c);
}

/* w[i] = exp (q . key i) for those that count, 0 for others; their sum. */
static double
weigh (const FlexShape *s, const double *q, const double *keys, int n,
    const guint8 *mask, double *w)
{
  double sum = 0;

  for (int i = 0; i < n; i++) {
    w[i] = !mask || mask[i] ? exp (score (s, q, keys + (gsize) i * s->k * s->c))
                            : 0;
    sum += w[i];
  }
  return sum;
}

static void
add_values (
    const FlexShape *s, const double *w, const double *values, int n, double *o)
{
  for (int i = 0; i < n; i++)
    for (int j = 0; j < s->c && w[i] > 0; j++)
      o[j] += w[i] * values[(gsize) i * s->k * s->c + j];
}

static void
attend_head (const FlexShape *s, int head, const double *q, int n,
    const double *keys, const double *values, const FlexLook *look, double *o,
    double *p)
{
  gsize at = (gsize) (head / (s->h / s->k)) * s->c;
  int n_fine = look ? s->G * s->G : 0;
  g_autofree double *own = g_new (double, n),
                    *fine = g_new (double, n_fine + 1);
  double sum = weigh (s, q, keys + at, n, NULL, own), all = sum;

  for (int i = 0; p && i < n; i++)
    p[i] += own[i] / sum;
  if (look)
    all += weigh (s, q, look->keys + at, n_fine, look->mask, fine);
  add_values (s, own, values + at, n, o);
  if (look)
    add_values (s, fine, look->values + at, n_fine, o);
  for (int j = 0; j < s->c; j++)
    o[j] /= all;
}

static void
add_mlp (const FlexShape *s, const FlexLayer *l, double *x)
{
  g_autofree double *r = g_new (double, s->D), *gate = g_new (double, s->I);
  g_autofree double *up = g_new (double, s->I);

  norm (s, l->norm2, x, r);
  multiply (l->gate, r, s->I, s->D, gate);
  multiply (l->up, r, s->I, s->D, up);
  for (int i = 0; i < s->I; i++)
    gate[i] *= up[i] / (1 + exp (-gate[i]));
  multiply (l->down, gate, s->D, s->I, r);
  for (int i = 0; i < s->D; i++)
    x[i] += r[i];
}

void
flex_row (const FlexShape *s, const FlexLayer *l, double *x, int pos,
    double *keys, double *values, const FlexLook *look, double *p)
{
  int width = s->h * s->c, kv = s->k * s->c;
  g_autofree double *a = g_new (double, s->D), *q = g_new (double, width);
  g_autofree double *o = g_new0 (double, width);
  double *key = keys + (gsize) pos * kv;

  norm (s, l->norm1, x, a);
  multiply (l->q, a, width, s->D, q);
  multiply (l->k, a, kv, s->D, key);
  multiply (l->v, a, kv, s->D, values + (gsize) pos * kv);
  rotate_at (s, q, s->h, pos);
  rotate_at (s, key, s->k, pos);
  for (int i = 0; p && i <= pos; i++)
    p[i] = 0;
  for (int head = 0; head < s->h; head++)
    attend_head (s, head, q + head * s->c, pos + 1, keys, values, look,
        o + head * s->c, p);
  multiply (l->o, o, s->D, width, a);
  for (int i = 0; i < s->D; i++)
    x[i] += a[i];
  add_mlp (s, l, x);
}

/* Whether any of a window's values passes. */
static gboolean
passes (const FlexShape *s, const double *n, int row, int col, int threshold)
{
  int g = s->g;

  for (int y = row * g / 9; y < ((row + 1) * g + 8) / 9; y++)
    for (int x = col * g / 9; x < ((col + 1) * g + 8) / 9; x++)
      if (255 * n[y * g + x] > threshold)
        return TRUE;
  return FALSE;
}

double
flex_select (const FlexShape *s, const double *map, int w, int h, int threshold,
    guint8 *mask)
{
  int g = s->g, G = s->G,
      mp = (int) (ABS (w - h) / 2 / (double) MAX (w, h) * g);
  g_autofree double *n = g_new (double, g *g);
  double low = INFINITY, high = -INFINITY, margin = INFINITY;

  for (int i = 0; i < g * g; i++) {
    int line = w > h ? i / g : i % g;

    n[i] = line < mp || line >= g - mp ? 0 : map[i];
    low = MIN (low, n[i]);
    high = MAX (high, n[i]);
  }
  for (int i = 0; i < g * g; i++) {
    n[i] = (n[i] - low) / (high - low);
    margin = MIN (margin, fabs (255 * n[i] - threshold));
  }
  for (int i = 0; i < G * G; i++)
    mask[i] = passes (s, n, i / G * 9 / G, i % G * 9 / G, threshold);
  return margin;
}
