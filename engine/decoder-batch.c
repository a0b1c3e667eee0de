/* decoder-batch.c - the integers of a decoder step: who is where in the cache
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#include "engine/decoder-private.h"

/* A step of no more tokens, as those of decoding are, has its arrays closer
 * together: all of a block is uploaded. */
#define FEW_TOKENS 64

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

/* Arrays for n tokens; returns how many integers. Ids come first. */
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
  for (int rows = 0; rows < DECODER_N_ROWS; rows++)
    batch->run_q_start[rows] = take (batch, &used, 2 * n);
  return used;
}

void
vlm_decoder_batch_layout (DecoderBatch *batch, VlmArena *arena, int max_tokens)
{
  int count = place (batch, MAX (max_tokens, FEW_TOKENS));

  batch->max_tokens = max_tokens;
  batch->device = vlm_arena_take (arena, count, sizeof (int));
  if (!batch->device)
    return;
  batch->host = g_new0 (int, count);
  batch->runs = g_new (DecoderRun, max_tokens);
  place (batch, max_tokens);
}

void
vlm_decoder_batch_clear (DecoderBatch *batch)
{
  g_clear_pointer (&batch->host, g_free);
  g_clear_pointer (&batch->runs, g_free);
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
    int row = batch->view[DECODER_ALL].n++;
    int at = in->seq->length + i, pos = at + in->seq->skipped;

    batch->pos.host[row] = pos;
    batch->slots.host[row] = slot_of (in->seq, at);
    batch->ids.host[row] = in->ids ? in->ids[i] : 0;
    if (i >= first_out) {
      batch->out_rows.host[batch->view[DECODER_OUT].n] = row;
      batch->out_pos.host[batch->view[DECODER_OUT].n++] = pos;
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
  batch->view[DECODER_ALL].kv_len = batch->kv_len.device;
  batch->view[DECODER_ALL].page_start = batch->page_start.device;
  batch->view[DECODER_ALL].pages = list->device;
  batch->view[DECODER_ALL].slots = batch->slots.device;
  batch->view[DECODER_ALL].q_start = batch->q_start.device;

  batch->view[DECODER_OUT].n_seqs = batch->view[DECODER_ALL].n_seqs;
  batch->view[DECODER_OUT].max_kv_len = batch->view[DECODER_ALL].max_kv_len;
  batch->view[DECODER_OUT].kv_len = batch->kv_len.device;
  batch->view[DECODER_OUT].page_start = batch->page_start.device;
  batch->view[DECODER_OUT].pages = list->device;
  batch->view[DECODER_OUT].q_start = batch->out_q_start.device;
}

/* Rows of a run of sequences first .. end-1 as a batch of their own; `at` is
 * where in run_q_start. */
static void
set_run (DecoderBatch *batch, DecoderRun *run, DecoderRows rows, int first,
    int end, int at)
{
  const PagedBatch *whole = &batch->view[rows];
  const int *q_start =
      rows == DECODER_ALL ? batch->q_start.host : batch->out_q_start.host;
  PagedBatch *part = &run->batch[rows];

  *part = *whole;
  run->row[rows] = q_start[first];
  part->n = q_start[end] - q_start[first];
  part->n_seqs = end - first;
  part->q_start = batch->run_q_start[rows].device + at;
  part->kv_len += first;
  part->page_start += first;
  part->max_kv_len = part->max_q_len = 0;
  for (int s = first; s <= end; s++)
    batch->run_q_start[rows].host[at + s - first] = q_start[s] - q_start[first];
  for (int s = first; s < end; s++) {
    part->max_kv_len = MAX (part->max_kv_len, batch->kv_len.host[s]);
    part->max_q_len = MAX (part->max_q_len, q_start[s + 1] - q_start[s]);
  }
}

static const VlmTidal *
tidal_of (const DecoderBatch *batch, const VlmStepInput *in, int s)
{
  return vlm_tidal_applies (in->tidal, in->n, batch->kv_len.host[s]) ? in->tidal
                                                                     : NULL;
}

static void
find_runs (DecoderBatch *batch, const VlmStepInput *inputs, int n_inputs)
{
  batch->n_runs = 0;
  for (int first = 0, end; first < n_inputs; first = end) {
    DecoderRun *run = &batch->runs[batch->n_runs];

    run->tidal = tidal_of (batch, &inputs[first], first);
    for (end = first + 1; end < n_inputs; end++)
      if (!vlm_tidal_equal (run->tidal, tidal_of (batch, &inputs[end], end)))
        break;
    for (int rows = 0; rows < DECODER_N_ROWS; rows++)
      set_run (batch, run, rows, first, end, first + batch->n_runs);
    batch->n_runs++;
  }
}

/* Positions that were made on the device. */
static void
take_places (DecoderBatch *batch, Device *dev, const VlmStepInput *in, int s)
{
  int n_out = in->n_logits;

  if (!in->pos)
    return;
  vlm_copy_rows (dev, batch->pos.device + batch->q_start.host[s], in->pos, 1,
      in->n * sizeof (int));
  if (n_out)
    vlm_copy_rows (dev, batch->out_pos.device + batch->out_q_start.host[s],
        in->pos + in->n - n_out, 1, n_out * sizeof (int));
}

void
vlm_decoder_batch_build (
    DecoderBatch *batch, Device *dev, const VlmStepInput *inputs, int n_inputs)
{
  const VlmPageList *list = vlm_kv_pool_list (inputs[0].seq->pool);
  int n_pages = 0, n_tokens = 0, n_ints;

  for (int s = 0; s < n_inputs; s++)
    n_tokens += inputs[s].n;
  n_ints =
      place (batch, n_tokens <= FEW_TOKENS ? FEW_TOKENS : batch->max_tokens);
  batch->view[DECODER_ALL] = (PagedBatch){ .n_seqs = n_inputs };
  batch->view[DECODER_OUT] = (PagedBatch){ 0 };
  for (int s = 0; s < n_inputs; s++) {
    const VlmStepInput *in = &inputs[s];
    int length = in->seq->length + in->n;

    batch->q_start.host[s] = batch->view[DECODER_ALL].n;
    batch->out_q_start.host[s] = batch->view[DECODER_OUT].n;
    batch->page_start.host[s] = n_pages;
    batch->kv_len.host[s] = length;
    batch->view[DECODER_ALL].max_kv_len =
        MAX (batch->view[DECODER_ALL].max_kv_len, length);
    batch->view[DECODER_ALL].max_q_len =
        MAX (batch->view[DECODER_ALL].max_q_len, in->n);
    batch->view[DECODER_OUT].max_q_len =
        MAX (batch->view[DECODER_OUT].max_q_len, in->n_logits);
    add_tokens (batch, in);
    n_pages = add_pages (
        list, n_pages, in->seq, (length + KV_PAGE_TOKENS - 1) / KV_PAGE_TOKENS);
  }
  batch->q_start.host[n_inputs] = batch->view[DECODER_ALL].n;
  batch->out_q_start.host[n_inputs] = batch->view[DECODER_OUT].n;
  batch->page_start.host[n_inputs] = n_pages;

  link_views (batch, list);
  find_runs (batch, inputs, n_inputs);
  device_upload (dev, batch->device, batch->host, n_ints * sizeof (int));
  device_upload (dev, list->device, list->host, n_pages * sizeof (int));
  for (int s = 0; s < n_inputs; s++)
    take_places (batch, dev, &inputs[s], s);
}
