/* paged.cuh - where a page of the cache keeps what
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * A page holds its key heads one after another, each [KV_PAGE_TOKENS,c], keys
 * and values alike.
 */
#pragma once

#include "kernels/cuda/common.cuh"

/* What a kernel needs of batch, cache and shapes. */
template <typename T> struct PagedArgs {
  T *y;
  const T *q;
  const T *k, *v; /* the layer's pages */
  const int *q_start, *kv_len, *page_start, *pages;
  int n_seqs, h, n_kv_heads, c, window;
  float scale;
};

/* Row of token `slot` (page * KV_PAGE_TOKENS + place) of a key head. */
static __device__ __forceinline__ size_t
page_row (int slot, int head, int n_kv_heads, int c)
{
  int page = slot / KV_PAGE_TOKENS, place = slot % KV_PAGE_TOKENS;
  return (((size_t) page * n_kv_heads + head) * KV_PAGE_TOKENS + place) * c;
}

/* The rows of one sequence's keys and values of one head. */
template <typename T> struct PagedKeys {
  const T *k, *v;
  const int *pages;
  int head, n_kv_heads, c;

  __device__ size_t
  row (int j) const
  {
    int slot = pages[j / KV_PAGE_TOKENS] * KV_PAGE_TOKENS + j % KV_PAGE_TOKENS;
    return page_row (slot, head, n_kv_heads, c);
  }
  __device__ size_t
  stride () const
  {
    return c; /* within a page */
  }
  __device__ const T *
  key (int j) const
  {
    return k + row (j);
  }
  __device__ const T *
  value (int j) const
  {
    return v + row (j);
  }
};

template <typename T>
static __device__ __forceinline__ PagedKeys<T>
keys_of (const PagedArgs<T> &a, int sequence, int head)
{
  PagedKeys<T> keys = { a.k, a.v, a.pages + a.page_start[sequence], head,
    a.n_kv_heads, a.c };
  return keys;
}

/* Sequences of one token each, by keys split among blocks; others are left
 * alone. */
template <typename T>
void attend_single (Device *dev, const PagedArgs<T> &args, int max_kv_len);
