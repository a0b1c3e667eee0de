/* bench-work.c - operations and bytes of each phase, as they really run
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Matrix products and attention only: all else is small beside them.
 */
#include "engine/model-shape.h"
#include "pipelines/bench.h"

static double
product (double n, double rows, double cols)
{
  return 2 * n * rows * cols;
}

double
bench_vision_operations (
    const BenchBed *bed, gboolean first_tap, int live_tiles, int kept)
{
  const VlmVisionConfig *v = &bed->model->config.vision;
  double C = v->width, F = v->hidden, N = v->n_patches;
  double pixels = 3.0 * v->patch * v->patch;
  double n = live_tiles * (N + 1);
  double keys = product (n, 2 * C, C);
  double full = keys + product (n, 2 * C, C) + 2 * product (n, F, C) +
                2 * product (n, N + 1, C);
  double last = keys + product (kept, 2 * C, C) + 2 * product (kept, F, C) +
                2 * product (kept, N + 1, C);
  double first = product (N, C, pixels) + product (N + 1, C, C);

  return product (live_tiles * N, C, pixels) +
         (vlm_model_vision_layers (bed->model) - 1) * full + last +
         (first_tap ? first : 0);
}

double
bench_projector_operations (const BenchBed *bed, int n)
{
  const VlmConfig *config = &bed->model->config;
  double D = config->text.width;

  return product (
             n, D, (double) config->vision.width * config->n_feature_layers) +
         product (n, D, D);
}

static double
attention_operations (const VlmTextConfig *t, int layer, int first, int n)
{
  int window = t->window ? t->window[layer] : 0;
  double keys = 0;

  for (int pos = first; pos < first + n; pos++)
    keys += window > 0 ? MIN (window, pos + 1) : pos + 1;
  return 4.0 * t->heads * t->head_width * keys;
}

double
bench_prefill_operations (const BenchBed *bed, int n)
{
  const VlmTextConfig *t = &bed->model->config.text;
  double D = t->width, I = t->hidden;
  double q = (double) t->heads * t->head_width;
  double kv = (double) t->kv_heads * t->head_width;
  double rows = product (1, 2 * q, D) + product (1, 3 * I, D);
  double sum = product (1, t->vocab, D);

  for (int i = 0; i < t->layers; i++) {
    int n_rows = i < t->layers - 1 ? n : 1;

    sum += product (n, 2 * kv, D) + n_rows * rows +
           attention_operations (t, i, n - n_rows, n_rows);
  }
  return sum;
}

/* Norms and biases, which stay f32. */
static double
decode_vectors (const VlmTextConfig *t)
{
  double q = (double) t->heads * t->head_width;
  double kv = (double) t->kv_heads * t->head_width;
  double layer = 2.0 * t->width;

  if (t->qkv_bias)
    layer += q + 2 * kv;
  if (t->o_bias)
    layer += t->width;
  if (t->mlp_bias)
    layer += 2.0 * t->hidden + t->width;
  return t->layers * layer + t->width;
}

double
bench_token_operations (const BenchBed *bed, int length, double fine)
{
  const VlmConfig *config = &bed->model->config;
  const VlmTextConfig *t = &config->text;
  int layers = bed->fine ? MAX (t->layers - config->zoom.layer, 0) : 0;

  return 4.0 * t->heads * t->head_width *
         ((double) t->layers * length + layers * fine);
}

/* Of the embedding table one row is read, as the head all of a table. */
double
bench_decode_bytes (const BenchBed *bed, int length)
{
  const VlmTextConfig *t = &bed->model->config.text;
  double D = t->width, q = (double) t->heads * t->head_width;
  double kv = (double) t->kv_heads * t->head_width;
  double weights = t->layers * (2 * q * D + 2 * kv * D + 3.0 * t->hidden * D) +
                   (t->vocab + 1.0) * D;
  double cached = 0;

  for (int i = 0; i < t->layers; i++) {
    int window = t->window ? t->window[i] : 0;

    cached += 2 * kv * (window > 0 ? MIN (window, length) : length);
  }
  return weights * data_type_bytes (bed->type) +
         decode_vectors (t) * sizeof (float) + cached * bed->dev->act_bytes;
}
