/* bench-count.c - operations and bytes of what the networks ask of a device
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * The ops that cost anything are counted instead of run, and matrices are
 * their sizes: a model that would not fit is read and decoded in seconds, by
 * the engine's own steps. Products are all zeros.
 */
#include "pipelines/bench.h"

#include <string.h>

static struct {
  Ops op;
  const Ops *old;
  BenchCount count;
} counting;

static void
mat_init (Device *dev, Mat *w, DataType want, const void *src,
    DataType src_type, int rows, int cols, const float *bias)
{
  *w = (Mat){ .type = want, .rows = rows, .cols = cols };
}

static void
mat_clear (Device *dev, Mat *w)
{
  *w = (Mat){ 0 };
}

static size_t
mat_bytes (Device *dev, DataType want, DataType src_type, int rows, int cols)
{
  return 0;
}

static void
count_product (const Mat *w, int n)
{
  counting.count.operations += 2.0 * n * w->rows * w->cols;
  counting.count.weight_bytes +=
      (double) w->rows * w->cols * data_type_bytes (w->type);
}

static void
matmul (
    Device *dev, void *y, const Act *x, const Mat *w, int n, Epilogue epilogue)
{
  count_product (w, n);
  if (epilogue != EPILOGUE_ADD)
    memset (y, 0, (gsize) n * w->rows * dev->act_bytes);
}

static void
logits (Device *dev, float *y, const Residual *x, const Mat *w, int n)
{
  count_product (w, n);
  memset (y, 0, (gsize) n * w->rows * sizeof *y);
}

static void
embed (Device *dev, Residual *y, const Mat *table, const int *ids, int n)
{
  memset (y, 0, (gsize) n * table->cols * sizeof *y);
}

static void
attention_tiles (Device *dev, Act *y, const Act *q, const Act *k, const Act *v,
    const int *q_start, int n_q, int t, int n_keys, int h, int c, float scale)
{
  counting.count.operations += 4.0 * n_q * n_keys * h * c;
  memset (y, 0, (gsize) n_q * h * c * dev->act_bytes);
}

static void
kv_write (Device *dev, const KvLayer *kv, const float *k, const float *table,
    const Act *v, const PagedBatch *batch, int n_kv_heads, int c)
{
  counting.count.cached_bytes +=
      2.0 * batch->n * n_kv_heads * c * dev->act_bytes;
}

/* Every sequence's keys and values once, whatever its number of queries. */
static void
attention_paged (Device *dev, Act *y, const Act *q, const KvLayer *kv,
    const PagedBatch *batch, int h, int n_kv_heads, int c, float scale,
    int window)
{
  for (int s = 0; s < batch->n_seqs; s++) {
    int n = batch->q_start[s + 1] - batch->q_start[s];
    int length = batch->kv_len[s], wide = window > 0 ? window : length;

    for (int i = 0; i < n; i++)
      counting.count.operations += 4.0 * MIN (length - i, wide) * h * c;
    if (n > 0)
      counting.count.read_bytes +=
          2.0 * MIN (length, wide + n - 1) * n_kv_heads * c * dev->act_bytes;
  }
  memset (y, 0, (gsize) batch->n * h * c * dev->act_bytes);
}

/* Keys alone are read. */
static void
key_scores (Device *dev, float *score, const Act *q, const KvLayer *kv,
    const PagedBatch *batch, KeyGroup group, int h, int n_kv_heads, int c,
    float scale, int window)
{
  for (int s = 0; s < batch->n_seqs; s++) {
    int length = batch->kv_len[s], first = batch->page_start[s];
    int pages = batch->page_start[s + 1] - first;

    counting.count.operations += 2.0 * length * h * c;
    counting.count.read_bytes +=
        (double) length * n_kv_heads * c * dev->act_bytes;
    memset (score + (gsize) first * KV_PAGE_TOKENS * h, 0,
        (gsize) pages * KV_PAGE_TOKENS * h * sizeof *score);
  }
}

/* A list is read by all its query heads at once. */
static void
attention_listed (Device *dev, Act *y, const Act *q, const KvLayer *kv,
    const PagedBatch *batch, const int *lists, const KeyChoice *choice, int h,
    int n_kv_heads, int c, float scale, int window)
{
  int n_lists = choice->group == KEYS_OF_QUERY_HEAD ? h : n_kv_heads;
  int size = choice->group == PAGES_OF_KV_HEAD ? KV_PAGE_TOKENS : 1;

  for (int s = 0; s < batch->n_seqs; s++) {
    double n = MIN (batch->kv_len[s], (double) choice->n_most * size);

    counting.count.operations += 4.0 * n * h * c;
    counting.count.read_bytes += 2.0 * n * n_lists * c * dev->act_bytes;
  }
  memset (y, 0, (gsize) batch->n * h * c * dev->act_bytes);
}

void
bench_count_begin (Device *dev)
{
  counting.old = dev->op;
  counting.op = *dev->op;
  counting.op.mat_init = mat_init;
  counting.op.mat_clear = mat_clear;
  counting.op.mat_bytes = mat_bytes;
  counting.op.matmul = matmul;
  counting.op.logits = logits;
  counting.op.embed = embed;
  counting.op.attention_tiles = attention_tiles;
  counting.op.kv_write = kv_write;
  counting.op.attention_paged = attention_paged;
  counting.op.key_scores = key_scores;
  counting.op.attention_listed = attention_listed;
  dev->op = &counting.op;
}

void
bench_count_end (Device *dev)
{
  if (counting.old)
    dev->op = counting.old;
  counting.old = NULL;
}

BenchCount
bench_count_take (void)
{
  BenchCount count = counting.count;

  counting.count = (BenchCount){ 0 };
  return count;
}
