/* kvcache.c - paged keys and values: a pool of pages, sequences of pages
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#include "engine/kvcache.h"

#include "engine/error.h"
#include "engine/scratch.h"

struct VlmKvPool {
  Device *dev;
  int n_layers;
  KvLayer *layers;
  int n_pages;
  int n_free;
  int *free_pages; /* [n_pages] a stack; its first n_free are free */
  VlmPageList list;
  VlmKeyTables tables;
};

static gsize
layer_values_per_page (const VlmTextConfig *text)
{
  return (gsize) text->kv_heads * KV_PAGE_TOKENS * text->head_width;
}

static gsize
table_values_per_page (const VlmTextConfig *text)
{
  return (gsize) text->heads * KV_PAGE_TOKENS;
}

guint64
vlm_kv_page_bytes (const Device *dev, const VlmTextConfig *text)
{
  return (guint64) 2 * text->layers * layer_values_per_page (text) *
             dev->act_bytes +
         table_values_per_page (text) * (sizeof (float) + sizeof (int)) +
         sizeof (int);
}

static gboolean
layer_init (VlmKvPool *pool, KvLayer *layer, gsize values_per_page, int n_pages,
    GError **error)
{
  gsize bytes = values_per_page * n_pages * pool->dev->act_bytes;

  layer->k = device_alloc (pool->dev, bytes);
  layer->v = device_alloc (pool->dev, bytes);
  layer->n_pages = n_pages;
  return (layer->k && layer->v) || vlm_device_check (pool->dev, error);
}

static gboolean
tables_init (VlmKvPool *pool, gsize count, GError **error)
{
  pool->tables.scores = device_alloc (pool->dev, count * sizeof (float));
  pool->tables.lists = device_alloc (pool->dev, count * sizeof (int));
  return (pool->tables.scores && pool->tables.lists) ||
         vlm_device_check (pool->dev, error);
}

VlmKvPool *
vlm_kv_pool_new (
    Device *dev, const VlmTextConfig *text, int n_pages, GError **error)
{
  return vlm_kv_pool_new_with_fine (dev, text, n_pages, 0, 0, error);
}

VlmKvPool *
vlm_kv_pool_new_with_fine (Device *dev, const VlmTextConfig *text, int n_pages,
    int first_fine, int n_fine, GError **error)
{
  g_autoptr (VlmKvPool) pool = g_new0 (VlmKvPool, 1);

  pool->dev = dev;
  pool->n_pages = n_pages;
  pool->n_layers = text->layers;
  pool->layers = g_new0 (KvLayer, text->layers);
  for (int i = 0; i < text->layers; i++)
    if (!layer_init (pool, &pool->layers[i], layer_values_per_page (text),
            n_pages + (i >= first_fine ? n_fine : 0), error))
      return NULL;

  pool->list.host = g_new (int, n_pages);
  pool->list.device = device_alloc (dev, n_pages * sizeof (int));
  if (!pool->list.device && !vlm_device_check (dev, error))
    return NULL;
  if (!tables_init (pool, table_values_per_page (text) * n_pages, error))
    return NULL;
  pool->free_pages = g_new (int, n_pages);
  pool->n_free = n_pages;
  for (int i = 0; i < n_pages; i++)
    pool->free_pages[i] = n_pages - 1 - i;
  return g_steal_pointer (&pool);
}

void
vlm_kv_pool_free (VlmKvPool *pool)
{
  if (!pool)
    return;
  device_forget (pool->dev, pool);
  for (int i = 0; i < pool->n_layers; i++) {
    device_free (pool->dev, pool->layers[i].k);
    device_free (pool->dev, pool->layers[i].v);
  }
  device_free (pool->dev, pool->tables.scores);
  device_free (pool->dev, pool->tables.lists);
  device_free (pool->dev, pool->list.device);
  g_free (pool->list.host);
  g_free (pool->layers);
  g_free (pool->free_pages);
  g_free (pool);
}

int
vlm_kv_pool_free_pages (const VlmKvPool *pool)
{
  return pool->n_free;
}

const KvLayer *
vlm_kv_pool_layer (const VlmKvPool *pool, int layer)
{
  return &pool->layers[layer];
}

const VlmPageList *
vlm_kv_pool_list (const VlmKvPool *pool)
{
  return &pool->list;
}

const VlmKeyTables *
vlm_kv_pool_tables (const VlmKvPool *pool)
{
  return &pool->tables;
}

void
vlm_sequence_init (VlmSequence *seq, VlmKvPool *pool)
{
  *seq = (VlmSequence){ .pool = pool };
}

void
vlm_sequence_clear (VlmSequence *seq)
{
  if (seq->pool)
    vlm_sequence_truncate (seq, 0);
  g_free (seq->pages);
  *seq = (VlmSequence){ 0 };
}

static int
pages_for (int length)
{
  return (length + KV_PAGE_TOKENS - 1) / KV_PAGE_TOKENS;
}

gboolean
vlm_sequence_reserve (VlmSequence *seq, int length)
{
  VlmKvPool *pool = seq->pool;
  int wanted = pages_for (length);

  if (wanted - seq->n_pages > pool->n_free)
    return FALSE;
  if (wanted > seq->capacity) {
    seq->capacity = MAX (wanted, 2 * seq->capacity);
    seq->pages = g_renew (int, seq->pages, seq->capacity);
  }
  while (seq->n_pages < wanted)
    seq->pages[seq->n_pages++] = pool->free_pages[--pool->n_free];
  return TRUE;
}

void
vlm_sequence_truncate (VlmSequence *seq, int length)
{
  VlmKvPool *pool = seq->pool;
  int wanted = pages_for (length);

  g_return_if_fail (length >= 0);
  seq->length = MIN (seq->length, length);
  while (seq->n_pages > wanted)
    pool->free_pages[pool->n_free++] = seq->pages[--seq->n_pages];
}

void
vlm_sequence_rewind (VlmSequence *seq, int length)
{
  g_return_if_fail (length >= 0 && length <= seq->length);
  seq->length = length;
}
