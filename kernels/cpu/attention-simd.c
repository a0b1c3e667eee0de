/* attention-simd.c - encoder and paged attention, once per vector level
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#include "kernels/cpu/attend-simd.h"

#include "kernels/cpu/cpu.h"
#include "kernels/cpu/variants.h"

#include <string.h>

static int
at_most (int n, int bound)
{
  return n < bound ? n : bound;
}

static int
pages_of (int n_keys)
{
  return (n_keys + KV_PAGE_TOKENS - 1) / KV_PAGE_TOKENS;
}

/* ---- encoder ---- */

/* One head of one tile, brought into the form of cache pages, but for values
 * that are padded to whole panels. */
typedef struct Head {
  const float *k, *v; /* rows `stride` apart */
  int n_keys, stride, c, padded_c;
  float *k_pages, *v_pages;
} Head;

/* Keys past the last and channels past c are zeros. */
static void
pack_head (const Head *head)
{
  int n = pages_of (head->n_keys) * KV_PAGE_TOKENS, c = head->c;
  if (n > head->n_keys)
    memset (head->k_pages, 0, sizeof (float) * n * c);
  if (n > head->n_keys || head->padded_c > c)
    memset (head->v_pages, 0, sizeof (float) * n * head->padded_c);
  for (int key = 0; key < head->n_keys; key++) {
    const float *k = head->k + (size_t) key * head->stride;
    float *to = head->k_pages + cpu_key_offset (key, c);
    for (int j = 0; j < c; j++)
      to[j * KEY_PANEL] = k[j];
    memcpy (head->v_pages + (size_t) key * head->padded_c,
        head->v + (size_t) key * head->stride, c * sizeof (float));
  }
}

static void
attend_tile (const Head *head, Attend *a, float *y, const float *q, int n)
{
  for (int from = 0; from < n; from += ATTEND_ROWS) {
    size_t at = (size_t) from * head->stride;
    a->n = at_most (n - from, ATTEND_ROWS);
    for (int i = 0; i < a->n; i++)
      attend_row (
          a, i, a->n, q + at + (size_t) i * head->stride, 0, head->n_keys - 1);
    for (int key = 0; key < head->n_keys; key += KV_PAGE_TOKENS)
      attend_page (a, head->k_pages + (size_t) key * head->c,
          head->v_pages + (size_t) key * head->padded_c, key, head->n_keys);
    for (int i = 0; i < a->n; i++)
      attend_result (a, i, y + at + (size_t) i * head->stride);
  }
}

typedef struct Tiles {
  float *y;
  const float *q, *k, *v;
  const int *q_start;
  int n_keys, h, c;
  float scale;
  float *scratch;          /* of each thread: */
  size_t n_packed, n_each; /* floats of a packed operand, of all */
} Tiles;

/* A task is one head of one tile. */
static void
attention_tiles_tasks (void *data, int from, int to, int thread)
{
  const Tiles *tiles = data;
  int n_keys = tiles->n_keys, h = tiles->h, c = tiles->c, d = h * c;
  int padded_c = attend_padded (c);
  float *memory = tiles->scratch + tiles->n_each * thread;
  Attend a;
  attend_init (&a, memory + 2 * tiles->n_packed, c, padded_c, tiles->scale);
  for (int task = from; task < to; task++) {
    int tile = task / h, first = tiles->q_start[tile];
    int n = tiles->q_start[tile + 1] - first;
    size_t column = (size_t) (task % h) * c, rows = (size_t) first * d + column;
    size_t keys = (size_t) tile * n_keys * d + column;
    Head head = { tiles->k + keys, tiles->v + keys, n_keys, d, c, padded_c,
      memory, memory + tiles->n_packed };
    if (n == 0)
      continue;
    pack_head (&head);
    attend_tile (&head, &a, tiles->y + rows, tiles->q + rows, n);
  }
}

static void
attention_tiles (Device *dev, Act *y, const Act *q, const Act *k, const Act *v,
    const int *q_start, int n_q, int t, int n_keys, int h, int c, float scale)
{
  Tiles tiles = { y, q, k, v, q_start, n_keys, h, c, scale, NULL, 0, 0 };
  tiles.n_packed =
      (size_t) pages_of (n_keys) * KV_PAGE_TOKENS * attend_padded (c);
  tiles.n_each = 2 * tiles.n_packed + attend_floats (c);
  tiles.scratch =
      cpu_scratch (dev, sizeof (float) * tiles.n_each * dev->n_threads);
  if (tiles.scratch)
    cpu_run (dev, (size_t) n_q * n_keys * h * c * 2, t * h, 1,
        attention_tiles_tasks, &tiles);
}

/* ---- the class token's row ---- */

SIMD_INLINE float
dot (const float *a, const float *b, int n)
{
  vf sum = vf_set1 (0);
  int i = 0;
  for (; i + SIMD_LANES <= n; i += SIMD_LANES)
    sum = vf_fma (vf_load (a + i), vf_load (b + i), sum);
  if (i < n)
    sum = vf_fma (vf_load_n (a + i, n - i), vf_load_n (b + i, n - i), sum);
  return vf_sum (sum);
}

static void
softmax (float *x, int n)
{
  float max = x[0], sum = 0;
  for (int i = 1; i < n; i++)
    max = x[i] > max ? x[i] : max;
  vf total = vf_set1 (0);
  for (int i = 0; i < n; i += SIMD_LANES) {
    vf p = vf_exp_down (vf_sub (vf_load_n (x + i, n - i), vf_set1 (max)));
    vf_store_n (x + i, n - i, p);
    total = vf_add (total, vf_load_n (x + i, n - i));
  }
  sum = vf_sum (total);
  for (int i = 0; i < n; i += SIMD_LANES)
    vf_store_n (x + i, n - i, vf_div (vf_load_n (x + i, n - i), vf_set1 (sum)));
}

typedef struct Cls {
  float *p; /* [t,h,N+1] */
  const float *q, *k;
  int n_keys, h, c;
  float scale;
} Cls;

/* A task is one head of one tile. */
static void
cls_attention_tasks (void *data, int from, int to, int thread)
{
  const Cls *a = data;
  int n_keys = a->n_keys, c = a->c;
  size_t d = (size_t) a->h * c;
  for (int task = from; task < to; task++) {
    int tile = task / a->h;
    size_t column = (size_t) (task % a->h) * c;
    const float *query = a->q + tile * d + column;
    const float *key = a->k + (size_t) tile * n_keys * d + column;
    float *row = a->p + (size_t) task * n_keys;
    for (int j = 0; j < n_keys; j++)
      row[j] = a->scale * dot (query, key + j * d, c);
    softmax (row, n_keys);
  }
}

static void
cls_attention (Device *dev, float *score, const float *q, const float *k, int t,
    int N, int h, int c, float scale)
{
  size_t n_keys = N + 1;
  float *p = cpu_scratch (dev, sizeof *p * t * h * n_keys);
  Cls a = { p, q, k, N + 1, h, c, scale };
  if (!p)
    return;
  cpu_run (dev, t * n_keys * h * c, t * h, 0, cls_attention_tasks, &a);
  for (int tile = 0; tile < t; tile++)
    for (int j = 0; j < N; j++) {
      float sum = 0;
      for (int head = 0; head < h; head++)
        sum += p[((size_t) tile * h + head) * n_keys + 1 + j];
      score[(size_t) tile * N + j] = sum;
    }
}

/* ---- paged cache ---- */

/* Up to ATTEND_ROWS queries of one sequence that read one key head: the heads
 * of its group, token after token. */
typedef struct Span {
  int seq, kv_head, from, n; /* rows from .. from+n-1 of tokens x group */
} Span;

typedef struct Paged {
  float *y;
  const float *q;
  const KvLayer *kv;
  const PagedBatch *batch;
  int h, n_kv_heads, c, window;
  float scale;
  int n_tasks;
  float *scratch; /* attend_floats(c) of each thread */
} Paged;

static void
attend_span (const Paged *paged, const Span *span, Attend *a)
{
  const PagedBatch *batch = paged->batch;
  int h = paged->h, c = paged->c, window = paged->window;
  int group = h / paged->n_kv_heads;
  int end = batch->kv_len[span->seq], start = batch->q_start[span->seq];
  int n_tokens = batch->q_start[span->seq + 1] - start;
  size_t at[ATTEND_ROWS];
  a->n = span->n;
  for (int i = 0; i < span->n; i++) {
    int token = (span->from + i) / group, head = (span->from + i) % group;
    int last = end - n_tokens + token;
    at[i] = ((size_t) (start + token) * h + span->kv_head * group + head) * c;
    attend_row (a, i, span->n, paged->q + at[i],
        window > 0 && last >= window ? last - window + 1 : 0, last);
  }
  const int *pages = batch->pages + batch->page_start[span->seq];
  int first = a->first[0] / KV_PAGE_TOKENS;
  for (int page = first; page * KV_PAGE_TOKENS <= a->last[span->n - 1];
       page++) {
    size_t offset =
        cpu_kv_offset (pages[page], span->kv_head, paged->n_kv_heads, c);
    attend_page (a, (const float *) paged->kv->k + offset,
        (const float *) paged->kv->v + offset, page * KV_PAGE_TOKENS,
        a->last[span->n - 1] + 1);
  }
  for (int i = 0; i < span->n; i++)
    attend_result (a, i, paged->y + at[i]);
}

static int
spans_of (const PagedBatch *batch, int seq, int group)
{
  int rows = (batch->q_start[seq + 1] - batch->q_start[seq]) * group;
  return (rows + ATTEND_ROWS - 1) / ATTEND_ROWS;
}

static Span
find_span (const PagedBatch *batch, int task, int n_kv_heads, int group)
{
  Span span = { 0 };
  while (task >= spans_of (batch, span.seq, group) * n_kv_heads)
    task -= spans_of (batch, span.seq++, group) * n_kv_heads;
  int seq = span.seq;
  int rows = (batch->q_start[seq + 1] - batch->q_start[seq]) * group;
  span.kv_head = task % n_kv_heads;
  span.from = task / n_kv_heads * ATTEND_ROWS;
  span.n = at_most (rows - span.from, ATTEND_ROWS);
  return span;
}

static void
attention_paged_tasks (void *data, int from, int to, int thread)
{
  const Paged *paged = data;
  int group = paged->h / paged->n_kv_heads;
  Attend a;
  attend_init (&a, paged->scratch + attend_floats (paged->c) * thread, paged->c,
      paged->c, paged->scale);
  for (int task = from; task < to; task++) {
    /* the last queries first: they have the most keys */
    Span span = find_span (
        paged->batch, paged->n_tasks - 1 - task, paged->n_kv_heads, group);
    attend_span (paged, &span, &a);
  }
}

static void
attention_paged (Device *dev, Act *y, const Act *q, const KvLayer *kv,
    const PagedBatch *batch, int h, int n_kv_heads, int c, float scale,
    int window)
{
  Paged paged = { y, q, kv, batch, h, n_kv_heads, c, window, scale, 0, NULL };
  for (int seq = 0; seq < batch->n_seqs; seq++)
    paged.n_tasks += spans_of (batch, seq, h / n_kv_heads) * n_kv_heads;
  paged.scratch =
      cpu_scratch (dev, sizeof (float) * attend_floats (c) * dev->n_threads);
  if (paged.scratch)
    cpu_run (dev, (size_t) batch->n * batch->max_kv_len * h * c * 2,
        paged.n_tasks, 1, attention_paged_tasks, &paged);
}

void
SIMD_NAME (cpu_init_attention) (Ops *op)
{
  op->attention_tiles = attention_tiles;
  op->cls_attention = cls_attention;
  op->attention_paged = attention_paged;
}
