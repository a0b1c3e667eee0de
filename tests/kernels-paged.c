/* kernels-paged.c - cases of attention over the paged cache
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#include "tests/kernels-attention.h"
#include "tests/kernels-cache.h"

#include <math.h>
#include <string.h>

/* A sequence of one token attends to itself alone: y = v exactly. */
void
kv_write_case (Kt *kt, const int *size)
{
  int n = size[0], k = size[1], c = size[2];
  Cache cache = kt_timing (kt) ? cache_new (kt, 1, n, 1, k, c)
                               : cache_new (kt, n, 1, 1, k, c);
  cache_fill (kt, &cache);
  cache_write (kt, &cache);
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
  cache_write (kt, &cache);
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
  /* The mean of many values is little to compare with. */
  double many = fmax (1, sqrt (size[1] / 600.0));
  kt_expect (kt, &Y, want, bufs.host.n * h, c, many * ATTENTION_TOLERANCE (kt));
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
  cache_write (kt, &cache);
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
