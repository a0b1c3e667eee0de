/* fine-select.c - which cells a token looks at closer, and their rotation
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#include "engine/fine.h"

#include <math.h>

int
vlm_fine_margin (const VlmFineView *view)
{
  int longer = MAX (view->width, view->height);
  int margin = ABS (view->width - view->height) / 2;

  return (int) ((double) margin / longer * view->side);
}

static gboolean
is_padding (const VlmFineView *view, int margin, int y, int x)
{
  int along = view->width > view->height ? y : x;

  return along < margin || along >= view->side - margin;
}

/* Whether any image token of a cell passes; `low` and `span` stretch. */
static gboolean
lights (
    const VlmFineView *view, const float *map, int cell, float low, float span)
{
  int g = view->side, n = VLM_FINE_SIDE, margin = vlm_fine_margin (view);
  int row = cell / n, col = cell % n;

  for (int y = row * g / n; y < ((row + 1) * g + n - 1) / n; y++)
    for (int x = col * g / n; x < ((col + 1) * g + n - 1) / n; x++) {
      float value = is_padding (view, margin, y, x) ? 0 : map[y * g + x];

      if ((value - low) / span * 255 > view->threshold)
        return TRUE;
    }
  return FALSE;
}

int
vlm_fine_select (
    const VlmFineView *view, const float *map, guint8 lit[VLM_FINE_CELLS])
{
  int g = view->side, margin = vlm_fine_margin (view), n_lit = 0;
  float low = INFINITY, high = -INFINITY;

  for (int i = 0; i < g * g; i++) {
    float value = is_padding (view, margin, i / g, i % g) ? 0 : map[i];

    low = fminf (low, value);
    high = fmaxf (high, value);
  }
  for (int cell = 0; cell < VLM_FINE_CELLS; cell++)
    n_lit += lit[cell] = lights (view, map, cell, low, high - low);
  return n_lit;
}

/* The first of G lines that row (or column) i of cells has. */
static int
cell_start (int G, int i)
{
  return (i * G + VLM_FINE_SIDE - 1) / VLM_FINE_SIDE;
}

VlmFineCell
vlm_fine_cell (int fine_side, int cell)
{
  int G = fine_side, row = cell / VLM_FINE_SIDE, col = cell % VLM_FINE_SIDE;
  int top = cell_start (G, row), left = cell_start (G, col);
  int height = cell_start (G, row + 1) - top;

  return (VlmFineCell){ top * G + height * left,
    height * (cell_start (G, col + 1) - left) };
}

int
vlm_fine_row (const VlmFineView *view, int y, int x)
{
  int G = view->fine_side;
  int row = y * VLM_FINE_SIDE / G, col = x * VLM_FINE_SIDE / G;
  int left = cell_start (G, col), width = cell_start (G, col + 1) - left;

  return vlm_fine_cell (G, row * VLM_FINE_SIDE + col).first +
         (y - cell_start (G, row)) * width + x - left;
}

/* Keys' cubic convolution with a = -3/4. */
static double
cubic (double x)
{
  double a = -0.75;

  x = fabs (x);
  if (x <= 1)
    return ((a + 2) * x - (a + 3)) * x * x + 1;
  return x < 2 ? ((a * x - 5 * a) * x + 8 * a) * x - 4 * a : 0;
}

typedef struct {
  int at[4];
  double weight[4];
} Taps;

static Taps
taps_of (int i, int n_in, int n_out)
{
  double centre = (i + 0.5) * n_in / n_out - 0.5;
  int base = (int) floor (centre);
  Taps taps;

  for (int k = 0; k < 4; k++) {
    taps.at[k] = CLAMP (base - 1 + k, 0, n_in - 1);
    taps.weight[k] = cubic (centre - (base - 1 + k));
  }
  return taps;
}

/* Cosines and sines of the image tokens, [g*g,c] as Ops.rope_table has them. */
static float *
coarse_table (const VlmTextConfig *text, const VlmFineView *view, int length)
{
  int n = view->side * view->side, half = text->head_width / 2;
  float *table = g_new (float, (gsize) n *half * 2), scale;
  g_autofree float *inv_freq = g_new (float, half);

  vlm_rope_frequencies (text, length, inv_freq, &scale);
  for (int i = 0; i < n; i++)
    for (int j = 0; j < half; j++) {
      float angle = (float) (view->begin + i) * inv_freq[j];

      table[(gsize) (2 * i) * half + j] = cosf (angle) * scale;
      table[(gsize) (2 * i + 1) * half + j] = sinf (angle) * scale;
    }
  return table;
}

void
vlm_fine_rope (const VlmTextConfig *text, const VlmFineView *view, int length,
    float *table)
{
  int g = view->side, G = view->fine_side, c = text->head_width;
  g_autofree float *coarse = coarse_table (text, view, length);
  g_autofree double *lines = g_new (double, (gsize) g *G *c);

  for (int y = 0; y < g; y++) /* along x */
    for (int x = 0; x < G; x++) {
      Taps taps = taps_of (x, g, G);

      for (int j = 0; j < c; j++) {
        double sum = 0;

        for (int k = 0; k < 4; k++)
          sum += taps.weight[k] * coarse[(gsize) (y * g + taps.at[k]) * c + j];
        lines[((gsize) y * G + x) * c + j] = sum;
      }
    }
  for (int y = 0; y < G; y++) {
    Taps taps = taps_of (y, g, G);

    for (int x = 0; x < G; x++) {
      float *row = table + (gsize) vlm_fine_row (view, y, x) * c;

      for (int j = 0; j < c; j++) {
        double sum = 0;

        for (int k = 0; k < 4; k++)
          sum += taps.weight[k] * lines[((gsize) taps.at[k] * G + x) * c + j];
        row[j] = (float) sum;
      }
    }
  }
}
