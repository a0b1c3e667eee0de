/* attention.c - encoder and paged attention, plain C
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * softmax(scale q k^T) v, the largest score subtracted before exponentials.
 */
#include "kernels/cpu/cpu.h"
#include "kernels/cpu/softmax.h"

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
  cpu_softmax (score, n_keys);
  memset (y, 0, c * sizeof (float));
  for (int j = 0; j < n_keys; j++)
    for (int i = 0; i < c; i++)
      y[i] += score[j] * v[(size_t) j * stride + i];
}

typedef struct Tiles {
  float *y, *scratch; /* scratch[n_q,n_keys] */
  const float *q, *k, *v;
  const int *q_start;
  int n_keys, h, c;
  float scale;
} Tiles;

static void
attention_tiles_rows (void *data, int from, int to, int thread)
{
  const Tiles *a = data;
  int n_keys = a->n_keys, h = a->h, c = a->c;
  for (int row = from; row < to; row++)
    for (int head = 0; head < h; head++) {
      size_t at = ((size_t) row * h + head) * c;
      size_t keys = (size_t) tile_of_row (a->q_start, row) * n_keys * h * c +
                    (size_t) head * c;
      attend (a->y + at, a->q + at, a->k + keys, a->v + keys,
          a->scratch + (size_t) row * n_keys, n_keys, h * c, c, a->scale);
    }
}

static void
attention_tiles (Device *dev, Act *y, const Act *q, const Act *k, const Act *v,
    const int *q_start, int n_q, int t, int n_keys, int h, int c, float scale)
{
  float *scratch = cpu_scratch (dev, sizeof (float) * n_q * (size_t) n_keys);
  Tiles a = { y, scratch, q, k, v, q_start, n_keys, h, c, scale };
  size_t cost = (size_t) n_q * n_keys * h * c * 2;
  if (scratch)
    cpu_run (dev, cost, n_q, 0, attention_tiles_rows, &a);
}

typedef struct Cls {
  float *score, *scratch; /* [t,N], [t,N+1] */
  const float *q, *k;
  int N, h, c;
  float scale;
} Cls;

static void
cls_attention_tiles (void *data, int from, int to, int thread)
{
  const Cls *a = data;
  int N = a->N, c = a->c;
  size_t d = (size_t) a->h * c;
  for (int tile = from; tile < to; tile++) {
    float *row = a->scratch + (size_t) tile * (N + 1);
    memset (a->score + (size_t) tile * N, 0, N * sizeof (float));
    for (int head = 0; head < a->h; head++) {
      for (int j = 0; j <= N; j++)
        row[j] = a->scale *
                 dot (a->q + tile * d + head * c,
                     a->k + ((size_t) tile * (N + 1) + j) * d + head * c, c);
      cpu_softmax (row, N + 1);
      for (int j = 0; j < N; j++)
        a->score[(size_t) tile * N + j] += row[1 + j];
    }
  }
}

static void
cls_attention (Device *dev, float *score, const float *q, const float *k, int t,
    int N, int h, int c, float scale)
{
  float *scratch = cpu_scratch (dev, sizeof (float) * t * (N + 1));
  Cls a = { score, scratch, q, k, N, h, c, scale };
  if (scratch)
    cpu_run (dev, (size_t) t * (N + 1) * h * c, t, 1, cls_attention_tiles, &a);
}

/* ---- paged cache ---- */

/* Arguments of the two ops below. */
typedef struct Paged {
  const KvLayer *kv;
  const PagedBatch *batch;
  const float *q;
  float *y, *scratch; /* scratch[n,max_kv_len] */
  int h, n_kv_heads, c, window;
  float scale;
} Paged;

typedef struct Written {
  const KvLayer *kv;
  const float *k, *table, *v;
  const int *slots;
  int n_kv_heads, c;
} Written;

/* A key into its panel, rotated by its row of the table if there is one. */
static void
write_key (float *to, const float *k, const float *table, int c)
{
  int half = table ? c / 2 : 0;
  for (int j = 0; j < half; j++) {
    float a = k[j], b = k[half + j], cosine = table[j], sine = table[half + j];
    to[j * KEY_PANEL] = a * cosine - b * sine;
    to[(half + j) * KEY_PANEL] = b * cosine + a * sine;
  }
  for (int j = 2 * half; j < c; j++)
    to[j * KEY_PANEL] = k[j];
}

static void
kv_write_rows (void *data, int from, int to, int thread)
{
  const Written *w = data;
  int n_kv_heads = w->n_kv_heads, c = w->c;
  for (int i = from; i < to; i++) {
    int page = w->slots[i] / KV_PAGE_TOKENS;
    int place = w->slots[i] % KV_PAGE_TOKENS;
    const float *table = w->table ? w->table + (size_t) i * c : NULL;
    for (int head = 0; head < n_kv_heads; head++) {
      size_t target = cpu_kv_offset (page, head, n_kv_heads, c);
      size_t source = ((size_t) i * n_kv_heads + head) * c;
      write_key ((float *) w->kv->k + target + cpu_key_offset (place, c),
          w->k + source, table, c);
      memcpy ((float *) w->kv->v + target + (size_t) place * c, w->v + source,
          c * sizeof (float));
    }
  }
}

static void
kv_write (Device *dev, const KvLayer *kv, const float *k, const float *table,
    const Act *v, const PagedBatch *batch, int n_kv_heads, int c)
{
  Written w = { kv, k, table, v, batch->slots, n_kv_heads, c };
  size_t cost = (size_t) batch->n * n_kv_heads * c * CPU_VALUE;
  cpu_run (dev, cost, batch->n, 0, kv_write_rows, &w);
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
        cpu_key_offset (j % KV_PAGE_TOKENS, c);
    float sum = 0;
    for (int i = 0; i < c; i++)
      sum += q[i] * key[i * KEY_PANEL];
    score[j - first] = scale * sum;
  }
  cpu_softmax (score, last - first + 1);
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
attention_paged_rows (void *data, int from, int to, int thread)
{
  const Paged *a = data;
  const PagedBatch *batch = a->batch;
  int window = a->window, h = a->h, c = a->c;
  for (int row = from; row < to; row++) {
    int s = tile_of_row (batch->q_start, row);
    int position = batch->kv_len[s] - (batch->q_start[s + 1] - row);
    int first = window > 0 && position >= window ? position - window + 1 : 0;
    for (int head = 0; head < h; head++) {
      size_t at = ((size_t) row * h + head) * c;
      attend_paged (a->y + at, a->q + at, a->kv,
          batch->pages + batch->page_start[s],
          a->scratch + (size_t) row * batch->max_kv_len, first, position,
          head / (h / a->n_kv_heads), a->n_kv_heads, c, a->scale);
    }
  }
}

static void
attention_paged (Device *dev, Act *y, const Act *q, const KvLayer *kv,
    const PagedBatch *batch, int h, int n_kv_heads, int c, float scale,
    int window)
{
  size_t n_scores = (size_t) batch->n * batch->max_kv_len;
  float *scratch = cpu_scratch (dev, sizeof (float) * n_scores);
  Paged a = { kv, batch, q, y, scratch, h, n_kv_heads, c, window, scale };
  if (scratch)
    cpu_run (dev, n_scores * h * c * 2, batch->n, 0, attention_paged_rows, &a);
}

void
cpu_init_attention (Ops *op)
{
  op->attention_tiles = attention_tiles;
  op->cls_attention = cls_attention;
  op->kv_write = kv_write;
  op->attention_paged = attention_paged;
}
