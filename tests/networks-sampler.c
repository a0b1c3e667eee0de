/* networks-sampler.c - draws, penalties and what a seed fixes
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#include "tests/networks.h"

#include <math.h>
#include <string.h>

#include "engine/sampler.h"

#define VOCAB 8

/* The next id, the sampler being free to spoil its logits. */
static int
next (VlmSampler *sampler, float *device, const float *logits, Device *dev)
{
  device_upload (dev, device, logits, VOCAB * sizeof (float));
  return vlm_sampler_next (sampler, device);
}

static void
test_greedy (Device *dev, gconstpointer data)
{
  const float tie[VOCAB] = { 0, 1, 3, 2, 3, 3, -1, 0 };
  const VlmSampling greedy = { .top_p = 1, .repetition_penalty = 1 };
  g_autoptr (VlmSampler) sampler = vlm_sampler_new (dev, VOCAB);
  float *device = device_alloc (dev, sizeof tie);

  vlm_sampler_start (sampler, &greedy, NULL, 0);
  for (int i = 0; i < 3; i++)
    g_assert_cmpint (next (sampler, device, tie, dev), ==, 2);
  device_free (dev, device);
}

/* Positive logits are divided, negative ones multiplied, once per id of the
 * prompt and of the output; ids without a logit are passed over. */
static void
test_penalty (Device *dev, gconstpointer data)
{
  const float logits[VOCAB] = { -1, 4, 3.9f, 3.8f, -3, -3, -3, -3 };
  const VlmSampling sampling = { .top_p = 1, .repetition_penalty = 1.5 };
  const int prompt[] = { 1, 1, 700, -5, 1 };
  const int expected[] = { 2, 3, 1, 1 };
  g_autoptr (VlmSampler) sampler = vlm_sampler_new (dev, VOCAB);
  float *device = device_alloc (dev, sizeof logits);

  vlm_sampler_start (sampler, &sampling, prompt, G_N_ELEMENTS (prompt));
  for (gsize i = 0; i < G_N_ELEMENTS (expected); i++)
    g_assert_cmpint (next (sampler, device, logits, dev), ==, expected[i]);
  vlm_sampler_start (sampler, &sampling, NULL, 0);
  g_assert_cmpint (next (sampler, device, logits, dev), ==, 1);
  device_free (dev, device);
}

static void
test_draws (Device *dev, gconstpointer data)
{
  const float logits[VOCAB] = { 0, 1, 2, 3, 0, 0, 0, 0 };
  const VlmSampling sampling = {
    .temperature = 1, .top_p = 1, .repetition_penalty = 1, .seed = 7
  };
  g_autoptr (VlmSampler) sampler = vlm_sampler_new (dev, VOCAB);
  float *device = device_alloc (dev, sizeof logits);
  int count[VOCAB] = { 0 }, first[20];
  double sum = 0;
  const int n = 20000;

  vlm_sampler_start (sampler, &sampling, NULL, 0);
  for (int i = 0; i < n; i++) {
    int id = next (sampler, device, logits, dev);

    count[id]++;
    if (i < 20)
      first[i] = id;
  }
  for (int i = 0; i < VOCAB; i++)
    sum += exp (logits[i]);
  for (int i = 0; i < VOCAB; i++) {
    double p = exp (logits[i]) / sum;

    /* six standard deviations */
    g_assert_cmpfloat (fabs (count[i] - n * p), <, 6 * sqrt (n * p * (1 - p)));
  }
  vlm_sampler_start (sampler, &sampling, NULL, 0);
  for (int i = 0; i < 20; i++)
    g_assert_cmpint (next (sampler, device, logits, dev), ==, first[i]);
  device_free (dev, device);
}

static void
test_limits (Device *dev, gconstpointer data)
{
  const float logits[VOCAB] = { 0, 1, 2, 3, 0, 0, 0, 0 };
  const VlmSampling by_k = {
    .temperature = 2, .top_k = 2, .top_p = 1, .repetition_penalty = 1
  };
  const VlmSampling by_p = {
    .temperature = 1, .top_p = 0.5, .repetition_penalty = 1
  };
  g_autoptr (VlmSampler) sampler = vlm_sampler_new (dev, VOCAB);
  float *device = device_alloc (dev, sizeof logits);
  int count[VOCAB] = { 0 };

  vlm_sampler_start (sampler, &by_k, NULL, 0);
  for (int i = 0; i < 200; i++)
    count[next (sampler, device, logits, dev)]++;
  g_assert_cmpint (count[2], >, 0);
  g_assert_cmpint (count[2] + count[3], ==, 200);
  vlm_sampler_start (sampler, &by_p, NULL, 0);
  for (int i = 0; i < 200; i++)
    g_assert_cmpint (next (sampler, device, logits, dev), ==, 3);
  device_free (dev, device);
}

void
networks_add_sampler (void)
{
  bed_add ("/sampler/greedy", test_greedy, NULL);
  bed_add ("/sampler/penalty", test_penalty, NULL);
  bed_add ("/sampler/draws", test_draws, NULL);
  bed_add ("/sampler/limits", test_limits, NULL);
}
