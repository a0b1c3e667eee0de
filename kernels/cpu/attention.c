/* attention.c - encoder and paged attention, plain C
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * softmax(scale q k^T) v, the largest score subtracted before exponentials.
 */
#include "kernels/cpu/cpu.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

static float
dot (const float *a, const float *b, int n)
{
  float sum = 0;
  for (int i = 0; i < n; i++)
    sum += a[i] * b[i];
  return sum;
}

/* In place; NaN anywhere makes every value NaN. */
static void
softmax (float *x, int n)
{
  float largest = x[0], sum = 0;
  for (int i = 1; i < n; i++)
    largest = fmaxf (largest, x[i]);
  for (int i = 0; i < n; i++)
    sum += x[i] = expf (x[i] - largest);
  for (int i = 0; i < n; i++)
    x[i] /= sum;
}

static int
tile_of_row (const int *q_start, int row)
{
  int tile = 0;
  while (q_start[tile + 1] <= row)
    tile++;
  return tile;
}

/* One query row of one head over n_keys keys, rows `stride` floats apart. */
static void
attend (float *y, const float *q, const float *k, const float *v, float *score,
    int n_keys, int stride, int c, float scale)
{
  for (int j = 0; j < n_keys; j++)
    score[j] = scale * dot (q, k + (size_t) j * stride, c);
  softmax (score, n_keys);
  memset (y, 0, c * sizeof (float));
  for (int j = 0; j < n_keys; j++)
    for (int i = 0; i < c; i++)
      y[i] += score[j] * v[(size_t) j * stride + i];
}

static void
attention_tiles (Device *dev, Act *y, const Act *q, const Act *k, const Act *v,
    const int *q_start, int n_q, int t, int n_keys, int h, int c, float scale)
{
  float *scratch = cpu_scratch (dev, sizeof (float) * n_q * (size_t) n_keys);
  if (!scratch)
    return;
#pragma omp parallel for num_threads(dev->n_threads)
  for (int row = 0; row < n_q; row++)
    for (int head = 0; head < h; head++) {
      size_t at = ((size_t) row * h + head) * c;
      size_t keys = (size_t) tile_of_row (q_start, row) * n_keys * h * c;
      attend ((float *) y + at, (const float *) q + at,
          (const float *) k + keys + (size_t) head * c,
          (const float *) v + keys + (size_t) head * c,
          scratch + (size_t) row * n_keys, n_keys, h * c, c, scale);
    }
}

static void
cls_attention (Device *dev, float *score, const Act *q, const Act *k, int t,
    int N, int h, int c, float scale)
{
  size_t d = (size_t) h * c;
  float *scratch = cpu_scratch (dev, sizeof (float) * t * (N + 1));
  if (!scratch)
    return;
#pragma omp parallel for num_threads(dev->n_threads)
  for (int tile = 0; tile < t; tile++) {
    float *row = scratch + (size_t) tile * (N + 1);
    memset (score + (size_t) tile * N, 0, N * sizeof (float));
    for (int head = 0; head < h; head++) {
      for (int j = 0; j <= N; j++)
        row[j] = scale * dot ((const float *) q + tile * d + head * c,
                             (const float *) k +
                                 ((size_t) tile * (N + 1) + j) * d + head * c,
                             c);
      softmax (row, N + 1);
      for (int j = 0; j < N; j++)
        score[(size_t) tile * N + j] += row[1 + j];
    }
  }
}

static void
kv_write (Device *dev, const KvLayer *kv, const Act *k, const Act *v,
    const PagedBatch *batch, int n_kv_heads, int c)
{
  size_t count = (size_t) batch->n * n_kv_heads * c;
#pragma omp parallel for num_threads(dev->n_threads) if (count > CPU_SMALL)
  for (int i = 0; i < batch->n; i++) {
    int page = batch->slots[i] / KV_PAGE_TOKENS;
    int place = batch->slots[i] % KV_PAGE_TOKENS;
    for (int head = 0; head < n_kv_heads; head++) {
      size_t to = cpu_kv_offset (page, head, n_kv_heads, c);
      size_t from = ((size_t) i * n_kv_heads + head) * c;
      for (int j = 0; j < c; j++)
        ((float *) kv->k)[to + j * KV_PAGE_TOKENS + place] =
            ((const float *) k)[from + j];
      memcpy ((float *) kv->v + to + (size_t) place * c,
          (const float *) v + from, c * sizeof (float));
    }
  }
}

/* One query of one head over keys first .. last of the pages listed. */
static void
attend_paged (float *y, const float *q, const KvLayer *kv, const int *pages,
    float *score, int first, int last, int head, int n_kv_heads, int c,
    float scale)
{
  for (int j = first; j <= last; j++) {
    const float *key =
        (const float *) kv->k +
        cpu_kv_offset (pages[j / KV_PAGE_TOKENS], head, n_kv_heads, c) +
        j % KV_PAGE_TOKENS;
    float sum = 0;
    for (int i = 0; i < c; i++)
      sum += q[i] * key[i * KV_PAGE_TOKENS];
    score[j - first] = scale * sum;
  }
  softmax (score, last - first + 1);
  memset (y, 0, c * sizeof (float));
  for (int j = first; j <= last; j++) {
    const float *value =
        (const float *) kv->v +
        cpu_kv_offset (pages[j / KV_PAGE_TOKENS], head, n_kv_heads, c) +
        (size_t) (j % KV_PAGE_TOKENS) * c;
    for (int i = 0; i < c; i++)
      y[i] += score[j - first] * value[i];
  }
}

static void
attention_paged (Device *dev, Act *y, const Act *q, const KvLayer *kv,
    const PagedBatch *batch, int h, int n_kv_heads, int c, float scale,
    int window)
{
  float *scratch =
      cpu_scratch (dev, sizeof (float) * batch->n * (size_t) batch->max_kv_len);
  if (!scratch)
    return;
#pragma omp parallel for num_threads(dev->n_threads)
  for (int row = 0; row < batch->n; row++) {
    int s = tile_of_row (batch->q_start, row);
    int position = batch->kv_len[s] - (batch->q_start[s + 1] - row);
    int first = window > 0 && position >= window ? position - window + 1 : 0;
    for (int head = 0; head < h; head++) {
      size_t at = ((size_t) row * h + head) * c;
      attend_paged ((float *) y + at, (const float *) q + at, kv,
          batch->pages + batch->page_start[s],
          scratch + (size_t) row * batch->max_kv_len, first, position,
          head / (h / n_kv_heads), n_kv_heads, c, scale);
    }
  }
}

void
cpu_init_attention (Ops *op)
{
  op->attention_tiles = attention_tiles;
  op->cls_attention = cls_attention;
  op->kv_write = kv_write;
  op->attention_paged = attention_paged;
}
