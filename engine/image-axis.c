/* image-axis.c - fixed-point weights of one axis of the exact resize
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#include "engine/image-axis.h"

#include <math.h>

#define PILLOW_PRECISION 22

static double
bicubic (double x)
{
  const double a = -0.5;

  x = fabs (x);
  if (x < 1.0)
    return ((a + 2.0) * x - (a + 3.0)) * x * x + 1;
  if (x < 2.0)
    return (((x - 5) * x + 8) * x - 4) * a;
  return 0.0;
}

typedef struct {
  double scale, support, inverse;
  int n_in;
} Filter;

static Filter
filter_of (int n_in, int n_out)
{
  double scale = (double) n_in / n_out;
  double widened = MAX (scale, 1.0);

  return (Filter){ scale, 2.0 * widened, 1.0 / widened, n_in };
}

/* Where the taps of output i begin and how many there are. */
static int
taps_of (const Filter *f, int i, int *first)
{
  double centre = (i + 0.5) * f->scale;
  int lo = MAX ((int) (centre - f->support + 0.5), 0);
  int hi = MIN ((int) (centre + f->support + 0.5), f->n_in);

  *first = lo;
  return hi - lo;
}

/* Normalised weights of output i in w; returns their largest. */
static double
weights_of (const Filter *f, int i, int first, int n_taps, double *w)
{
  double centre = (i + 0.5) * f->scale;
  double sum = 0.0, largest = 0.0;

  for (int j = 0; j < n_taps; j++) {
    w[j] = bicubic ((j + first - centre + 0.5) * f->inverse);
    sum += w[j];
  }
  for (int j = 0; j < n_taps; j++) {
    if (sum != 0.0)
      w[j] /= sum;
    largest = MAX (largest, w[j]);
  }
  return largest;
}

static int
torchvision_precision (const Filter *f, int n_out, double *scratch)
{
  double largest = 0.0;
  int precision = 0;

  for (int i = 0; i < n_out; i++) {
    int first, n_taps = taps_of (f, i, &first);
    double w = weights_of (f, i, first, n_taps, scratch);

    largest = MAX (largest, w);
  }
  while (precision < PILLOW_PRECISION &&
         (int) (0.5 + largest * (1 << (precision + 1))) < (1 << 15))
    precision++;
  return precision;
}

static gint32
round_weight (double w, int precision)
{
  double v = w * (1 << precision);

  return (gint32) (v < 0 ? v - 0.5 : v + 0.5);
}

static void
fill_output (
    VlmAxis *axis, const Filter *f, int at, int output, double *scratch)
{
  gint32 *weight = axis->weight + (gsize) at * axis->axis.max_taps;
  int first, n_taps = taps_of (f, output, &first);

  weights_of (f, output, first, n_taps, scratch);
  for (int j = 0; j < n_taps; j++)
    weight[j] = round_weight (scratch[j], axis->axis.precision);
  axis->first[at] = first;
  axis->n_taps[at] = n_taps;
  axis->lo = MIN (axis->lo, first);
  axis->hi = MAX (axis->hi, first + n_taps);
}

static gboolean
allocate (VlmAxis *axis, int n_in, int count, int taps)
{
  int max_taps = (taps + 3) & ~3;

  axis->axis =
      (ResizeAxis){ .n_in = n_in, .n_out = count, .max_taps = max_taps };
  axis->lo = n_in;
  axis->hi = 0;
  axis->first = g_try_new0 (int, count);
  axis->n_taps = g_try_new0 (int, count);
  axis->weight = g_try_new0 (gint32, (gsize) count * max_taps);
  axis->axis.first = axis->first;
  axis->axis.n_taps = axis->n_taps;
  axis->axis.weight = axis->weight;
  return axis->first && axis->n_taps && axis->weight;
}

gboolean
vlm_axis_init (VlmAxis *axis, VlmResampling resampling, int n_in, int n_out,
    int from, int count)
{
  Filter f = filter_of (n_in, n_out);
  int taps = MIN (2 * (int) ceil (f.support) + 1, n_in);
  g_autofree double *scratch = g_try_new (double, taps);

  if (!allocate (axis, n_in, count, taps) || !scratch) {
    vlm_axis_clear (axis);
    return FALSE;
  }
  axis->axis.narrow = resampling == VLM_RESAMPLING_TORCHVISION;
  axis->axis.precision = axis->axis.narrow
                             ? torchvision_precision (&f, n_out, scratch)
                             : PILLOW_PRECISION;
  for (int i = 0; i < count; i++)
    if (from + i >= 0 && from + i < n_out)
      fill_output (axis, &f, i, from + i, scratch);
  return TRUE;
}

void
vlm_axis_clear (VlmAxis *axis)
{
  g_clear_pointer (&axis->first, g_free);
  g_clear_pointer (&axis->n_taps, g_free);
  g_clear_pointer (&axis->weight, g_free);
}
