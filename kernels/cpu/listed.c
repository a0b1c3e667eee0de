/* listed.c - attention to chosen keys, plain C
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#include "kernels/cpu/listed.h"
#include "kernels/cpu/softmax.h"

#include <math.h>
#include <string.h>

static float
score_key (
    const Listed *a, const float *q, const int *pages, int kv_head, int j)
{
  const float *key =
      (const float *) a->kv->k +
      cpu_kv_offset (pages[j / KV_PAGE_TOKENS], kv_head, a->n_kv_heads, a->c) +
      cpu_key_offset (j % KV_PAGE_TOKENS, a->c);
  float sum = 0;
  for (int i = 0; i < a->c; i++)
    sum += q[i] * key[i * KEY_PANEL];
  return a->scale * sum;
}

/* ---- scores ---- */

/* Row 0 of `rows`, which are `stride` apart: sums over the rows, of keys or of
 * pages; what ends before key `first` is out of the running. */
static void
add_rows (float *rows, size_t stride, int n_rows, int n, int first, int size)
{
  for (int at = 0; at < n; at += size) {
    float sum = 0;
    for (int row = 0; row < n_rows; row++)
      for (int j = at; j < n && j < at + size; j++)
        sum += rows[row * stride + j];
    rows[at / size] = at + size <= first ? -INFINITY : sum;
  }
}

/* A task is a key head of a sequence. */
static void
score_tasks (void *data, int from, int to, int thread)
{
  const Listed *a = data;
  const PagedBatch *batch = a->batch;
  int n_rows = a->h / a->n_kv_heads;
  KeyGroup group = a->choice.group;
  for (int task = from; task < to; task++) {
    int s = task / a->n_kv_heads, kv_head = task % a->n_kv_heads;
    int n = batch->kv_len[s], first = listed_first (n, a->window);
    size_t stride = listed_stride (batch, s);
    float *rows = a->score + listed_at (batch, s, a->h, kv_head * n_rows);
    if (!listed_has_token (batch, s))
      continue;
    for (int row = 0; row < n_rows; row++) {
      size_t query =
          ((size_t) batch->q_start[s] * a->h + kv_head * n_rows + row) * a->c;
      for (int j = 0; j < n; j++)
        rows[row * stride + j] =
            j < first ? -INFINITY
                      : score_key (a, a->q + query,
                            batch->pages + batch->page_start[s], kv_head, j);
    }
    if (group == KEYS_OF_QUERY_HEAD ||
        (group == KEYS_OF_KV_HEAD && n_rows == 1))
      continue;
    for (int row = 0; row < n_rows; row++)
      cpu_softmax (rows + row * stride, n);
    add_rows (rows, stride, n_rows, n, first,
        group == PAGES_OF_KV_HEAD ? KV_PAGE_TOKENS : 1);
  }
}

static void
key_scores (Device *dev, float *score, const Act *q, const KvLayer *kv,
    const PagedBatch *batch, KeyGroup group, int h, int n_kv_heads, int c,
    float scale, int window)
{
  Listed a = listed_scores (
      score, q, kv, batch, group, h, n_kv_heads, c, scale, window);
  cpu_run (dev, listed_work (&a, batch->max_kv_len), batch->n_seqs * n_kv_heads,
      1, score_tasks, &a);
}

/* ---- attention ---- */

/* Key i of a list, -1 if there is none or it is not seen. */
static int
listed_key (const Listed *a, const int *list, int i, int kv_len)
{
  int j = a->choice.group == PAGES_OF_KV_HEAD
              ? list[i / KV_PAGE_TOKENS] * KV_PAGE_TOKENS + i % KV_PAGE_TOKENS
              : list[i];
  return j < kv_len && j >= listed_first (kv_len, a->window) ? j : -1;
}

static void
attend_list (const Listed *a, int s, int head, float *score)
{
  const PagedBatch *batch = a->batch;
  int group = a->h / a->n_kv_heads, kv_head = head / group, c = a->c;
  int kv_len = batch->kv_len[s], n_seen = 0;
  int n = listed_entries (&a->choice, kv_len);
  int row = a->choice.group == KEYS_OF_QUERY_HEAD ? head : kv_head * group;
  const int *list = a->lists + listed_at (batch, s, a->h, row);
  const int *pages = batch->pages + batch->page_start[s];
  size_t at = ((size_t) batch->q_start[s] * a->h + head) * c;
  if (a->choice.group == PAGES_OF_KV_HEAD)
    n *= KV_PAGE_TOKENS;
  memset (a->y + at, 0, c * sizeof (float));
  for (int i = 0; i < n; i++) {
    int j = listed_key (a, list, i, kv_len);
    score[i] = j < 0 ? -INFINITY : score_key (a, a->q + at, pages, kv_head, j);
    n_seen += j >= 0;
  }
  if (n_seen == 0)
    return;
  cpu_softmax (score, n);
  for (int i = 0; i < n; i++) {
    int j = listed_key (a, list, i, kv_len);
    const float *value;
    if (j < 0)
      continue;
    value =
        (const float *) a->kv->v +
        cpu_kv_offset (pages[j / KV_PAGE_TOKENS], kv_head, a->n_kv_heads, c) +
        (size_t) (j % KV_PAGE_TOKENS) * c;
    for (int k = 0; k < c; k++)
      a->y[at + k] += score[i] * value[k];
  }
}

/* A task is a query head of a sequence. */
static void
attend_tasks (void *data, int from, int to, int thread)
{
  const Listed *a = data;
  for (int task = from; task < to; task++)
    if (listed_has_token (a->batch, task / a->h))
      attend_list (
          a, task / a->h, task % a->h, a->scratch + a->scratch_row * thread);
}

static void
attention_listed (Device *dev, Act *y, const Act *q, const KvLayer *kv,
    const PagedBatch *batch, const int *lists, const KeyChoice *choice, int h,
    int n_kv_heads, int c, float scale, int window)
{
  Listed a = listed_attention (
      y, q, kv, batch, lists, choice, h, n_kv_heads, c, scale, window);
  a.scratch_row = (size_t) listed_pages (batch->max_kv_len) * KV_PAGE_TOKENS;
  a.scratch =
      cpu_scratch (dev, sizeof *a.scratch * a.scratch_row * dev->n_threads);
  if (a.scratch)
    cpu_run (dev, listed_work (&a, listed_most_keys (&a)) * 2,
        batch->n_seqs * h, 1, attend_tasks, &a);
}

void
cpu_init_listed (Ops *op)
{
  op->key_scores = key_scores;
  op->attention_listed = attention_listed;
}
