/* decoder-batch.c - the integers of a decoder step: who is where in the cache
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#include "engine/decoder-private.h"

static IntArray
take (DecoderBatch *batch, int *offset, int count)
{
  IntArray array = { 0 };

  if (batch->device) {
    array.host = batch->host + *offset;
    array.device = batch->device + *offset;
  }
  *offset += (count + 15) / 16 * 16;
  return array;
}

static int
place (DecoderBatch *batch, int n)
{
  int used = 0;

  batch->ids = take (batch, &used, n);
  batch->pos = take (batch, &used, n);
  batch->slots = take (batch, &used, n);
  batch->q_start = take (batch, &used, n + 1);
  batch->kv_len = take (batch, &used, n);
  batch->page_start = take (batch, &used, n + 1);
  batch->out_rows = take (batch, &used, n);
  batch->out_pos = take (batch, &used, n);
  batch->out_q_start = take (batch, &used, n + 1);
  return used;
}

void
vlm_decoder_batch_layout (DecoderBatch *batch, VlmArena *arena, int max_tokens)
{
  int count = place (batch, max_tokens);

  batch->bytes = count * sizeof (int);
  batch->device = vlm_arena_take (arena, count, sizeof (int));
  if (!batch->device)
    return;
  batch->host = g_new0 (int, count);
  place (batch, max_tokens);
}

void
vlm_decoder_batch_clear (DecoderBatch *batch)
{
  g_free (batch->host);
  batch->host = NULL;
}

static int
slot_of (const VlmSequence *seq, int pos)
{
  return seq->pages[pos / KV_PAGE_TOKENS] * KV_PAGE_TOKENS +
         pos % KV_PAGE_TOKENS;
}

static void
add_tokens (DecoderBatch *batch, const VlmStepInput *in)
{
  int first_out = in->n - in->n_logits;

  for (int i = 0; i < in->n; i++) {
    int row = batch->all.n++;
    int pos = in->seq->length + i;

    batch->pos.host[row] = pos;
    batch->slots.host[row] = slot_of (in->seq, pos);
    batch->ids.host[row] = in->ids ? in->ids[i] : 0;
    if (i >= first_out) {
      batch->out_rows.host[batch->out.n] = row;
      batch->out_pos.host[batch->out.n++] = pos;
    }
  }
}

static int
add_pages (const VlmPageList *list, int used, const VlmSequence *seq, int n)
{
  for (int i = 0; i < n; i++)
    list->host[used + i] = seq->pages[i];
  return used + n;
}

/* The two views share all but their queries. */
static void
link_views (DecoderBatch *batch, const VlmPageList *list)
{
  batch->all.kv_len = batch->kv_len.device;
  batch->all.page_start = batch->page_start.device;
  batch->all.pages = list->device;
  batch->all.slots = batch->slots.device;
  batch->all.q_start = batch->q_start.device;

  batch->out.n_seqs = batch->all.n_seqs;
  batch->out.max_kv_len = batch->all.max_kv_len;
  batch->out.kv_len = batch->kv_len.device;
  batch->out.page_start = batch->page_start.device;
  batch->out.pages = list->device;
  batch->out.q_start = batch->out_q_start.device;
}

void
vlm_decoder_batch_build (
    DecoderBatch *batch, Device *dev, const VlmStepInput *inputs, int n_inputs)
{
  const VlmPageList *list = vlm_kv_pool_list (inputs[0].seq->pool);
  int n_pages = 0;

  batch->all = (PagedBatch){ .n_seqs = n_inputs };
  batch->out = (PagedBatch){ 0 };
  for (int s = 0; s < n_inputs; s++) {
    const VlmStepInput *in = &inputs[s];
    int length = in->seq->length + in->n;

    batch->q_start.host[s] = batch->all.n;
    batch->out_q_start.host[s] = batch->out.n;
    batch->page_start.host[s] = n_pages;
    batch->kv_len.host[s] = length;
    batch->all.max_kv_len = MAX (batch->all.max_kv_len, length);
    batch->all.max_q_len = MAX (batch->all.max_q_len, in->n);
    batch->out.max_q_len = MAX (batch->out.max_q_len, in->n_logits);
    add_tokens (batch, in);
    n_pages = add_pages (
        list, n_pages, in->seq, (length + KV_PAGE_TOKENS - 1) / KV_PAGE_TOKENS);
  }
  batch->q_start.host[n_inputs] = batch->all.n;
  batch->out_q_start.host[n_inputs] = batch->out.n;
  batch->page_start.host[n_inputs] = n_pages;

  link_views (batch, list);
  device_upload (dev, batch->device, batch->host, batch->bytes);
  device_upload (dev, list->device, list->host, n_pages * sizeof (int));
}
