/* kernels-cache.c - a paged cache of several sequences, for the cases
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#include "tests/kernels-cache.h"

#include <math.h>

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

Cache
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

/* Keys from those that are given: pairs by quarter turns, which round nothing,
 * so that what keys are stored as is known. */
static void
rotate_keys (Kt *kt, Cache *cache)
{
  int c = cache->c, half = c / 2;
  size_t count = (size_t) cache->n_tokens * c;
  float *keys = kt_bytes (kt, sizeof *keys * count * cache->k);
  float *table = kt_bytes (kt, sizeof *table * count);
  for (int i = 0; i < cache->n_tokens; i++)
    for (int j = 0; j < half; j++) {
      float *cosine = &table[i * c + j], *sine = cosine + half;
      int turn = kt_below (kt, 4);
      *cosine = turn == 0 ? 1 : turn == 2 ? -1 : 0;
      *sine = turn == 1 ? 1 : turn == 3 ? -1 : 0;
      for (int head = 0; head < cache->k; head++) {
        size_t at = ((size_t) i * cache->k + head) * c + j;
        float a = cache->given[at], b = cache->given[at + half];
        keys[at] = a * *cosine - b * *sine;
        keys[at + half] = b * *cosine + a * *sine;
      }
    }
  cache->keys = keys;
  cache->table = table;
}

void
cache_fill (Kt *kt, Cache *cache)
{
  size_t width = (size_t) cache->k * cache->c;
  size_t count = cache->page_start[cache->n_seqs] * KV_PAGE_TOKENS * width;
  float *nothing = kt_bytes (kt, sizeof *nothing * count);
  for (size_t i = 0; i < count; i++)
    nothing[i] = NAN;
  cache->given = kt_held (
      kt, kt_values (kt, cache->n_tokens * width), cache->n_tokens * width);
  cache->keys = cache->given;
  cache->table = NULL;
  if (cache->c % 2 == 0)
    rotate_keys (kt, cache);
  cache->values = kt_uniform (kt, cache->n_tokens * width, 1);
  cache->K = kt_acts (kt, nothing, count);
  cache->V = kt_acts (kt, nothing, count);
  for (int on = 0; on < kt_n_devices (kt); on++)
    cache->layer[on] = (KvLayer){ cache->K.on[on], cache->V.on[on],
      cache->page_start[cache->n_seqs] };
}

PagedBatch
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

BatchBufs
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

void
cache_write (Kt *kt, Cache *cache)
{
  size_t count = (size_t) cache->n_tokens * cache->k * cache->c;
  BatchBufs bufs =
      batch_new (kt, cache, 0, cache->n_seqs, cache->kv_len, cache->kv_len);
  KtBuf K = kt_residual (kt, cache->given, count),
        V = kt_acts (kt, cache->values, count), T = { 0 };
  if (cache->table)
    T = kt_array (
        kt, cache->table, sizeof (float) * cache->n_tokens * cache->c);
  kt_work (kt, 16.0 * count, 0);
  KT_EACH (kt, dev, on)
  {
    PagedBatch batch = batch_on (&bufs, on);
    dev->op->kv_write (dev, &cache->layer[on], K.on[on], T.on[on], V.on[on],
        &batch, cache->k, cache->c);
  }
}
