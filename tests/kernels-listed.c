/* kernels-listed.c - cases of attention to chosen keys
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Tables have working memory in them, so only what counts is compared.
 */
#include "tests/kernels-attention.h"
#include "tests/kernels-cache.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

static int
pages_of (const Cache *cache, int s)
{
  return cache->page_start[s + 1] - cache->page_start[s];
}

static size_t
table_count (const Cache *cache, int h)
{
  return (size_t) cache->page_start[cache->n_seqs] * KV_PAGE_TOKENS * h;
}

static size_t
row_at (const Cache *cache, int s, int h, int row)
{
  return ((size_t) cache->page_start[s] * h +
             (size_t) pages_of (cache, s) * row) *
         KV_PAGE_TOKENS;
}

static int
candidates (const Cache *cache, int s, KeyGroup group)
{
  return group == PAGES_OF_KV_HEAD ? pages_of (cache, s) : cache->kv_len[s];
}

static int
first_seen (int kv_len, int window)
{
  return window > 0 && kv_len > window ? kv_len - window : 0;
}

static Cache
one_token_cache (Kt *kt, const int *size)
{
  Cache cache = cache_new (kt, size[0], size[1], 1, size[3], size[4]);
  cache_fill (kt, &cache);
  cache_write (kt, &cache);
  return cache;
}

/* ---- scores ---- */

/* p[kv_len]: what query head `head` of sequence s gives its keys, scores or
 * probabilities, zeros before `first`. */
static void
head_twin (double *p, const Cache *cache, const float *q, int s, int head,
    int h, int first, bool softmax)
{
  int c = cache->c, width = cache->k * c;
  const float *keys = cache->keys + (size_t) cache->first[s] * width +
                      head / (h / cache->k) * c;
  memset (p, 0, sizeof *p * cache->kv_len[s]);
  if (softmax)
    attend_twin (NULL, p + first, q, keys + (size_t) first * width, NULL,
        cache->kv_len[s] - first, width, c, 1 / sqrt (c));
  for (int j = first; j < cache->kv_len[s] && !softmax; j++)
    for (int i = 0; i < c; i++)
      p[j] += q[i] * keys[(size_t) j * width + i] / sqrt (c);
}

/* The values of one list, minus infinity as 0. */
static void
list_twin (Kt *kt, double *want, const Cache *cache, const float *q, int s,
    int row, int h, int window, KeyGroup group)
{
  int n = cache->kv_len[s], first = first_seen (n, window);
  int n_heads = group == KEYS_OF_QUERY_HEAD ? 1 : h / cache->k;
  bool softmax = group == PAGES_OF_KV_HEAD || n_heads > 1;
  double *p = kt_bytes (kt, sizeof *p * n);
  for (int i = 0; i < n_heads; i++) {
    size_t at = ((size_t) s * h + row + i) * cache->c;
    head_twin (p, cache, q + at, s, row + i, h, first, softmax);
    for (int j = 0; j < n; j++)
      want[group == PAGES_OF_KV_HEAD ? j / KV_PAGE_TOKENS : j] += p[j];
  }
}

/* The same of a device's table; what must be minus infinity is. */
static void
take_list (Kt *kt, float *got, const float *table, const Cache *cache, int s,
    int row, int h, int window, KeyGroup group)
{
  int n = candidates (cache, s, group);
  int first = first_seen (cache->kv_len[s], window);
  int size = group == PAGES_OF_KV_HEAD ? KV_PAGE_TOKENS : 1;
  for (int j = 0; j < n; j++) {
    float x = table[row_at (cache, s, h, row) + j];
    bool out = (j + 1) * size <= first;
    got[j] = out ? 0 : x;
    if (out && x != -INFINITY)
      kt_fail (kt, "key %d is out of the window, not out of the running", j);
  }
}

/* size: n_seqs, longest sequence, h, k, c, window, group */
static void
key_scores (Kt *kt, const int *size)
{
  int h = size[2], window = size[5], n_rows = 0;
  KeyGroup group = (KeyGroup) size[6];
  Cache cache = one_token_cache (kt, size);
  BatchBufs bufs =
      batch_new (kt, &cache, 0, cache.n_seqs, cache.q_len, cache.kv_len);
  size_t count = (size_t) cache.n_seqs * h * cache.c;
  const float *q = kt_uniform (kt, count, 1);
  size_t n_table = table_count (&cache, h);
  KtBuf Q = kt_acts (kt, q, count),
        S = kt_array (kt, NULL, sizeof (float) * n_table);
  kt_work (kt, 4.0 * cache.n_tokens * cache.k * cache.c,
      2.0 * cache.n_tokens * h * cache.c);
  KT_EACH (kt, dev, on)
  {
    PagedBatch batch = batch_on (&bufs, on);
    dev->op->key_scores (dev, S.on[on], Q.on[on], &cache.layer[on], &batch,
        group, h, cache.k, cache.c, 1 / sqrtf (cache.c), window);
  }
  if (kt_timing (kt))
    return;
  int step = group == KEYS_OF_QUERY_HEAD ? 1 : h / cache.k;
  int cols = cache.kv_len[0]; /* the longest */
  double *want = kt_bytes (kt, sizeof *want * cache.n_seqs * h * cols);
  float *got[2];
  KtBuf picked = kt_array (kt, NULL, sizeof (float) * cache.n_seqs * h * cols);
  for (int on = 0; on < kt_n_devices (kt); on++)
    got[on] = kt_bytes (kt, sizeof (float) * cache.n_seqs * h * cols);
  for (int s = 0; s < cache.n_seqs; s++)
    for (int row = 0; row < h; row += step, n_rows++) {
      list_twin (kt, want + (size_t) n_rows * cols, &cache, q, s, row, h,
          window, group);
      for (int on = 0; on < kt_n_devices (kt); on++)
        take_list (kt, got[on] + (size_t) n_rows * cols, kt_read (kt, &S, on),
            &cache, s, row, h, window, group);
    }
  for (int on = 0; on < kt_n_devices (kt); on++)
    device_upload (kt_device (kt, on), picked.on[on], got[on],
        sizeof (float) * cache.n_seqs * h * cols);
  kt_expect (kt, &picked, want, n_rows, cols,
      kt_device (kt, 0)->act_bytes < 4 ? 2e-2 : ATTENTION_TOLERANCE (kt));
}

/* ---- choice ---- */

typedef struct Ranked {
  float score;
  int at;
} Ranked;

static int
compare_ranked (const void *a, const void *b)
{
  const Ranked *x = a, *y = b;
  bool nan_x = isnan (x->score), nan_y = isnan (y->score);
  if (nan_x != nan_y)
    return nan_x ? -1 : 1;
  if (!nan_x && x->score != y->score)
    return x->score > y->score ? -1 : 1;
  return x->at - y->at;
}

static int
compare_ints (const void *a, const void *b)
{
  return *(const int *) a - *(const int *) b;
}

/* By sorting everything. Returns how many there are. */
static int
choose_twin (
    Kt *kt, int *list, const float *score, int n, const KeyChoice *choice)
{
  Ranked *ranked = kt_bytes (kt, sizeof *ranked * n);
  int n_old = n > choice->n_recent ? n - choice->n_recent : 0, m = 0;
  int n_best = (choice->n_most < n ? choice->n_most : n) - (n - n_old);
  for (int i = 0; i < n_old; i++)
    ranked[i] = (Ranked){ score[i], i };
  qsort (ranked, n_old, sizeof *ranked, compare_ranked);
  for (int i = 0; i < n_best; i++)
    list[m++] = ranked[i].at;
  qsort (list, m, sizeof *list, compare_ints);
  for (int i = n_old; i < n; i++)
    list[m++] = i;
  return m;
}

enum { PLAIN, EQUAL, TIES, ENDS, N_KINDS };

/* Scores of a kind; the newest are among the best half of the time. */
static void
make_scores (Kt *kt, float *score, size_t count, int kind)
{
  static const float ends[] = { INFINITY, -INFINITY, 0, -0.0f, -1, 1e38f,
    1e-40f, NAN };
  const float *x = kt_uniform (kt, count, 1);
  for (size_t i = 0; i < count; i++)
    score[i] = kind == PLAIN   ? x[i]
               : kind == EQUAL ? 0.25f
               : kind == TIES  ? roundf (3 * x[i])
                               : ends[kt_below (kt, 8)];
}

static void
check_lists (Kt *kt, const Cache *cache, const float *score, const KtBuf *L,
    int on, const KeyChoice *choice, int h)
{
  int step = choice->group == KEYS_OF_QUERY_HEAD ? 1 : h / cache->k;
  const int *lists = (const int *) (const void *) kt_read (kt, L, on);
  int *want = kt_bytes (kt, sizeof *want * cache->kv_len[0]);
  for (int s = 0; s < cache->n_seqs; s++)
    for (int row = 0; row < h; row += step) {
      size_t at = row_at (cache, s, h, row);
      int n = choose_twin (
          kt, want, score + at, candidates (cache, s, choice->group), choice);
      if (memcmp (lists + at, want, sizeof *want * n))
        kt_fail (kt, "list %d of sequence %d on device %d", row, s, on);
    }
}

/* size: n_seqs, longest sequence, h, k, n_most, n_recent, group */
static void
choose_keys (Kt *kt, const int *size)
{
  int h = size[2];
  KeyChoice choice = { (KeyGroup) size[6], size[4], size[5] };
  Cache cache = cache_new (kt, size[0], size[1], 1, size[3], 1);
  BatchBufs bufs =
      batch_new (kt, &cache, 0, cache.n_seqs, cache.q_len, cache.kv_len);
  size_t count = table_count (&cache, h);
  float *score = kt_bytes (kt, sizeof *score * count);
  kt_work (kt, 4.0 * count, 0);
  for (int kind = 0; kind < (kt_timing (kt) ? 1 : N_KINDS); kind++) {
    make_scores (kt, score, count, kind);
    KtBuf S = kt_array (kt, score, sizeof *score * count),
          L = kt_array (kt, NULL, sizeof (int) * count);
    KT_EACH (kt, dev, on)
    {
      PagedBatch batch = batch_on (&bufs, on);
      dev->op->choose_keys (
          dev, L.on[on], S.on[on], &batch, &choice, h, cache.k);
    }
    for (int on = 0; on < kt_n_devices (kt) && !kt_timing (kt); on++)
      check_lists (kt, &cache, score, &L, on, &choice, h);
  }
}

/* ---- attention ---- */

static int *
draw_lists (Kt *kt, const Cache *cache, const KeyChoice *choice, int h)
{
  size_t count = table_count (cache, h);
  const float *score = kt_uniform (kt, count, 1);
  int *lists = kt_bytes (kt, sizeof *lists * count);
  for (int s = 0; s < cache->n_seqs; s++)
    for (int row = 0; row < h; row++)
      choose_twin (kt, lists + row_at (cache, s, h, row),
          score + row_at (cache, s, h, row),
          candidates (cache, s, choice->group), choice);
  return lists;
}

/* The listed keys and values of sequence s side by side, and how many. */
static int
bring_together (Kt *kt, const Cache *cache, int s, const int *list, int n,
    bool pages, int window, float *keys, float *values)
{
  int width = cache->k * cache->c, size = pages ? KV_PAGE_TOKENS : 1, m = 0;
  int first = first_seen (cache->kv_len[s], window);
  for (int i = 0; i < n; i++)
    for (int j = list[i] * size; j < (list[i] + 1) * size; j++) {
      size_t from = ((size_t) cache->first[s] + j) * width;
      if (j < first || j >= cache->kv_len[s])
        continue;
      memcpy (
          keys + (size_t) m * width, cache->keys + from, sizeof *keys * width);
      memcpy (values + (size_t) m++ * width, cache->values + from,
          sizeof *values * width);
    }
  return m;
}

static double *
listed_twin (Kt *kt, const Cache *cache, const float *q, const int *lists,
    const KeyChoice *choice, int h, int window)
{
  int c = cache->c, width = cache->k * c, group = h / cache->k;
  size_t n_all = (size_t) cache->kv_len[0] * width;
  double *y = kt_bytes (kt, sizeof *y * cache->n_seqs * h * c);
  double *p = kt_bytes (kt, sizeof *p * cache->kv_len[0]);
  float *keys = kt_bytes (kt, sizeof *keys * n_all);
  float *values = kt_bytes (kt, sizeof *values * n_all);
  for (int s = 0; s < cache->n_seqs; s++)
    for (int head = 0; head < h; head++) {
      int row =
          choice->group == KEYS_OF_QUERY_HEAD ? head : head / group * group;
      int n = candidates (cache, s, choice->group), column = head / group * c;
      size_t at = ((size_t) s * h + head) * c;
      n = bring_together (kt, cache, s, lists + row_at (cache, s, h, row),
          n < choice->n_most ? n : choice->n_most,
          choice->group == PAGES_OF_KV_HEAD, window, keys, values);
      if (n > 0)
        attend_twin (y + at, p, q + at, keys + column, values + column, n,
            width, c, 1 / sqrt (c));
    }
  return y;
}

typedef struct Attention {
  const Cache *cache;
  const BatchBufs *bufs;
  const KeyChoice *choice;
  int h, window;
  KtBuf Q, L, Y;
} Attention;

/* With everything listed the processor's bits are those of attention_paged. */
static void
check_whole (Kt *kt, const Attention *a)
{
  Device *dev = kt_device (kt, 0);
  const Cache *cache = a->cache;
  size_t count = (size_t) cache->n_seqs * a->h * cache->c;
  PagedBatch batch = batch_on (a->bufs, 0);
  KtBuf Y = kt_acts (kt, NULL, count);
  dev->op->attention_paged (dev, Y.on[0], a->Q.on[0], &cache->layer[0], &batch,
      a->h, cache->k, cache->c, 1 / sqrtf (cache->c), a->window);
  const float *got = kt_read (kt, &a->Y, 0);
  if (memcmp (got, kt_read (kt, &Y, 0), sizeof *got * count))
    kt_fail (kt, "differs from attention to all keys");
}

/* A sequence has the same bits alone; what stands in the others' tables is
 * not read. */
static void
check_alone (Kt *kt, const Attention *a)
{
  Device *dev = kt_device (kt, 0);
  const Cache *cache = a->cache;
  size_t d = (size_t) a->h * cache->c;
  for (int s = 0; s < cache->n_seqs; s++) {
    BatchBufs bufs =
        batch_new (kt, cache, s, 1, &cache->q_len[s], &cache->kv_len[s]);
    PagedBatch batch = batch_on (&bufs, 0);
    KtBuf alone = kt_acts (kt, NULL, d);
    dev->op->attention_listed (dev, alone.on[0],
        act_at (dev, a->Q.on[0], s * d), &cache->layer[0], &batch,
        (const int *) a->L.on[0] + row_at (cache, s, a->h, 0), a->choice, a->h,
        cache->k, cache->c, 1 / sqrtf (cache->c), a->window);
    const float *got = kt_read (kt, &alone, 0);
    if (memcmp (got, kt_read (kt, &a->Y, 0) + s * d, sizeof *got * d))
      kt_fail (kt, "sequence %d differs when alone", s);
  }
}

/* size: n_seqs, longest sequence, h, k, c, window, 8 n_most + group */
static void
attention_listed (Kt *kt, const int *size)
{
  int h = size[2], window = size[5];
  KeyChoice choice = { (KeyGroup) (size[6] % 8), size[6] / 8, 1 };
  Cache cache = one_token_cache (kt, size);
  BatchBufs bufs =
      batch_new (kt, &cache, 0, cache.n_seqs, cache.q_len, cache.kv_len);
  size_t count = (size_t) cache.n_seqs * h * cache.c;
  const float *q = kt_uniform (kt, count, 1);
  int *lists = draw_lists (kt, &cache, &choice, h);
  double n_keys = choice.n_most * (choice.group == PAGES_OF_KV_HEAD ? 64 : 1);
  Attention a = { &cache, &bufs, &choice, h, window, kt_acts (kt, q, count),
    kt_array (kt, lists, sizeof *lists * table_count (&cache, h)),
    kt_acts (kt, NULL, count) };
  kt_work (kt, 8.0 * cache.n_seqs * n_keys * cache.k * cache.c,
      4.0 * cache.n_seqs * n_keys * h * cache.c);
  KT_EACH (kt, dev, on)
  {
    PagedBatch batch = batch_on (&bufs, on);
    dev->op->attention_listed (dev, a.Y.on[on], a.Q.on[on], &cache.layer[on],
        &batch, a.L.on[on], &choice, h, cache.k, cache.c, 1 / sqrtf (cache.c),
        window);
  }
  if (kt_timing (kt))
    return;
  kt_expect (kt, &a.Y, listed_twin (kt, &cache, q, lists, &choice, h, window),
      cache.n_seqs * h, cache.c, ATTENTION_TOLERANCE (kt));
  check_alone (kt, &a);
  if (n_keys >= cache.kv_len[0] &&
      strncmp (kt_device (kt, 0)->name, "cuda", 4) != 0)
    check_whole (kt, &a);
}

#define ALL(group) (8 * 1000 + group)

const KtCase kt_cases_listed[] = {
  { KT_SLOT (key_scores), key_scores, true,
      .sizes = { { 1, 1, 1, 1, 1, 0, 0 }, { 3, 64, 4, 1, 32, 0, 0 },
          { 4, 200, 4, 2, 64, 0, 1 }, { 2, 130, 2, 2, 128, 50, 0 },
          { 3, 150, 6, 3, 24, 70, 0 }, { 3, 150, 8, 1, 7, 0, 0 },
          { 3, 200, 4, 4, 80, 0, 2 }, { 3, 200, 6, 2, 24, 90, 2 },
          { 2, 130, 4, 2, 120, 64, 1 } },
      .benches = { { 1, 2928, 32, 32, 128, 0, 0 },
          { 1, 2928, 32, 8, 128, 0, 0 }, { 1, 2928, 32, 32, 128, 0, 2 },
          { 1, 32768, 32, 8, 128, 0, 2 } } },
  { KT_SLOT (choose_keys), choose_keys, false,
      .sizes = { { 1, 1, 1, 1, 1, 0, 0 }, { 1, 2, 2, 1, 1, 1, 0 },
          { 2, 63, 2, 1, 64, 1, 0 }, { 1, 64, 1, 1, 64, 1, 1 },
          { 1, 65, 2, 2, 64, 1, 1 }, { 1, 257, 1, 1, 17, 0, 1 },
          { 1, 257, 2, 1, 256, 5, 0 }, { 1, 3000, 1, 1, 64, 64, 0 },
          { 1, 3000, 1, 1, 600, 1, 0 }, { 2, 3000, 2, 1, 9, 1, 2 },
          { 2, 70, 2, 1, 1, 1, 2 } },
      .benches = { { 1, 2928, 32, 32, 256, 1, 0 },
          { 1, 32768, 32, 32, 256, 1, 0 }, { 1, 32768, 32, 32, 4, 1, 2 } } },
  { KT_SLOT (attention_listed), attention_listed, true,
      .sizes = { { 1, 1, 1, 1, 1, 0, 8 }, { 3, 64, 4, 1, 32, 0, 80 },
          { 4, 200, 4, 2, 64, 0, 8 * 65 + 1 }, { 2, 300, 2, 2, 128, 90, 800 },
          { 3, 150, 6, 3, 24, 70, 8 * 64 }, { 3, 150, 50, 1, 8, 0, 8 * 33 },
          { 3, 200, 4, 4, 80, 0, 8 * 2 + 2 },
          { 3, 300, 6, 2, 24, 90, 8 * 3 + 2 }, { 3, 200, 4, 2, 64, 0, ALL (0) },
          { 3, 200, 4, 2, 40, 0, ALL (1) }, { 3, 200, 4, 2, 64, 70, ALL (2) },
          { 2, 130, 2, 2, 7, 0, ALL (0) }, { 2, 130, 2, 2, 70, 0, 8 * 80 },
          { 2, 130, 4, 2, 70, 90, 8 * 80 }, { 2, 130, 4, 2, 160, 0, 8 * 80 },
          { 2, 130, 2, 2, 160, 0, 8 * 80 }, { 2, 130, 4, 2, 128, 0, 8 * 80 } },
      .benches = { { 1, 2928, 32, 32, 128, 0, 8 * 256 },
          { 1, 32768, 32, 8, 128, 0, 8 * 256 },
          { 1, 32768, 32, 8, 128, 0, 8 * 256 + 1 },
          { 1, 32768, 32, 8, 128, 0, 8 * 4 + 2 },
          { 1, 32768, 32, 8, 128, 0, 8 * 52 + 2 },
          { 1, 32768, 32, 8, 128, 0, 8 * 3277 } } },
  { NULL },
};
