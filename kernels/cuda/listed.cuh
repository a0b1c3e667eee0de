/* listed.cuh - tables of scores and lists, as the kernels read them
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#pragma once

#include "kernels/cuda/paged.cuh"

/* Where row `row` of sequence s begins in a table of h rows, and the way from
 * one row to the next. */
static __device__ __forceinline__ size_t
listed_stride (const int *page_start, int s)
{
  return (size_t) (page_start[s + 1] - page_start[s]) * KV_PAGE_TOKENS;
}

static __device__ __forceinline__ size_t
listed_at (const int *page_start, int s, int h, int row)
{
  size_t first = (size_t) page_start[s] * KV_PAGE_TOKENS;
  return first * h + row * listed_stride (page_start, s);
}

/* Keys or pages there are to choose from, and how many are chosen. */
static __host__ __device__ __forceinline__ int
listed_candidates (KeyGroup group, int kv_len)
{
  return group == PAGES_OF_KV_HEAD
             ? (kv_len + KV_PAGE_TOKENS - 1) / KV_PAGE_TOKENS
             : kv_len;
}

static __host__ __device__ __forceinline__ int
listed_entries (const KeyChoice &choice, int kv_len)
{
  int n = listed_candidates (choice.group, kv_len);
  return n < choice.n_most ? n : choice.n_most;
}

/* Lists of a sequence; row list * (h / lists) is the first of a list. */
static inline int
listed_lists (KeyGroup group, int h, int n_kv_heads)
{
  return group == KEYS_OF_QUERY_HEAD ? h : n_kv_heads;
}

static __device__ __forceinline__ bool
listed_has_token (const int *q_start, int s)
{
  return q_start[s + 1] > q_start[s];
}
