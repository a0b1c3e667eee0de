/* decoder-attend.c - what a layer's queries attend to: all keys, or chosen
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#include "engine/decoder-private.h"

#include <math.h>

static gboolean
is_sparse (const DecoderRun *run, int layer)
{
  return run->tidal && vlm_tidal_layer (run->tidal, layer) == VLM_TIDAL_SPARSE;
}

static gboolean
any_sparse (const DecoderBatch *batch, int layer)
{
  for (int i = 0; i < batch->n_runs; i++)
    if (is_sparse (&batch->runs[i], layer))
      return TRUE;
  return FALSE;
}

/* One run's rows of a layer some of whose runs are sparse. */
static void
attend_run (VlmDecoder *d, int layer, const KvLayer *kv,
    const VlmKeyTables *tables, const DecoderRun *run, DecoderRows rows)
{
  const Ops *op = d->dev->op;
  const VlmTextConfig *t = &d->text;
  const PagedBatch *batch = &run->batch[rows];
  int h = t->heads, k = t->kv_heads, c = t->head_width;
  int window = t->window ? t->window[layer] : 0;
  gsize at = (gsize) run->row[rows] * h * c;
  Act *y = act_at (d->dev, d->attn, at), *q = act_at (d->dev, d->q, at);

  if (batch->n == 0)
    return;
  if (is_sparse (run, layer)) {
    KeyChoice choice = vlm_tidal_choice (run->tidal);

    op->attention_listed (d->dev, y, q, kv, batch, tables->lists, &choice, h, k,
        c, 1 / sqrtf (c), window);
  } else {
    op->attention_paged (
        d->dev, y, q, kv, batch, h, k, c, 1 / sqrtf (c), window);
  }
}

/* Notes the best keys of a run for the layers that follow. */
static void
select_keys (VlmDecoder *d, int layer, const KvLayer *kv,
    const VlmKeyTables *tables, const DecoderRun *run)
{
  const Ops *op = d->dev->op;
  const VlmTextConfig *t = &d->text;
  const PagedBatch *batch = &run->batch[DECODER_ALL];
  int h = t->heads, k = t->kv_heads, c = t->head_width;
  KeyChoice choice = vlm_tidal_choice (run->tidal);

  op->key_scores (d->dev, tables->scores,
      act_at (d->dev, d->q, (gsize) run->row[DECODER_ALL] * h * c), kv, batch,
      choice.group, h, k, c, 1 / sqrtf (c), t->window ? t->window[layer] : 0);
  op->choose_keys (d->dev, tables->lists, tables->scores, batch, &choice, h, k);
}

void
vlm_decoder_attend (
    VlmDecoder *d, const VlmKvPool *pool, int layer, DecoderRows rows)
{
  const VlmTextConfig *t = &d->text;
  const DecoderBatch *b = &d->batch;
  const KvLayer *kv = vlm_kv_pool_layer (pool, layer);
  const VlmKeyTables *tables = vlm_kv_pool_tables (pool);

  if (d->watch)
    d->watch (d->dev, layer, d->q, kv, &b->view[rows], d->watch_data);
  if (any_sparse (b, layer))
    for (int i = 0; i < b->n_runs; i++)
      attend_run (d, layer, kv, tables, &b->runs[i], rows);
  else if (!vlm_decoder_fine_covers (d, layer, rows))
    d->dev->op->attention_paged (d->dev, d->attn, d->q, kv, &b->view[rows],
        t->heads, t->kv_heads, t->head_width, 1 / sqrtf (t->head_width),
        t->window ? t->window[layer] : 0);
  for (int i = 0; i < b->n_runs && layer < t->layers - 1; i++)
    if (b->runs[i].tidal &&
        vlm_tidal_layer (b->runs[i].tidal, layer) == VLM_TIDAL_SELECT)
      select_keys (d, layer, kv, tables, &b->runs[i]);
  vlm_decoder_fine_attend (d, pool, layer, rows);
}

void
vlm_decoder_watch (VlmDecoder *d, VlmDecoderWatch func, gpointer user_data)
{
  d->watch = func;
  d->watch_data = user_data;
}
