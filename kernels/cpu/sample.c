/* sample.c - logits to an id, plain C
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * The order of transformers' logits processors: repetition penalty on each
 * distinct id seen, temperature, top-k (ties with the k-th stay), top-p, then
 * one draw walked through the ids in ascending order.
 */
#include "kernels/cpu/cpu.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

typedef struct Candidate {
  float logit;
  int id;
} Candidate;

static void
penalise (float *logits, const SampleParams *params)
{
  for (int i = 0; i < params->n_seen; i++) {
    float *x = &logits[params->seen[i]];
    *x = *x > 0 ? *x / params->repetition_penalty
                : *x * params->repetition_penalty;
  }
}

static int
first_largest (const float *logits, int v)
{
  int best = 0;
  for (int i = 1; i < v; i++)
    if (logits[i] > logits[best])
      best = i;
  return best;
}

/* Largest first; of equal ones the lower id first. */
static int
compare_candidates (const void *a, const void *b)
{
  const Candidate *x = a, *y = b;
  if (x->logit != y->logit)
    return x->logit > y->logit ? -1 : 1;
  return (x->id > y->id) - (x->id < y->id);
}

static int
compare_ids (const void *a, const void *b)
{
  const Candidate *x = a, *y = b;
  return (x->id > y->id) - (x->id < y->id);
}

/* Hoare's selection; x is left in another order. */
static float
kth_largest (float *x, int n, int k)
{
  int low = 0, high = n - 1;
  while (low < high) {
    float pivot = x[(low + high) / 2];
    int i = low, j = high;
    while (i <= j) {
      while (x[i] > pivot)
        i++;
      while (x[j] < pivot)
        j--;
      if (i <= j) {
        float swapped = x[i];
        x[i++] = x[j];
        x[j--] = swapped;
      }
    }
    if (k - 1 <= j)
      high = j;
    else if (k - 1 >= i)
      low = i;
    else
      break;
  }
  return x[k - 1];
}

/* The ids that top-k leaves, ties with the k-th among them, in list; returns
 * their number. `copy` is room for v floats. */
static int
choose_top_k (
    Candidate *list, float *copy, const float *logits, int v, int top_k)
{
  float least = -INFINITY;
  int n = 0;
  if (top_k > 0 && top_k < v) {
    memcpy (copy, logits, v * sizeof *copy);
    least = kth_largest (copy, v, top_k);
  }
  for (int i = 0; i < v; i++)
    if (!(logits[i] < least))
      list[n++] = (Candidate){ logits[i], i };
  return n;
}

/* How many top-p leaves: from the smallest up, all are dropped while their
 * probabilities together stay within 1 - p. */
static int
count_top_p (const Candidate *list, int n, float top_p)
{
  if (top_p >= 1)
    return n;
  float sum = 0, tail = 0;
  for (int i = n - 1; i >= 0; i--)
    sum += expf (list[i].logit - list[0].logit);
  while (n > 1) {
    tail += expf (list[n - 1].logit - list[0].logit) / sum;
    if (tail > 1 - top_p)
      break;
    n--;
  }
  return n;
}

static int
draw (Candidate *list, int n, float uniform)
{
  float largest = list[0].logit, sum = 0, walked = 0;
  qsort (list, n, sizeof *list, compare_ids);
  for (int i = 0; i < n; i++)
    sum += list[i].logit = expf (list[i].logit - largest);
  for (int i = 0; i < n; i++) {
    walked += list[i].logit;
    if (walked > uniform * sum)
      return list[i].id;
  }
  return list[n - 1].id;
}

static void
sample (Device *dev, int *id, float *logits, int v, const SampleParams *params)
{
  if (params->repetition_penalty != 1)
    penalise (logits, params);
  if (params->temperature <= 0) {
    *id = first_largest (logits, v);
    return;
  }
  Candidate *list = cpu_scratch (dev, v * (sizeof *list + sizeof (float)));
  if (!list)
    return;
  for (int i = 0; i < v; i++)
    logits[i] = isnan (logits[i]) ? -INFINITY : logits[i] / params->temperature;
  int best = first_largest (logits, v);
  if (!isfinite (logits[best])) {
    *id = best;
    return;
  }
  int n = choose_top_k (list, (float *) (list + v), logits, v, params->top_k);
  qsort (list, n, sizeof *list, compare_candidates);
  n = count_top_p (list, n, params->top_p);
  *id = draw (list, n, params->draw);
}

void
cpu_init_sample (Ops *op)
{
  op->sample = sample;
}
