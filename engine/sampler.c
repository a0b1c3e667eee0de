/* sampler.c - logits to id: greedy, or drawn by temperature, top-k and top-p
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#include "engine/sampler.h"

#include <string.h>

struct VlmSampler {
  Device *dev;
  int vocab;
  VlmSampling sampling;
  guint64 state;        /* of splitmix64 */
  int n_seen;           /* distinct ids of prompt and output */
  guint8 *is_seen;      /* [vocab] */
  int *seen, *dev_seen; /* [vocab], host and device */
  int *dev_id;          /* the op's answer */
};

VlmSampler *
vlm_sampler_new (Device *dev, int vocab)
{
  VlmSampler *sampler = g_new0 (VlmSampler, 1);

  sampler->dev = dev;
  sampler->vocab = vocab;
  sampler->is_seen = g_new0 (guint8, vocab);
  sampler->seen = g_new0 (int, vocab);
  sampler->dev_seen = device_alloc (dev, vocab * sizeof (int));
  sampler->dev_id = device_alloc (dev, sizeof (int));
  return sampler;
}

void
vlm_sampler_free (VlmSampler *sampler)
{
  if (!sampler)
    return;
  device_free (sampler->dev, sampler->dev_seen);
  device_free (sampler->dev, sampler->dev_id);
  g_free (sampler->is_seen);
  g_free (sampler->seen);
  g_free (sampler);
}

/* Ids beyond the vocabulary (an image's placeholder may be) have no logit. */
static gboolean
note_seen (VlmSampler *sampler, int id)
{
  if (id < 0 || id >= sampler->vocab || sampler->is_seen[id])
    return FALSE;
  sampler->is_seen[id] = 1;
  sampler->seen[sampler->n_seen++] = id;
  return TRUE;
}

static gboolean
penalises (const VlmSampler *sampler)
{
  return sampler->sampling.repetition_penalty != 1;
}

void
vlm_sampler_start (VlmSampler *sampler, const VlmSampling *sampling,
    const int *prompt_ids, int n)
{
  sampler->sampling = *sampling;
  sampler->state = sampling->seed;
  sampler->n_seen = 0;
  memset (sampler->is_seen, 0, sampler->vocab);
  if (!penalises (sampler))
    return;
  for (int i = 0; i < n; i++)
    note_seen (sampler, prompt_ids[i]);
  if (sampler->n_seen > 0)
    device_upload (sampler->dev, sampler->dev_seen, sampler->seen,
        sampler->n_seen * sizeof (int));
}

/* Steele, Lea, Flood: Fast splittable pseudorandom number generators, 2014.
 * 24 bits, so that the float is exact and below 1. */
static float
next_draw (VlmSampler *sampler)
{
  guint64 z = sampler->state += G_GUINT64_CONSTANT (0x9e3779b97f4a7c15);

  z = (z ^ (z >> 30)) * G_GUINT64_CONSTANT (0xbf58476d1ce4e5b9);
  z = (z ^ (z >> 27)) * G_GUINT64_CONSTANT (0x94d049bb133111eb);
  z ^= z >> 31;
  return (float) (z >> 40) * 0x1p-24f;
}

static void
remember (VlmSampler *sampler, int id)
{
  if (penalises (sampler) && note_seen (sampler, id))
    device_upload (
        sampler->dev, sampler->dev_seen + sampler->n_seen - 1, &id, sizeof id);
}

int
vlm_sampler_next (VlmSampler *sampler, float *logits)
{
  const VlmSampling *s = &sampler->sampling;
  SampleParams params = {
    .repetition_penalty = (float) s->repetition_penalty,
    .temperature = (float) s->temperature,
    .top_k = s->top_k,
    .top_p = (float) s->top_p,
    .draw = s->temperature > 0 ? next_draw (sampler) : 0,
    .seen = sampler->dev_seen,
    .n_seen = sampler->n_seen,
  };
  int id = 0;

  sampler->dev->op->sample (
      sampler->dev, sampler->dev_id, logits, sampler->vocab, &params);
  device_download (sampler->dev, &id, sampler->dev_id, sizeof id);
  remember (sampler, id);
  return id;
}
