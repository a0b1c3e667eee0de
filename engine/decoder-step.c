/* decoder-step.c - the language model's forward pass
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * The last layer's keys and values are made for every token; its queries,
 * and all that follows them, only for tokens whose logits are wanted.
 */
#include "engine/decoder-private.h"

#include "engine/error.h"

/* Keys that a recorded step has room for, doubled as often as needed. */
#define STEADY_ROOM 256

void
vlm_decoder_embed (VlmDecoder *d, Residual *x, int first, const int *ids, int n)
{
  const Ops *op = d->dev->op;
  int D = d->text.width;

  for (int done = 0; done < n; done += d->max_tokens) {
    int count = MIN (n - done, d->max_tokens);

    device_upload (
        d->dev, d->batch.ids.device, ids + done, count * sizeof (int));
    op->embed (d->dev, x + (gsize) (first + done) * D, &d->embedding,
        d->batch.ids.device, count);
  }
}

static void
fill_x (VlmDecoder *d, const VlmStepInput *inputs, int n_inputs)
{
  int D = d->text.width;
  int row = 0;

  for (int s = 0; s < n_inputs; s++) {
    const VlmStepInput *in = &inputs[s];
    Residual *x = d->x + (gsize) row * D;

    if (in->ids)
      d->dev->op->embed (
          d->dev, x, &d->embedding, d->batch.ids.device + row, in->n);
    else
      vlm_copy_rows (d->dev, x, in->rows, in->n, D * sizeof *x);
    row += in->n;
  }
}

/* Cosines and sines of rows whose sequences begin at q_start. */
static void
rope_rows (VlmDecoder *d, float *table, const IntArray *pos,
    const IntArray *q_start, int n_inputs)
{
  int c = d->text.head_width;

  for (int s = 0; s < n_inputs; s++) {
    int first = q_start->host[s], n = q_start->host[s + 1] - first;

    if (n > 0)
      d->dev->op->rope_table (d->dev, table + (gsize) first * c,
          pos->device + first, d->inv_freq + (gsize) s * (c / 2), n, c,
          d->rope_scale);
  }
}

static void
fill_varying_rope (VlmDecoder *d, const VlmStepInput *inputs, int n_inputs)
{
  int half = d->text.head_width / 2;

  for (int s = 0; s < n_inputs; s++)
    vlm_rope_frequencies (&d->text, inputs[s].rope_length,
        d->host_inv_freq + (gsize) s * half, &d->rope_scale);
  device_upload (d->dev, d->inv_freq, d->host_inv_freq,
      (gsize) n_inputs * half * sizeof (float));
  rope_rows (d, d->rope, &d->batch.pos, &d->batch.q_start, n_inputs);
  rope_rows (
      d, d->out_rope, &d->batch.out_pos, &d->batch.out_q_start, n_inputs);
}

static void
fill_rope (VlmDecoder *d, const VlmStepInput *inputs, int n_inputs)
{
  const Ops *op = d->dev->op;
  const DecoderBatch *b = &d->batch;
  int c = d->text.head_width;

  if (d->text.rope.kind == VLM_ROPE_DYNAMIC) {
    fill_varying_rope (d, inputs, n_inputs);
    return;
  }
  op->rope_table (d->dev, d->rope, b->pos.device, d->inv_freq,
      b->view[DECODER_ALL].n, c, d->rope_scale);
  if (b->view[DECODER_OUT].n > 0)
    op->rope_table (d->dev, d->out_rope, b->out_pos.device, d->inv_freq,
        b->view[DECODER_OUT].n, c, d->rope_scale);
}

static void
turn_queries (VlmDecoder *d, const float *rope, int n)
{
  d->dev->op->rope (
      d->dev, d->q, d->wide_q, rope, n, d->text.heads, d->text.head_width);
}

/* Keys and values of all tokens into the cache, and if wanted their queries
 * into q; xb is left normed. */
static void
run_keys (VlmDecoder *d, const DecoderLayer *l, const KvLayer *kv,
    gboolean with_queries)
{
  const Ops *op = d->dev->op;
  const VlmTextConfig *t = &d->text;
  int n = d->batch.view[DECODER_ALL].n;
  MatProduct products[] = { { d->wide, &l->k, EPILOGUE_WIDE },
    { d->v, &l->v, EPILOGUE_SET }, { d->wide_q, &l->q, EPILOGUE_WIDE } };

  op->rms_norm (d->dev, d->xb, d->x, l->attn_norm, n, t->width, t->eps);
  op->matmul_several (d->dev, products, with_queries ? 3 : 2, d->xb, n);
  op->kv_write (d->dev, kv, d->wide, d->rope, d->v, &d->batch.view[DECODER_ALL],
      t->kv_heads, t->head_width);
  if (with_queries)
    turn_queries (d, d->rope, n);
}

/* The rest of a layer for `rows`, whose queries are in q: x[n,D] becomes the
 * layer's output; xb[n,D] is overwritten. */
static void
run_rows (VlmDecoder *d, const VlmKvPool *pool, int layer, DecoderRows rows,
    Residual *x, Act *xb)
{
  const Ops *op = d->dev->op;
  const VlmTextConfig *t = &d->text;
  const DecoderLayer *l = &d->layers[layer];
  int n = d->batch.view[rows].n, D = t->width;

  vlm_decoder_attend (d, pool, layer, rows);
  op->matmul (d->dev, x, d->attn, &l->o, n, EPILOGUE_ADD);

  op->rms_norm (d->dev, xb, x, l->mlp_norm, n, D, t->eps);
  op->gated (d->dev, d->hidden, xb, &l->gate, &l->up, n, d->wide);
  op->matmul (d->dev, x, d->hidden, &l->down, n, EPILOGUE_ADD);
}

static gboolean
check_cancelled (const VlmStepInput *inputs, int n_inputs, GError **error)
{
  for (int s = 0; s < n_inputs; s++)
    if (inputs[s].cancelled && g_atomic_int_get (inputs[s].cancelled)) {
      vlm_fail (error, VLM_ERROR_CANCELLED, NULL,
          "The step was given up: a sequence in it was cancelled.");
      return FALSE;
    }
  return TRUE;
}

void
vlm_decoder_layer (VlmDecoder *d, const VlmKvPool *pool, int layer)
{
  run_keys (d, &d->layers[layer], vlm_kv_pool_layer (pool, layer), TRUE);
  run_rows (d, pool, layer, DECODER_ALL, d->x, d->xb);
}

static gboolean
run_layers (
    VlmDecoder *d, const VlmStepInput *inputs, int n_inputs, GError **error)
{
  const VlmKvPool *pool = inputs[0].seq->pool;
  const Ops *op = d->dev->op;
  const DecoderBatch *b = &d->batch;
  int D = d->text.width, last = d->text.layers - 1;
  int n_out = b->view[DECODER_OUT].n;

  for (int i = 0; i < last; i++) {
    if (!check_cancelled (inputs, n_inputs, error))
      return FALSE;
    vlm_decoder_layer (d, pool, i);
  }

  run_keys (d, &d->layers[last], vlm_kv_pool_layer (pool, last), FALSE);
  if (n_out == 0)
    return TRUE;
  op->gather_rows (
      d->dev, d->out_x, d->x, b->out_rows.device, n_out, D * sizeof (Residual));
  op->gather_rows (d->dev, d->out_xb, d->xb, b->out_rows.device, n_out,
      D * d->dev->act_bytes);
  op->matmul (
      d->dev, d->wide_q, d->out_xb, &d->layers[last].q, n_out, EPILOGUE_WIDE);
  turn_queries (d, d->out_rope, n_out);
  run_rows (d, pool, last, DECODER_OUT, d->out_x, d->out_xb);
  return TRUE;
}

static void
run_head (VlmDecoder *d)
{
  const Ops *op = d->dev->op;
  int n = d->batch.view[DECODER_OUT].n;

  if (n == 0)
    return;
  op->rms_norm_residual (
      d->dev, d->out_x, d->norm, n, d->text.width, d->text.eps);
  op->logits (d->dev, d->logits, d->out_x, d->logits_mat, n);
}

void
vlm_decoder_enter (VlmDecoder *d, const VlmStepInput *inputs, int n_inputs)
{
  fill_x (d, inputs, n_inputs);
  fill_rope (d, inputs, n_inputs);
}

static gboolean
run (VlmDecoder *d, const VlmStepInput *inputs, int n_inputs, GError **error)
{
  vlm_decoder_enter (d, inputs, n_inputs);
  if (!run_layers (d, inputs, n_inputs, error))
    return FALSE;
  run_head (d);
  return TRUE;
}

/* Whether every sequence gains one token and attends to all keys: then no
 * argument of an op depends on more than their number and the room for keys. */
static gboolean
is_steady (const VlmDecoder *d, const VlmStepInput *inputs, int n_inputs)
{
  if (!d->dev->records || d->watch || d->text.rope.kind == VLM_ROPE_DYNAMIC ||
      d->fine || d->batch.n_runs != 1 || d->batch.runs[0].tidal)
    return FALSE;
  for (int s = 0; s < n_inputs; s++)
    if (inputs[s].n != 1 || !inputs[s].ids || inputs[s].n_logits != 1 ||
        inputs[s].cancelled)
      return FALSE;
  return TRUE;
}

static gboolean
run_steady (
    VlmDecoder *d, const VlmStepInput *inputs, int n_inputs, GError **error)
{
  PagedBatch *view = d->batch.view;
  int room = STEADY_ROOM;
  gboolean done;

  while (room < view[DECODER_ALL].max_kv_len)
    room *= 2;
  view[DECODER_ALL].max_kv_len = view[DECODER_OUT].max_kv_len = room;
  DeviceKey key = { { d, inputs[0].seq->pool }, { n_inputs, room } };
  if (device_replay (d->dev, &key))
    return TRUE;
  device_record (d->dev, &key);
  done = run (d, inputs, n_inputs, error);
  device_recorded (d->dev, done);
  return done;
}

static void
check_inputs (const VlmDecoder *d, const VlmStepInput *inputs, int n_inputs)
{
  int n = 0, n_logits = 0;

  for (int s = 0; s < n_inputs; s++) {
    const VlmStepInput *in = &inputs[s];

    g_assert (in->n >= 1 && in->n_logits >= 0 && in->n_logits <= in->n);
    g_assert (in->seq->n_pages * KV_PAGE_TOKENS >= in->seq->length + in->n);
    g_assert (in->seq->pool == inputs[0].seq->pool);
    n += in->n;
    n_logits += in->n_logits;
  }
  g_assert (n >= 1 && n <= d->max_tokens && n_logits <= d->max_logits);
}

gboolean
vlm_decoder_step (VlmDecoder *d, const VlmStepInput *inputs, int n_inputs,
    float **logits, GError **error)
{
  gboolean done;

  check_inputs (d, inputs, n_inputs);
  vlm_decoder_batch_build (&d->batch, d->dev, inputs, n_inputs);
  vlm_decoder_fine_begin (d, inputs, n_inputs);
  done = is_steady (d, inputs, n_inputs)
             ? run_steady (d, inputs, n_inputs, error)
             : run (d, inputs, n_inputs, error);
  if (!done || !vlm_device_status (d->dev, error))
    return FALSE;
  for (int s = 0; s < n_inputs; s++)
    inputs[s].seq->length += inputs[s].n;
  if (logits)
    *logits = d->logits;
  return TRUE;
}
