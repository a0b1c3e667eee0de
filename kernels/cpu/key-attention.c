/* key-attention.c - how much a query attends to some of its keys, plain C
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * A head at a time; the heads' probabilities are summed afterwards, so that
 * their order does not depend on threads.
 */
#include "kernels/cpu/cpu.h"
#include "kernels/cpu/softmax.h"

#include <math.h>

typedef struct Keys {
  const float *q;
  const KvLayer *kv;
  const PagedBatch *batch;
  float *p; /* [n_seqs,h,stride] */
  size_t stride;
  int h, n_kv_heads, c;
  float scale;
} Keys;

/* score[KV_PAGE_TOKENS] of a page. */
static void
score_page (float *score, const float *q, const float *k, int c, float scale)
{
  for (int at = 0; at < KV_PAGE_TOKENS; at += KEY_PANEL, k += c * KEY_PANEL) {
    for (int j = 0; j < KEY_PANEL; j++)
      score[at + j] = 0;
    for (int i = 0; i < c; i++)
      for (int j = 0; j < KEY_PANEL; j++)
        score[at + j] += q[i] * k[i * KEY_PANEL + j];
    for (int j = 0; j < KEY_PANEL; j++)
      score[at + j] *= scale;
  }
}

/* An item is a head of a sequence. */
static void
key_attention_heads (void *data, int from, int to, int thread)
{
  const Keys *a = data;
  const PagedBatch *batch = a->batch;
  for (int item = from; item < to; item++) {
    int s = item / a->h, head = item % a->h, length = batch->kv_len[s];
    const int *pages = batch->pages + batch->page_start[s];
    float *p = a->p + item * a->stride;
    for (int page = 0; page * KV_PAGE_TOKENS < length; page++)
      score_page (p + page * KV_PAGE_TOKENS, a->q + (size_t) item * a->c,
          (const float *) a->kv->k + cpu_kv_offset (pages[page],
                                         head / (a->h / a->n_kv_heads),
                                         a->n_kv_heads, a->c),
          a->c, a->scale);
    cpu_softmax (p, length);
  }
}

static void
key_attention (Device *dev, float *score, const Act *q, const KvLayer *kv,
    const PagedBatch *batch, const int *first, int count, int h, int n_kv_heads,
    int c, float scale)
{
  size_t pages = (batch->max_kv_len + KV_PAGE_TOKENS - 1) / KV_PAGE_TOKENS;
  size_t stride = pages * KV_PAGE_TOKENS;
  float *p = cpu_scratch (dev, sizeof *p * batch->n_seqs * h * stride);
  Keys a = { q, kv, batch, p, stride, h, n_kv_heads, c, scale };
  if (!p)
    return;
  cpu_run (dev, batch->n_seqs * h * stride * c, batch->n_seqs * h, 0,
      key_attention_heads, &a);
  for (int s = 0; s < batch->n_seqs; s++)
    for (int j = 0; j < count; j++) {
      float sum = 0;
      for (int head = 0; head < h; head++)
        sum += p[((size_t) s * h + head) * stride + first[s] + j];
      score[(size_t) s * count + j] = sum;
    }
}

void
cpu_init_key_attention (Ops *op)
{
  op->key_attention = key_attention;
}
