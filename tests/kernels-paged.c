/* kernels-paged.c - cases of attention over the paged cache
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * How a page is laid out is the backend's, so the cache is only written by
 * kv_write and only read by attention_paged. It starts as NaN: whatever is
 * read beyond a sequence's end shows.
 */
#include "tests/kernels-attention.h"

#include <math.h>
#include <string.h>

/* Sequences on the host and the cache that holds them on each device. */
typedef struct Cache {
  int n_seqs, n_tokens, k, c;  /* n_tokens: of all sequences together */
  int *kv_len, *q_len, *first; /* first token of each in keys, values */
  int *page_start, *pages, *slots;
  const float *keys, *values; /* [n_tokens,k*c] */
  KtBuf K, V;
  KvLayer layer[2];
} Cache;

static void
number_pages (Kt *kt, Cache *cache)
{
  int n_pages = cache->page_start[cache->n_seqs];
  for (int i = 0; i < n_pages; i++)
    cache->pages[i] = i;
  for (int i = n_pages - 1; i > 0; i--) {
    int j = kt_below (kt, i + 1), page = cache->pages[j];
    cache->pages[j] = cache->pages[i];
    cache->pages[i] = page;
  }
  for (int s = 0; s < cache->n_seqs; s++)
    for (int i = 0; i < cache->kv_len[s]; i++)
      cache->slots[cache->first[s] + i] =
          cache->pages[cache->page_start[s] + i / KV_PAGE_TOKENS] *
              KV_PAGE_TOKENS +
          i % KV_PAGE_TOKENS;
}

/* max_len and a few shorter sequences; of each the last q_len are queried. */
static Cache
cache_new (Kt *kt, int n_seqs, int max_len, int max_q, int k, int c)
{
  Cache cache = { .n_seqs = n_seqs, .k = k, .c = c };
  int *at = kt_bytes (kt, sizeof *at * 6 * (n_seqs + 1));
  cache.kv_len = at;
  cache.q_len = at + (n_seqs + 1);
  cache.first = at + 2 * (n_seqs + 1);
  cache.page_start = at + 3 * (n_seqs + 1);
  for (int s = 0; s < n_seqs; s++) {
    bool whole = s == 0 || kt_timing (kt);
    int length = whole ? max_len : 1 + kt_below (kt, max_len);
    cache.kv_len[s] = length;
    cache.q_len[s] = s == 1 ? 1 : length < max_q ? length : max_q;
    cache.first[s + 1] = cache.first[s] + length;
    cache.page_start[s + 1] =
        cache.page_start[s] + (length + KV_PAGE_TOKENS - 1) / KV_PAGE_TOKENS;
  }
  cache.n_tokens = cache.first[n_seqs];
  cache.slots = kt_bytes (kt, sizeof *cache.slots * cache.n_tokens);
  cache.pages = kt_bytes (kt, sizeof *cache.pages * cache.page_start[n_seqs]);
  number_pages (kt, &cache);
  return cache;
}

static void
cache_fill (Kt *kt, Cache *cache)
{
  size_t width = (size_t) cache->k * cache->c;
  size_t count = cache->page_start[cache->n_seqs] * KV_PAGE_TOKENS * width;
  float *nothing = kt_bytes (kt, sizeof *nothing * count);
  for (size_t i = 0; i < count; i++)
    nothing[i] = NAN;
  cache->keys = kt_values (kt, cache->n_tokens * width);
  cache->values = kt_uniform (kt, cache->n_tokens * width, 1);
  cache->K = kt_acts (kt, nothing, count);
  cache->V = kt_acts (kt, nothing, count);
  for (int on = 0; on < kt_n_devices (kt); on++)
    cache->layer[on] = (KvLayer){ cache->K.on[on], cache->V.on[on],
      cache->page_start[cache->n_seqs] };
}

/* The arrays of a batch on each device. */
typedef struct BatchBufs {
  KtBuf q_start, kv_len, page_start, pages, slots;
  PagedBatch host;
} BatchBufs;

static PagedBatch
batch_on (const BatchBufs *bufs, int on)
{
  PagedBatch batch = bufs->host;
  batch.q_start = bufs->q_start.on[on];
  batch.kv_len = bufs->kv_len.on[on];
  batch.page_start = bufs->page_start.on[on];
  batch.pages = bufs->pages.on[on];
  batch.slots = bufs->slots.on[on];
  return batch;
}

/* A batch of sequences s .. s+n_seqs-1 with q_len[] tokens each, of which
 * the last `back` tokens are still to come. */
static BatchBufs
batch_new (Kt *kt, const Cache *cache, int s, int n_seqs, const int *q_len,
    const int *kv_len)
{
  int *q_start = kt_bytes (kt, sizeof *q_start * (n_seqs + 1)), n = 0;
  int *page_start = kt_bytes (kt, sizeof *page_start * (n_seqs + 1));
  int *slots = kt_bytes (kt, sizeof *slots * cache->n_tokens);
  BatchBufs bufs = { .host = { .n_seqs = n_seqs } };
  for (int i = 0; i < n_seqs; i++) {
    for (int j = kv_len[i] - q_len[i]; j < kv_len[i]; j++)
      slots[n++] = cache->slots[cache->first[s + i] + j];
    q_start[i + 1] = n;
    page_start[i + 1] = cache->page_start[s + i + 1] - cache->page_start[s];
    if (kv_len[i] > bufs.host.max_kv_len)
      bufs.host.max_kv_len = kv_len[i];
    if (q_len[i] > bufs.host.max_q_len)
      bufs.host.max_q_len = q_len[i];
  }
  bufs.host.n = n;
  bufs.q_start = kt_array (kt, q_start, sizeof (int) * (n_seqs + 1));
  bufs.kv_len = kt_array (kt, kv_len, sizeof (int) * n_seqs);
  bufs.page_start = kt_array (kt, page_start, sizeof (int) * (n_seqs + 1));
  bufs.pages = kt_array (kt, cache->pages + cache->page_start[s],
      sizeof (int) * page_start[n_seqs]);
  bufs.slots = kt_array (kt, slots, sizeof (int) * n);
  return bufs;
}

static void
write_all (Kt *kt, Cache *cache)
{
  size_t count = (size_t) cache->n_tokens * cache->k * cache->c;
  BatchBufs bufs =
      batch_new (kt, cache, 0, cache->n_seqs, cache->kv_len, cache->kv_len);
  KtBuf K = kt_acts (kt, cache->keys, count),
        V = kt_acts (kt, cache->values, count);
  kt_work (kt, 16.0 * count, 0);
  KT_EACH (kt, dev, on)
  {
    PagedBatch batch = batch_on (&bufs, on);
    dev->op->kv_write (
        dev, &cache->layer[on], K.on[on], V.on[on], &batch, cache->k, cache->c);
  }
}

/* A sequence of one token attends to itself alone: y = v exactly. */
void
kv_write_case (Kt *kt, const int *size)
{
  int n = size[0], k = size[1], c = size[2];
  Cache cache = kt_timing (kt) ? cache_new (kt, 1, n, 1, k, c)
                               : cache_new (kt, n, 1, 1, k, c);
  cache_fill (kt, &cache);
  write_all (kt, &cache);
  if (kt_timing (kt) || kt_fill (kt) == KT_NAN)
    return;
  size_t count = (size_t) n * k * c;
  BatchBufs bufs = batch_new (kt, &cache, 0, n, cache.q_len, cache.kv_len);
  KtBuf Q = kt_acts (kt, kt_uniform (kt, count, 1), count),
        Y = kt_acts (kt, NULL, count);
  KT_EACH (kt, dev, on)
  {
    PagedBatch batch = batch_on (&bufs, on);
    dev->op->attention_paged (
        dev, Y.on[on], Q.on[on], &cache.layer[on], &batch, k, k, c, 1, 0);
  }
  kt_expect_same (kt, &Y, cache.values);
}

static double *
paged_twin (
    Kt *kt, const Cache *cache, const float *q, int h, int window, double scale)
{
  int c = cache->c, width = cache->k * c, row = 0;
  double *y = kt_bytes (kt, sizeof *y * cache->n_tokens * h * c);
  double *p = kt_bytes (kt, sizeof *p * cache->n_tokens);
  for (int s = 0; s < cache->n_seqs; s++)
    for (int i = 0; i < cache->q_len[s]; i++, row++) {
      int position = cache->kv_len[s] - cache->q_len[s] + i;
      int first = window && position >= window ? position - window + 1 : 0;
      for (int head = 0; head < h; head++) {
        size_t at = (size_t) (cache->first[s] + first) * width +
                    head / (h / cache->k) * c;
        size_t to = ((size_t) row * h + head) * c;
        attend_twin (y + to, p, q + to, cache->keys + at, cache->values + at,
            position - first + 1, width, c, scale);
      }
    }
  return y;
}

/* A sequence's results are the same bits alone and among others, on any
 * device. */
static void
check_sequences (Kt *kt, const Cache *cache, const KtBuf *Q, const KtBuf *Y,
    int h, float scale, int window)
{
  Device *dev = kt_device (kt, 0);
  int row = 0, d = h * cache->c;
  for (int s = 0; s < cache->n_seqs; row += cache->q_len[s++]) {
    size_t count = (size_t) cache->q_len[s] * d;
    BatchBufs bufs =
        batch_new (kt, cache, s, 1, &cache->q_len[s], &cache->kv_len[s]);
    PagedBatch batch = batch_on (&bufs, 0);
    KtBuf alone = kt_acts (kt, NULL, count);
    dev->op->attention_paged (dev, alone.on[0],
        act_at (dev, Q->on[0], (size_t) row * d), &cache->layer[0], &batch, h,
        cache->k, cache->c, scale, window);
    const float *got = kt_read (kt, &alone, 0);
    if (memcmp (
            got, kt_read (kt, Y, 0) + (size_t) row * d, sizeof *got * count))
      kt_fail (kt, "sequence %d differs when alone", s);
  }
}

/* On the processor even a token's result is. */
static void
check_alone (Kt *kt, const Cache *cache, const KtBuf *Q, const KtBuf *Y, int h,
    float scale, int window)
{
  Device *dev = kt_device (kt, 0);
  int row = 0, d = h * cache->c, one = 1;
  for (int s = 0; s < cache->n_seqs; s++)
    for (int i = 0; i < cache->q_len[s]; i++, row++) {
      if (i % 37 && i != cache->q_len[s] - 1)
        continue;
      int length = cache->kv_len[s] - cache->q_len[s] + i + 1;
      BatchBufs bufs = batch_new (kt, cache, s, 1, &one, &length);
      PagedBatch batch = batch_on (&bufs, 0);
      KtBuf alone = kt_acts (kt, NULL, d);
      dev->op->attention_paged (dev, alone.on[0],
          act_at (dev, Q->on[0], (size_t) row * d), &cache->layer[0], &batch, h,
          cache->k, cache->c, scale, window);
      const float *got = kt_read (kt, &alone, 0);
      if (memcmp (got, kt_read (kt, Y, 0) + (size_t) row * d, sizeof *got * d))
        kt_fail (kt, "token %d of sequence %d differs when alone", i, s);
    }
}

/* size: n_seqs, longest sequence, h, k, c, window, most queries of one */
void
attention_paged_case (Kt *kt, const int *size)
{
  int h = size[2], k = size[3], c = size[4], window = size[5];
  Cache cache = cache_new (kt, size[0], size[1], size[6] ? size[6] : 100, k, c);
  cache_fill (kt, &cache);
  write_all (kt, &cache);
  BatchBufs bufs =
      batch_new (kt, &cache, 0, cache.n_seqs, cache.q_len, cache.kv_len);
  size_t count = (size_t) bufs.host.n * h * c;
  const float *q = kt_uniform (kt, count, 1);
  float scale = 1 / sqrtf (c);
  double scores = 0;
  for (int s = 0; s < cache.n_seqs; s++)
    scores += cache.q_len[s] * (cache.kv_len[s] - cache.q_len[s] / 2.0);
  KtBuf Q = kt_acts (kt, q, count), Y = kt_acts (kt, NULL, count);
  kt_work (kt, 8.0 * cache.n_tokens * k * c, 4.0 * scores * h * c);
  KT_EACH (kt, dev, on)
  {
    PagedBatch batch = batch_on (&bufs, on);
    dev->op->attention_paged (dev, Y.on[on], Q.on[on], &cache.layer[on], &batch,
        h, k, c, scale, window);
  }
  if (kt_timing (kt))
    return;
  double *want = paged_twin (kt, &cache, q, h, window, scale);
  kt_expect (kt, &Y, want, bufs.host.n * h, c, ATTENTION_TOLERANCE (kt));
  check_sequences (kt, &cache, &Q, &Y, h, scale, window);
  if (strncmp (kt_device (kt, 0)->name, "cuda", 4))
    check_alone (kt, &cache, &Q, &Y, h, scale, window);
}

/* The last query of each sequence and half of its keys; size as above. */
void
key_attention_case (Kt *kt, const int *size)
{
  int h = size[2], k = size[3], c = size[4], d = h * c, least = size[1];
  Cache cache = cache_new (kt, size[0], size[1], 1, k, c);
  cache_fill (kt, &cache);
  write_all (kt, &cache);
  for (int s = 0; s < cache.n_seqs; s++)
    least = cache.kv_len[s] < least ? cache.kv_len[s] : least;
  int count = least > 1 ? least / 2 : 1;
  int *first = kt_bytes (kt, sizeof *first * cache.n_seqs);
  for (int s = 0; s < cache.n_seqs; s++)
    first[s] = kt_below (kt, cache.kv_len[s] - count + 1);
  BatchBufs bufs =
      batch_new (kt, &cache, 0, cache.n_seqs, cache.q_len, cache.kv_len);
  const float *q = kt_uniform (kt, (size_t) cache.n_seqs * d, 1);
  float scale = 1 / sqrtf (c);
  KtBuf Q = kt_acts (kt, q, (size_t) cache.n_seqs * d),
        F = kt_array (kt, first, sizeof *first * cache.n_seqs),
        S = kt_array (kt, NULL, sizeof (float) * cache.n_seqs * count);
  kt_work (kt, 4.0 * cache.n_tokens * k * c, 2.0 * cache.n_tokens * d);
  KT_EACH (kt, dev, on)
  {
    PagedBatch batch = batch_on (&bufs, on);
    dev->op->key_attention (dev, S.on[on], Q.on[on], &cache.layer[on], &batch,
        F.on[on], count, h, k, c, scale);
  }
  if (kt_timing (kt))
    return;
  double *want = kt_bytes (kt, sizeof *want * cache.n_seqs * count);
  double *p = kt_bytes (kt, sizeof *p * size[1]);
  for (int s = 0; s < cache.n_seqs; s++)
    for (int head = 0; head < h; head++) {
      attend_twin (NULL, p, q + ((size_t) s * h + head) * c,
          cache.keys + (size_t) cache.first[s] * k * c + head / (h / k) * c,
          NULL, cache.kv_len[s], k * c, c, scale);
      for (int j = 0; j < count; j++)
        want[s * count + j] += p[first[s] + j];
    }
  kt_expect (kt, &S, want, cache.n_seqs, count, ATTENTION_TOLERANCE (kt));
}
