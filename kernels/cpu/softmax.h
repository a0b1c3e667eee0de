/* softmax.h - the plain C ops' softmax
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#pragma once

#include <math.h>

/* In place; NaN anywhere makes every value NaN, minus infinity is a
 * probability of 0. */
static inline void
cpu_softmax (float *x, int n)
{
  float largest = x[0], sum = 0;
  for (int i = 1; i < n; i++)
    largest = fmaxf (largest, x[i]);
  for (int i = 0; i < n; i++)
    sum += x[i] = expf (x[i] - largest);
  for (int i = 0; i < n; i++)
    x[i] /= sum;
}
