/* kernels-sample.c - cases of sample
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#include "tests/kernels.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* What transformers' processors would leave, in double precision and without
 * sorting: an id stays if fewer than top_k are larger, and if the mass of
 * everything ranked at or below it exceeds 1 - p. */
static double *
probabilities (Kt *kt, const float *logits, int v, const SampleParams *params)
{
  double *x = kt_bytes (kt, sizeof *x * v),
         *kept = kt_bytes (kt, sizeof *x * v),
         *p = kt_bytes (kt, sizeof *x * v);
  double largest = -INFINITY, sum = 0, mass = 0;
  int first = 0;
  for (int i = 0; i < v; i++)
    x[i] = isnan (logits[i]) ? -INFINITY : logits[i];
  for (int i = 0; i < params->n_seen; i++) {
    double *s = &x[params->seen[i]];
    *s = *s > 0 ? *s / params->repetition_penalty
                : *s * params->repetition_penalty;
  }
  for (int i = 0; i < v; i++)
    x[i] /= params->temperature, largest = fmax (largest, x[i]);
  while (x[first] < largest)
    first++;
  for (int i = 0; i < v; i++) {
    int n_larger = 0;
    for (int j = 0; j < v; j++)
      n_larger += x[j] > x[i];
    bool stays = params->top_k <= 0 || n_larger < params->top_k;
    sum += kept[i] = stays ? exp (x[i] - largest) : 0;
  }
  for (int i = 0; i < v; i++) {
    double below = 0;
    for (int j = 0; j < v; j++)
      below += x[j] < x[i] || (x[j] == x[i] && j >= i) ? kept[j] / sum : 0;
    bool stays = i == first || below > 1 - params->top_p;
    mass += p[i] = stays ? kept[i] : 0;
  }
  for (int i = 0; i < v; i++)
    p[i] /= mass;
  return p;
}

/* The same with `seen` on the device. */
static SampleParams
params_on (const SampleParams *params, const KtBuf *seen, int on)
{
  SampleParams device = *params;
  device.seen = seen->on[on];
  return device;
}

static void
check_draws (Kt *kt, const float *logits, int v, SampleParams params)
{
  const double *p = probabilities (kt, logits, v, &params);
  KtBuf L = kt_array (kt, logits, sizeof *logits * v),
        S = kt_array (kt, params.seen, sizeof (int) * params.n_seen),
        I = kt_array (kt, NULL, sizeof (int));
  int n_steps = v < 2000 ? 20 : 4;
  for (int step = 0; step < n_steps; step++) {
    params.draw = (step + 0.5f) / n_steps;
    double walked = 0;
    int want = 0;
    while (want < v - 1 && (walked += p[want]) <= params.draw)
      want++;
    KT_EACH (kt, dev, on)
    {
      SampleParams own = params_on (&params, &S, on);
      device_upload (dev, L.on[on], logits, sizeof *logits * v);
      dev->op->sample (dev, I.on[on], L.on[on], v, &own);
    }
    int got = *(int *) kt_read (kt, &I, 0);
    /* A draw within rounding of a border may fall on either side. */
    bool near = fabs (walked - params.draw) < 1e-5 ||
                fabs (walked - p[want] - params.draw) < 1e-5;
    if (got < 0 || got >= v || p[got] <= 0 || (got != want && !near))
      kt_fail (kt, "draw %g chose %d, expected %d", params.draw, got, want);
  }
}

/* Of zeros of both signs, beside what is not a number. Where many are alike, no
 * share of them may be 1 - p but for rounding. */
static void
check_odd_draws (Kt *kt, int v, SampleParams params)
{
  static const float odd[] = { 0, -0.0f, 0, 1, -0.0f, -1, NAN, -INFINITY };
  float *logits = kt_bytes (kt, sizeof *logits * v);
  for (int i = 0; i < v; i++)
    logits[i] = i ? odd[kt_below (kt, 8)] : 0;
  params.top_p = params.top_p < 1 ? 0.8131f : 1;
  check_draws (kt, logits, v, params);
}

/* Nothing to draw from: the first of the largest. */
static void
check_no_draw (Kt *kt, int v, SampleParams params)
{
  static const float largest[] = { NAN, -INFINITY, INFINITY };
  float *logits = kt_bytes (kt, sizeof *logits * v);
  KtBuf L = kt_array (kt, NULL, sizeof *logits * v),
        I = kt_array (kt, NULL, sizeof (int));
  params.n_seen = 0;
  for (int k = 0; k < 3; k++) {
    int want = k == 2 ? v / 2 : 0;
    for (int i = 0; i < v; i++)
      logits[i] = i < want ? NAN : largest[k];
    KT_EACH (kt, dev, on)
    {
      device_upload (dev, L.on[on], logits, sizeof *logits * v);
      dev->op->sample (dev, I.on[on], L.on[on], v, &params);
    }
    kt_expect_same (kt, &I, &want);
  }
}

static void
check_greedy (Kt *kt, const float *logits, int v, SampleParams params)
{
  KtBuf L = kt_array (kt, logits, sizeof *logits * v),
        S = kt_array (kt, params.seen, sizeof (int) * params.n_seen),
        I = kt_array (kt, NULL, sizeof (int));
  kt_work (kt, 4.0 * v, 0);
  KT_EACH (kt, dev, on)
  {
    SampleParams own = params_on (&params, &S, on);
    dev->op->sample (dev, I.on[on], L.on[on], v, &own);
  }
  float *x = memcpy (kt_bytes (kt, sizeof *x * v), logits, sizeof *x * v);
  for (int i = 0; i < params.n_seen; i++) {
    float *s = &x[params.seen[i]];
    *s = *s > 0 ? *s / params.repetition_penalty
                : *s * params.repetition_penalty;
  }
  int want = 0;
  for (int i = 1; i < v; i++)
    want = x[i] > x[want] ? i : want;
  kt_expect_same (kt, &I, &want);
}

static void
sample (Kt *kt, const int *size)
{
  int v = size[0];
  float *logits = kt_uniform (kt, v, 6);
  int seen[3] = { 0, v / 2, v - 1 };
  SampleParams params = { 1, 0, 0, 1, 0, seen, v > 2 ? 3 : 1 };
  logits[kt_below (kt, v)] = logits[kt_below (kt, v)] = 6; /* ties */
  if (kt_timing (kt)) {
    params.temperature = size[1];
    params.top_k = 50;
  }
  check_greedy (kt, logits, v, params);
  if (kt_timing (kt))
    return;
  params.repetition_penalty = 1.3f;
  check_greedy (kt, logits, v, params);
  for (int i = 0; i < 8; i++) {
    params.temperature = i & 1 ? 0.7f : 1.5f;
    params.top_k = i & 2 ? 5 : 0;
    params.top_p = i & 4 ? 0.8f : 1;
    check_draws (kt, logits, v, params);
    check_odd_draws (kt, v, params);
    check_no_draw (kt, v, params);
  }
}

const KtCase kt_cases_sample[] = {
  { KT_SLOT (sample), sample,
      .sizes = { { 1 }, { 2 }, { 17 }, { 577 }, { 1030 }, { 9001 } },
      .benches = { { 32000 }, { 32000, 1 }, { 151936, 1 } } },
  { NULL },
};
