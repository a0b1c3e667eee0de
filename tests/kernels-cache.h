/* kernels-cache.h - a paged cache of several sequences, for the cases
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * How a page is laid out is the backend's, so the cache is only written by
 * kv_write. It starts as NaN: whatever is read beyond a sequence's end shows.
 */
#pragma once

#include "tests/kernels.h"

/* Sequences on the host and the cache that holds them on each device. */
typedef struct Cache {
  int n_seqs, n_tokens, k, c;  /* n_tokens: of all sequences together */
  int *kv_len, *q_len, *first; /* first token of each in keys, values */
  int *page_start, *pages, *slots;
  const float *keys, *values; /* [n_tokens,k*c] as the cache has them */
  const float *given, *table; /* keys before they are rotated, and by what:
                               * [n_tokens,c], or NULL where c is odd */
  KtBuf K, V;
  KvLayer layer[2];
} Cache;

/* The arrays of a batch on each device. */
typedef struct BatchBufs {
  KtBuf q_start, kv_len, page_start, pages, slots;
  PagedBatch host;
} BatchBufs;

/* n_seqs sequences, of max_len and a few shorter lengths; of each the last
 * q_len, at most max_q, are queried. Pages are in no order. */
Cache cache_new (Kt *kt, int n_seqs, int max_len, int max_q, int k, int c);

/* Keys as the case's fill says, rotated by quarter turns, and uniform values,
 * on the host; the devices' caches full of NaN. */
void cache_fill (Kt *kt, Cache *cache);

/* All of it into the caches. */
void cache_write (Kt *kt, Cache *cache);

/* A batch of sequences s .. s+n_seqs-1, of lengths kv_len[] so far, with
 * q_len[] tokens each. */
BatchBufs batch_new (Kt *kt, const Cache *cache, int s, int n_seqs,
    const int *q_len, const int *kv_len);
PagedBatch batch_on (const BatchBufs *bufs, int on);
