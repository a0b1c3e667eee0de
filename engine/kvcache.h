/* kvcache.h - paged keys and values: a pool of pages, sequences of pages
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * One page id holds KV_PAGE_TOKENS tokens in every layer. Pages of the pool
 * are shared out to sequences; memory is taken once, when the pool is made.
 */
#pragma once

#include "engine/model.h"
#include "kernels/ops.h"

G_BEGIN_DECLS

typedef struct VlmKvPool VlmKvPool;

/* Keys and values of one sequence. Embed it; zero is an empty sequence. */
typedef struct {
  VlmKvPool *pool;
  int length;  /* tokens cached */
  int skipped; /* positions that no token has: the next is length + skipped */
  int n_pages;
  int *pages; /* [capacity] page ids, owned */
  int capacity;
} VlmSequence;

VlmKvPool *vlm_kv_pool_new (
    Device *dev, const VlmTextConfig *text, int n_pages, GError **error);
void vlm_kv_pool_free (VlmKvPool *pool);

/* The same with n_fine more pages in layers from first_fine on, n_pages and
 * up, which are not handed out: FlexAttention's. */
VlmKvPool *vlm_kv_pool_new_with_fine (Device *dev, const VlmTextConfig *text,
    int n_pages, int first_fine, int n_fine, GError **error);

/* Device bytes of one page over all layers, with its place in the tables. */
guint64 vlm_kv_page_bytes (const Device *dev, const VlmTextConfig *text);

int vlm_kv_pool_free_pages (const VlmKvPool *pool);
const KvLayer *vlm_kv_pool_layer (const VlmKvPool *pool, int layer);

/* Room for the page ids of one step, [n_pages] each: a page belongs to one
 * sequence, so that the sequences of a step never name more. */
typedef struct {
  int *host, *device;
} VlmPageList;

const VlmPageList *vlm_kv_pool_list (const VlmKvPool *pool);

/* Device memory for the chosen keys of one step, by the same reasoning: the
 * tables of Ops.key_scores, [heads,n_pages*KV_PAGE_TOKENS] each. */
typedef struct {
  float *scores;
  int *lists;
} VlmKeyTables;

const VlmKeyTables *vlm_kv_pool_tables (const VlmKvPool *pool);

void vlm_sequence_init (VlmSequence *seq, VlmKvPool *pool);
void vlm_sequence_clear (VlmSequence *seq); /* gives its pages back */

/* Makes room for `length` tokens in all; FALSE (nothing taken) if the pool
 * has too few free pages. */
gboolean vlm_sequence_reserve (VlmSequence *seq, int length);

/* Forgets tokens past `length`; pages no longer needed go back. */
void vlm_sequence_truncate (VlmSequence *seq, int length);

/* Forgets tokens past `length` and keeps the pages: they are to be written
 * again. */
void vlm_sequence_rewind (VlmSequence *seq, int length);

G_DEFINE_AUTOPTR_CLEANUP_FUNC (VlmKvPool, vlm_kv_pool_free)

G_END_DECLS
