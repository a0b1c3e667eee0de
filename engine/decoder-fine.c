/* decoder-fine.c - hierarchical layers: a look at chosen fine keys
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * The newest token of each sequence attends to a page list, the lit cells'
 * pages and then its own, which is one softmax over both; or, where cells are
 * no whole pages, to a list of the lit cells' keys and all its own. All other
 * rows are those of the model without a second look.
 */
#include "engine/decoder-private.h"

#include <math.h>
#include <string.h>

typedef struct {
  IntArray rows, kv_len, page_start;
} FineArrays;

struct DecoderFine {
  int most;           /* sequences of a step */
  int n;              /* those of this step that look closer */
  VlmFine **fine;     /* [n] */
  int *input;         /* [n] their places among the step's inputs */
  int n_lit;          /* of those, which have selected something */
  int *lit;           /* [n_lit] places among the n */
  int *host, *device; /* the integers below */
  gsize bytes;
  IntArray q_start;              /* [most+1] 0, 1, 2 ... */
  IntArray first;                /* [n] key of the first image token */
  IntArray rows[DECODER_N_ROWS]; /* [n] */
  IntArray kv_len, page_start;   /* [n], [n+1] of their own keys */
  FineArrays joint;              /* [n_lit] of own and fine keys together */
  int max_kv_len, max_joint_len;
  Act *q, *attn; /* [n,h*c] */
  float *score;  /* [n,g*g] */
  float *host_score;
};

static IntArray
take (DecoderFine *f, int *used, int count)
{
  IntArray array = { f->host + *used, f->device ? f->device + *used : NULL };

  *used += (count + 15) / 16 * 16;
  return array;
}

static int
place (DecoderFine *f)
{
  int used = 0, n = f->most;

  f->q_start = take (f, &used, n + 1);
  f->first = take (f, &used, n);
  for (int rows = 0; rows < DECODER_N_ROWS; rows++)
    f->rows[rows] = take (f, &used, n);
  f->kv_len = take (f, &used, n);
  f->page_start = take (f, &used, n + 1);
  f->joint.rows = take (f, &used, n);
  f->joint.kv_len = take (f, &used, n);
  f->joint.page_start = take (f, &used, n + 1);
  return used;
}

DecoderFine *
vlm_decoder_fine_new (int most)
{
  DecoderFine *f = g_new0 (DecoderFine, 1);
  int count;

  f->most = most;
  f->fine = g_new0 (VlmFine *, most);
  f->input = g_new0 (int, most);
  f->lit = g_new0 (int, most);
  count = place (f);
  f->host = g_new0 (int, count);
  f->bytes = count * sizeof (int);
  return f;
}

void
vlm_decoder_fine_free (DecoderFine *f)
{
  if (!f)
    return;
  g_free (f->fine);
  g_free (f->input);
  g_free (f->lit);
  g_free (f->host);
  g_free (f->host_score);
  g_free (f);
}

void
vlm_decoder_fine_layout (
    DecoderFine *f, VlmArena *arena, const Device *dev, int width, int n_map)
{
  f->q = vlm_arena_take (arena, (gsize) f->most * width, dev->act_bytes);
  f->attn = vlm_arena_take (arena, (gsize) f->most * width, dev->act_bytes);
  f->score = vlm_arena_take (arena, (gsize) f->most * n_map, sizeof (float));
  f->device = vlm_arena_take (arena, f->bytes, 1);
  place (f);
  if (f->device && !f->host_score)
    f->host_score = g_new (float, (gsize) f->most *n_map);
}

void
vlm_decoder_fine_begin (VlmDecoder *d, const VlmStepInput *inputs, int n_inputs)
{
  DecoderFine *f = d->fine;
  const DecoderBatch *b = &d->batch;

  if (!f)
    return;
  f->n = f->n_lit = f->max_kv_len = 0;
  for (int s = 0; s < n_inputs; s++) {
    VlmFine *fine = inputs[s].n_logits ? inputs[s].fine : NULL;
    int i = f->n;

    if (!fine)
      continue;
    g_assert (inputs[s].n_logits == 1);
    f->fine[i] = fine;
    f->input[i] = s;
    f->q_start.host[i] = i;
    f->first.host[i] = fine->view.begin;
    f->rows[DECODER_ALL].host[i] = b->q_start.host[s] + inputs[s].n - 1;
    f->rows[DECODER_OUT].host[i] = b->out_q_start.host[s];
    f->kv_len.host[i] = b->kv_len.host[s];
    f->page_start.host[i] = b->page_start.host[s];
    f->max_kv_len = MAX (f->max_kv_len, b->kv_len.host[s]);
    fine->n_lit = fine->n_keys = 0;
    fine->steps++;
    f->n++;
  }
  f->q_start.host[f->n] = f->n;
  if (f->n > 0)
    device_upload (d->dev, f->device, f->host, f->bytes);
}

/* ---- keys and values of cells ---- */

/* Computes those of n cells, of max_tokens tokens at most. The step's own keys
 * are cached and its normed input is spent: their memory serves. */
static void
fill_cells (VlmDecoder *d, VlmFine *fine, int layer, const KvLayer *kv,
    const int *cells, int n)
{
  const Ops *op = d->dev->op;
  const VlmTextConfig *t = &d->text;
  const DecoderLayer *l = &d->layers[layer];
  VlmFineStore *store = fine->store;
  int D = t->width, c = t->head_width, key = t->kv_heads * c, count = 0;

  for (int i = 0; i < n; i++) {
    VlmFineCell cell = store->cells[cells[i]];

    vlm_copy_rows (d->dev, act_at (d->dev, d->xb, (gsize) count * D),
        act_at (d->dev, fine->features, (gsize) cell.first * D), cell.n,
        D * d->dev->act_bytes);
    for (int j = 0; j < cell.n; j++)
      store->host_slots[count++] =
          fine->first_page * KV_PAGE_TOKENS + cell.first + j;
    fine->filled[layer * VLM_FINE_CELLS + cells[i]] = TRUE;
  }
  device_upload (d->dev, store->slots, store->host_slots, count * sizeof (int));
  op->matmul_several (d->dev,
      (MatProduct[]){ { d->wide, &l->fine_k, EPILOGUE_WIDE },
          { d->v, &l->fine_v, EPILOGUE_SET } },
      2, d->xb, count);
  for (int i = 0, at = 0; i < n; at += store->cells[cells[i++]].n) {
    VlmFineCell cell = store->cells[cells[i]];
    PagedBatch batch = { .n = cell.n, .slots = store->slots + at };

    op->kv_write (d->dev, kv, d->wide + (gsize) at * key,
        fine->rope + (gsize) cell.first * c,
        act_at (d->dev, d->v, (gsize) at * key), &batch, t->kv_heads, c);
  }
}

static gboolean
wants (const VlmFine *fine, int layer, int cell)
{
  VlmFineFill fill = fine->store->fill;
  gboolean filled = fine->filled[layer * VLM_FINE_CELLS + cell];

  return fine->store->cells[cell].n > 0 &&
         (fine->lit[cell] || fill == VLM_FINE_FULL) &&
         (!filled || fill == VLM_FINE_NONE);
}

static void
fill (VlmDecoder *d, VlmFine *fine, int layer, const KvLayer *kv)
{
  int cells[VLM_FINE_CELLS], n = 0;
  int most = MIN (d->max_tokens / fine->store->most, VLM_FINE_CELLS);

  for (int cell = 0; cell < VLM_FINE_CELLS; cell++) {
    if (wants (fine, layer, cell))
      cells[n++] = cell;
    if (n == most || (cell == VLM_FINE_CELLS - 1 && n > 0)) {
      fill_cells (d, fine, layer, kv, cells, n);
      n = 0;
    }
  }
}

/* ---- a layer ---- */

/* Pages of the lit cells (or, where keys are listed, of all), and then the
 * sequence's own, from `used` on; *n_fine is the keys of the former. */
static int
list_pages (
    const VlmFine *fine, const int *own, int n_own, int used, int *n_fine)
{
  VlmFineStore *store = fine->store;
  int *list = store->host_list, begin = used;
  int all = fine->view.fine_side * fine->view.fine_side;

  for (int i = 0; !store->paged && i < all; i += KV_PAGE_TOKENS)
    list[used++] = fine->first_page + i / KV_PAGE_TOKENS;
  for (int cell = 0; store->paged && cell < VLM_FINE_CELLS; cell++)
    for (int i = 0; fine->lit[cell] && i < store->cells[cell].n;
         i += KV_PAGE_TOKENS)
      list[used++] =
          fine->first_page + (store->cells[cell].first + i) / KV_PAGE_TOKENS;
  *n_fine = (used - begin) * KV_PAGE_TOKENS;
  memcpy (list + used, own, n_own * sizeof *list);
  return used + n_own;
}

/* The keys that a sequence of this list of pages attends to: those of the lit
 * cells and its own, for each of its key heads. */
static void
list_keys (const VlmDecoder *d, const VlmFine *fine, int first_page,
    int n_pages, int n_fine, int length)
{
  const VlmTextConfig *t = &d->text;
  VlmFineStore *store = fine->store;
  gsize stride = (gsize) n_pages * KV_PAGE_TOKENS;
  int *list = store->host_keys + (gsize) first_page * KV_PAGE_TOKENS * t->heads;
  int n = 0;

  for (int cell = 0; cell < VLM_FINE_CELLS; cell++)
    for (int i = 0; fine->lit[cell] && i < store->cells[cell].n; i++)
      list[n++] = store->cells[cell].first + i;
  for (int i = 0; i < length; i++)
    list[n++] = n_fine + i;
  for (int head = 1; head < t->kv_heads; head++)
    memcpy (list + head * (t->heads / t->kv_heads) * stride, list,
        n * sizeof *list);
}

static void
build_joint (VlmDecoder *d, const VlmKvPool *pool, int layer, DecoderRows rows)
{
  DecoderFine *f = d->fine;
  FineArrays *joint = &f->joint;
  VlmFineStore *store = f->fine[f->lit[0]]->store;
  const int *pool_list = vlm_kv_pool_list (pool)->host;
  int used = 0;

  f->max_joint_len = 0;
  for (int i = 0; i < f->n_lit; i++) {
    int at = f->lit[i], length = f->kv_len.host[at], begin = used, n_fine;
    VlmFine *fine = f->fine[at];

    used = list_pages (fine, pool_list + f->page_start.host[at],
        (length + KV_PAGE_TOKENS - 1) / KV_PAGE_TOKENS, used, &n_fine);
    if (!store->paged)
      list_keys (d, fine, begin, used - begin, n_fine, length);
    joint->rows.host[i] = f->rows[rows].host[at];
    joint->page_start.host[i] = begin;
    joint->kv_len.host[i] = n_fine + length;
    f->max_joint_len = MAX (f->max_joint_len, n_fine + length);
    fine->selected[layer] += fine->n_keys;
  }
  joint->page_start.host[f->n_lit] = used;
  device_upload (d->dev, f->device, f->host, f->bytes);
  device_upload (d->dev, store->list, store->host_list, used * sizeof (int));
  if (!store->paged)
    device_upload (d->dev, store->keys, store->host_keys,
        (gsize) used * KV_PAGE_TOKENS * d->text.heads * sizeof (int));
}

/* Sequence after sequence: their lists differ in length. */
static void
attend_listed (VlmDecoder *d, const KvLayer *kv, const PagedBatch *all)
{
  const VlmTextConfig *t = &d->text;
  DecoderFine *f = d->fine;
  gsize row = (gsize) t->heads * t->head_width;

  for (int i = 0; i < f->n_lit; i++) {
    int at = f->lit[i];
    const VlmFine *fine = f->fine[at];
    KeyChoice choice = { .group = KEYS_OF_KV_HEAD,
      .n_most = fine->n_keys + f->kv_len.host[at] };
    PagedBatch batch = *all;

    batch.n = batch.n_seqs = 1;
    batch.kv_len += i;
    batch.page_start += i;
    d->dev->op->attention_listed (d->dev, act_at (d->dev, f->attn, i * row),
        act_at (d->dev, f->q, i * row), kv, &batch, fine->store->keys, &choice,
        t->heads, t->kv_heads, t->head_width, 1 / sqrtf (t->head_width), 0);
  }
}

static void
attend (VlmDecoder *d, const VlmKvPool *pool, int layer, const KvLayer *kv,
    DecoderRows rows)
{
  const Ops *op = d->dev->op;
  const VlmTextConfig *t = &d->text;
  DecoderFine *f = d->fine;
  VlmFineStore *store = f->fine[f->lit[0]]->store;
  int h = t->heads, c = t->head_width;
  gsize bytes = (gsize) h * c * d->dev->act_bytes;

  for (int i = 0; i < f->n_lit; i++)
    fill (d, f->fine[f->lit[i]], layer, kv);
  build_joint (d, pool, layer, rows);
  PagedBatch batch = { .n = f->n_lit,
    .n_seqs = f->n_lit,
    .max_kv_len = f->max_joint_len,
    .max_q_len = 1,
    .q_start = f->q_start.device,
    .kv_len = f->joint.kv_len.device,
    .page_start = f->joint.page_start.device,
    .pages = store->list };
  op->gather_rows (d->dev, f->q, d->q, f->joint.rows.device, f->n_lit, bytes);
  if (store->paged)
    op->attention_paged (
        d->dev, f->attn, f->q, kv, &batch, h, t->kv_heads, c, 1 / sqrtf (c), 0);
  else
    attend_listed (d, kv, &batch);
  op->scatter_rows (
      d->dev, d->attn, f->attn, f->joint.rows.device, f->n_lit, bytes);
}

/* From how much the newest tokens attend to the image tokens among their own
 * keys, what the next layer looks at. */
static void
select_cells (
    VlmDecoder *d, const VlmKvPool *pool, const KvLayer *kv, DecoderRows rows)
{
  const Ops *op = d->dev->op;
  const VlmTextConfig *t = &d->text;
  DecoderFine *f = d->fine;
  int h = t->heads, c = t->head_width;
  int n_map = f->fine[0]->view.side * f->fine[0]->view.side;
  PagedBatch batch = { .n = f->n,
    .n_seqs = f->n,
    .max_kv_len = f->max_kv_len,
    .max_q_len = 1,
    .q_start = f->q_start.device,
    .kv_len = f->kv_len.device,
    .page_start = f->page_start.device,
    .pages = vlm_kv_pool_list (pool)->device };

  op->gather_rows (d->dev, f->q, d->q, f->rows[rows].device, f->n,
      (gsize) h * c * d->dev->act_bytes);
  op->key_attention (d->dev, f->score, f->q, kv, &batch, f->first.device, n_map,
      h, t->kv_heads, c, 1 / sqrtf (c));
  device_download (
      d->dev, f->host_score, f->score, (gsize) f->n * n_map * sizeof (float));
  f->n_lit = 0;
  for (int i = 0; i < f->n; i++) {
    VlmFine *fine = f->fine[i];

    fine->n_lit = vlm_fine_select (
        &fine->view, f->host_score + (gsize) i * n_map, fine->lit);
    fine->n_keys = 0;
    for (int cell = 0; cell < VLM_FINE_CELLS; cell++)
      fine->n_keys += fine->lit[cell] ? fine->store->cells[cell].n : 0;
    if (fine->n_keys > 0)
      f->lit[f->n_lit++] = i;
  }
}

gboolean
vlm_decoder_fine_covers (const VlmDecoder *d, int layer, DecoderRows rows)
{
  const DecoderFine *f = d->fine;

  return f && f->n_lit > 0 && layer >= f->fine[0]->store->layer &&
         f->n_lit == d->batch.view[rows].n;
}

void
vlm_decoder_fine_attend (
    VlmDecoder *d, const VlmKvPool *pool, int layer, DecoderRows rows)
{
  const KvLayer *kv = vlm_kv_pool_layer (pool, layer);
  DecoderFine *f = d->fine;
  int first;

  if (!f || f->n == 0)
    return;
  first = f->fine[0]->store->layer;
  if (layer >= first && f->n_lit > 0)
    attend (d, pool, layer, kv, rows);
  if (layer >= first - 1 && layer + 1 < d->text.layers)
    select_cells (d, pool, kv, rows);
}
