/* listed.h - tables of scores and lists, as plain C and vectors read them
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#pragma once

#include "kernels/cpu/cpu.h"

/* Arguments of the ops; each uses what it has. */
typedef struct Listed {
  float *y, *score;
  const float *q;
  const KvLayer *kv;
  const PagedBatch *batch;
  const int *lists;
  KeyChoice choice;
  int h, n_kv_heads, c, window;
  float scale;
  float *scratch;     /* of each thread: */
  size_t scratch_row; /* floats */
} Listed;

/* Those of key_scores. */
static inline Listed
listed_scores (float *score, const Act *q, const KvLayer *kv,
    const PagedBatch *batch, KeyGroup group, int h, int n_kv_heads, int c,
    float scale, int window)
{
  return (Listed){ .score = score,
    .q = q,
    .kv = kv,
    .batch = batch,
    .choice = { .group = group },
    .h = h,
    .n_kv_heads = n_kv_heads,
    .c = c,
    .window = window,
    .scale = scale };
}

/* Those of attention_listed. */
static inline Listed
listed_attention (Act *y, const Act *q, const KvLayer *kv,
    const PagedBatch *batch, const int *lists, const KeyChoice *choice, int h,
    int n_kv_heads, int c, float scale, int window)
{
  Listed a = listed_scores (
      NULL, q, kv, batch, choice->group, h, n_kv_heads, c, scale, window);
  a.y = y;
  a.lists = lists;
  a.choice = *choice;
  return a;
}

/* Multiply-adds of either, for cpu_run. */
static inline size_t
listed_work (const Listed *a, int n_keys)
{
  return (size_t) a->batch->n_seqs * n_keys * a->h * a->c;
}

/* From one row of sequence s to the next, and where a row begins. */
static inline size_t
listed_stride (const PagedBatch *batch, int s)
{
  int pages = batch->page_start[s + 1] - batch->page_start[s];
  return (size_t) pages * KV_PAGE_TOKENS;
}

static inline size_t
listed_at (const PagedBatch *batch, int s, int h, int row)
{
  size_t first = (size_t) batch->page_start[s] * KV_PAGE_TOKENS;
  return first * h + row * listed_stride (batch, s);
}

static inline int
listed_pages (int n_keys)
{
  return (n_keys + KV_PAGE_TOKENS - 1) / KV_PAGE_TOKENS;
}

/* How many keys or pages there are to choose from, and how many are chosen. */
static inline int
listed_candidates (KeyGroup group, int kv_len)
{
  return group == PAGES_OF_KV_HEAD ? listed_pages (kv_len) : kv_len;
}

static inline int
listed_entries (const KeyChoice *choice, int kv_len)
{
  int n = listed_candidates (choice->group, kv_len);
  return n < choice->n_most ? n : choice->n_most;
}

/* The keys of a list of the longest sequence. */
static inline int
listed_most_keys (const Listed *a)
{
  return listed_entries (&a->choice, a->batch->max_kv_len) *
         (a->choice.group == PAGES_OF_KV_HEAD ? KV_PAGE_TOKENS : 1);
}

/* Lists of a sequence, and which row is the first of list i. */
static inline int
listed_lists (KeyGroup group, int h, int n_kv_heads)
{
  return group == KEYS_OF_QUERY_HEAD ? h : n_kv_heads;
}

static inline int
listed_row (KeyGroup group, int i, int h, int n_kv_heads)
{
  return group == KEYS_OF_QUERY_HEAD ? i : i * (h / n_kv_heads);
}

/* The first key that the newest query of a sequence sees. */
static inline int
listed_first (int kv_len, int window)
{
  return window > 0 && kv_len > window ? kv_len - window : 0;
}

static inline bool
listed_has_token (const PagedBatch *batch, int s)
{
  return batch->q_start[s + 1] > batch->q_start[s];
}
