/* networks-decoder.c - steps, chunks, batches, pages and windows
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * What the numbers are is tests/golden.c's question; here it is that they do
 * not depend on how the work was cut.
 */
#include "tests/networks.h"

#include <string.h>

#include "engine/decoder.h"
#include "engine/error.h"

#define MAX_STEP 160
#define MAX_LOGITS 150

static void
bed_init (DecoderBed *bed, Device *dev, const BedModel *shape)
{
  decoder_bed_init (bed, dev, shape, 16, MAX_STEP, MAX_LOGITS);
}

static void
make_ids (int *ids, int n, int seed)
{
  for (int i = 0; i < n; i++)
    ids[i] = (i * i * 7 + i * 31 + seed * 13) % 89;
}

/* Runs n tokens in pieces, the last position's logits out. */
static void
prefill (DecoderBed *bed, VlmSequence *seq, const int *ids, int n, int piece,
    float *logits)
{
  int length = n + seq->length;

  for (int done = 0; done < n; done += piece) {
    VlmStepInput in = { seq, MIN (piece, n - done), ids + done, NULL, 0,
      length };

    in.n_logits = done + in.n == n;
    decoder_bed_step (bed, &in, 1, logits);
  }
}

static void
fresh (DecoderBed *bed, const int *ids, int n, float *logits)
{
  VlmSequence seq;

  vlm_sequence_init (&seq, bed->pool);
  prefill (bed, &seq, ids, n, MAX_STEP, logits);
  vlm_sequence_clear (&seq);
}

static void
test_chunks (Device *dev, gconstpointer data)
{
  static const int lengths[] = { 1, 2, 63, 64, 65, 127, 128, 129, 150 };
  static const int pieces[] = { 1, 7, 63, 64, 65 };
  float whole[BED_VOCAB], chunked[BED_VOCAB];
  int ids[150];
  DecoderBed bed;

  bed_init (&bed, dev, data);
  make_ids (ids, 150, 1);
  for (gsize i = 0; i < G_N_ELEMENTS (lengths); i++) {
    fresh (&bed, ids, lengths[i], whole);
    for (gsize j = 0; j < G_N_ELEMENTS (pieces); j++) {
      VlmSequence seq;

      vlm_sequence_init (&seq, bed.pool);
      prefill (&bed, &seq, ids, lengths[i], pieces[j], chunked);
      g_assert_cmpint (seq.length, ==, lengths[i]);
      g_assert_cmpint (seq.n_pages, ==, (lengths[i] + 63) / 64);
      vlm_sequence_clear (&seq);
      bed_compare ("chunked", chunked, whole, BED_VOCAB, BED_EXACT);
    }
  }
  decoder_bed_clear (&bed);
}

/* Logits of every position at once equal those of each prefix. */
static void
test_all_logits (Device *dev, gconstpointer data)
{
  g_autofree float *all = g_new (float, MAX_LOGITS *BED_VOCAB);
  float one[BED_VOCAB];
  int ids[70];
  VlmSequence seq;
  DecoderBed bed;

  bed_init (&bed, dev, data);
  make_ids (ids, 70, 2);
  vlm_sequence_init (&seq, bed.pool);
  decoder_bed_step (
      &bed, &(VlmStepInput){ &seq, 70, ids, NULL, 70, 70 }, 1, all);
  vlm_sequence_clear (&seq);
  for (int n = 1; n <= 70; n += 23) {
    fresh (&bed, ids, n, one);
    bed_compare (
        "prefix", one, all + (n - 1) * BED_VOCAB, BED_VOCAB, BED_EXACT);
  }
  decoder_bed_clear (&bed);
}

#define N_SEQS 4

/* Prefills, single tokens and tokens without logits, all in one step. */
static void
test_batch (Device *dev, gconstpointer data)
{
  static const int before[N_SEQS] = { 0, 63, 64, 100 };
  static const int now[N_SEQS] = { 30, 1, 20, 1 };
  static const int wanted[N_SEQS] = { 1, 1, 0, 1 };
  float together[N_SEQS * BED_VOCAB], alone[BED_VOCAB];
  int ids[N_SEQS][128];
  VlmSequence seqs[N_SEQS];
  VlmStepInput inputs[N_SEQS];
  DecoderBed bed;
  int row = 0;

  bed_init (&bed, dev, data);
  for (int s = 0; s < N_SEQS; s++) {
    int length = before[s] + now[s];

    make_ids (ids[s], 128, s);
    vlm_sequence_init (&seqs[s], bed.pool);
    if (before[s])
      prefill (&bed, &seqs[s], ids[s], before[s], 50, alone);
    inputs[s] = (VlmStepInput){ &seqs[s], now[s], ids[s] + before[s], NULL,
      wanted[s], length };
  }
  decoder_bed_step (&bed, inputs, N_SEQS, together);
  for (int s = 0; s < N_SEQS; s++)
    vlm_sequence_clear (&seqs[s]);
  for (int s = 0; s < N_SEQS; s++) {
    if (!wanted[s])
      continue;
    vlm_sequence_init (&seqs[s], bed.pool);
    if (before[s])
      prefill (&bed, &seqs[s], ids[s], before[s], 50, alone);
    prefill (&bed, &seqs[s], ids[s] + before[s], now[s], 128, alone);
    vlm_sequence_clear (&seqs[s]);
    bed_compare ("in a batch", together + row++ * BED_VOCAB, alone, BED_VOCAB,
        BED_EXACT);
  }
  decoder_bed_clear (&bed);
}

/* A step given up changes nothing and may be run again. */
static void
test_cancelled (Device *dev, gconstpointer data)
{
  float wanted[BED_VOCAB], again[BED_VOCAB];
  gint cancelled = TRUE;
  int ids[80];
  VlmSequence seq;
  DecoderBed bed;

  bed_init (&bed, dev, data);
  make_ids (ids, 80, 4);
  fresh (&bed, ids, 80, wanted);
  vlm_sequence_init (&seq, bed.pool);
  prefill (&bed, &seq, ids, 70, 70, again);
  for (int i = 0; i < 2; i++) {
    g_autoptr (GError) error = NULL;
    VlmStepInput in = { .seq = &seq,
      .n = 10,
      .ids = ids + 70,
      .n_logits = 1,
      .rope_length = 80,
      .cancelled = &cancelled };
    float *rows;

    g_assert_true (vlm_sequence_reserve (&seq, 80));
    g_assert_false (vlm_decoder_step (bed.decoder, &in, 1, &rows, &error));
    g_assert_error (error, VLM_ERROR, VLM_ERROR_CANCELLED);
    g_assert_cmpint (seq.length, ==, 70);
  }
  prefill (&bed, &seq, ids + 70, 10, 10, again);
  bed_compare ("again", again, wanted, BED_VOCAB, BED_EXACT);
  vlm_sequence_clear (&seq);
  decoder_bed_clear (&bed);
}

static void
test_truncate (Device *dev, gconstpointer data)
{
  float again[BED_VOCAB], whole[BED_VOCAB];
  int ids[128], other[128];
  VlmSequence seq;
  DecoderBed bed;

  bed_init (&bed, dev, data);
  make_ids (ids, 128, 1);
  memcpy (other, ids, sizeof other);
  make_ids (other + 37, 91, 9);
  vlm_sequence_init (&seq, bed.pool);
  prefill (&bed, &seq, ids, 128, 40, again);
  vlm_sequence_truncate (&seq, 37);
  g_assert_cmpint (seq.n_pages, ==, 1);
  prefill (&bed, &seq, other + 37, 60, 60, again);
  vlm_sequence_clear (&seq);
  fresh (&bed, other, 97, whole);
  bed_compare ("after truncation", again, whole, BED_VOCAB, BED_EXACT);
  decoder_bed_clear (&bed);
}

/* Embedded rows of the caller's equal ids. */
static void
test_rows (Device *dev, gconstpointer data)
{
  float from_ids[BED_VOCAB], from_rows[BED_VOCAB];
  int ids[64];
  VlmSequence seq;
  DecoderBed bed;
  Residual *x;

  bed_init (&bed, dev, data);
  make_ids (ids, 64, 5);
  x = device_alloc (dev, 66 * 48 * sizeof *x);
  vlm_decoder_embed (bed.decoder, x, 2, ids, 64);
  vlm_sequence_init (&seq, bed.pool);
  decoder_bed_step (
      &bed, &(VlmStepInput){ &seq, 64, NULL, x + 2 * 48, 1, 64 }, 1, from_rows);
  vlm_sequence_clear (&seq);
  fresh (&bed, ids, 64, from_ids);
  bed_compare ("from rows", from_rows, from_ids, BED_VOCAB, 0);
  device_free (dev, x);
  decoder_bed_clear (&bed);
}

/* With one layer and a window of 20 a token sees itself and 19 before it. */
static void
test_window (Device *dev, gconstpointer data)
{
  const BedModel shape = {
    .text_type = "mistral", .text = ",\"sliding_window\":20", .text_layers = 1
  };
  float before[BED_VOCAB], outside[BED_VOCAB], inside[BED_VOCAB];
  int ids[90];
  DecoderBed bed;

  bed_init (&bed, dev, &shape);
  make_ids (ids, 90, 3);
  fresh (&bed, ids, 90, before);
  ids[69] = 88 - ids[69];
  fresh (&bed, ids, 90, outside);
  ids[70] = 88 - ids[70];
  fresh (&bed, ids, 90, inside);
  bed_compare ("outside the window", outside, before, BED_VOCAB, 0);
  g_assert_true (memcmp (inside, before, sizeof before) != 0);
  decoder_bed_clear (&bed);
}

/* Frequencies that follow the length differ between sequences of a batch. */
static void
test_dynamic_rope (Device *dev, gconstpointer data)
{
  float together[2 * BED_VOCAB], alone[2][BED_VOCAB], stock[BED_VOCAB];
  int ids[60];
  VlmSequence seqs[2];
  VlmStepInput inputs[2];
  DecoderBed bed;

  bed_init (&bed, dev, data);
  make_ids (ids, 60, 4);
  for (int s = 0; s < 2; s++) {
    vlm_sequence_init (&seqs[s], bed.pool);
    inputs[s] = (VlmStepInput){ &seqs[s], 60, ids, NULL, 1, s ? 60 : 200 };
    decoder_bed_step (&bed, &inputs[s], 1, alone[s]);
    vlm_sequence_truncate (&seqs[s], 0);
  }
  decoder_bed_step (&bed, inputs, 2, together);
  for (int s = 0; s < 2; s++)
    vlm_sequence_clear (&seqs[s]);
  bed_compare ("long", together, alone[0], BED_VOCAB, BED_EXACT);
  bed_compare ("short", together + BED_VOCAB, alone[1], BED_VOCAB, BED_EXACT);
  fresh (&bed, ids, 60, stock);
  bed_compare ("unscaled", alone[1], stock, BED_VOCAB, 0);
  g_assert_true (memcmp (alone[0], alone[1], sizeof stock) != 0);
  decoder_bed_clear (&bed);
}

static void
test_memory (Device *dev, gconstpointer data)
{
  g_autoptr (GError) error = NULL;
  g_autoptr (VlmModel) model = bed_model_new (data);
  guint64 planned = vlm_decoder_bytes (dev, model, TYPE_BF16, 40, 3);
  guint64 page = vlm_kv_page_bytes (dev, &model->config.text);
  g_autoptr (VlmDecoder) decoder = NULL;
  g_autoptr (VlmKvPool) pool = NULL;
  VlmSequence seq;
  BedCount count;
  int ids[40];

  bed_count_begin (&count, dev);
  decoder = vlm_decoder_new (dev, model, TYPE_BF16, 40, 3, &error);
  g_assert_no_error (error);
  g_assert_cmpuint (count.bytes, <=, planned);
  g_assert_cmpuint (count.bytes, >=, planned * 9 / 10);
  count.bytes = 0;
  pool = vlm_kv_pool_new (dev, &model->config.text, 5, &error);
  g_assert_cmpuint (count.bytes, ==, 5 * page);

  count.n = 0;
  make_ids (ids, 40, 6);
  vlm_sequence_init (&seq, pool);
  vlm_sequence_reserve (&seq, 40);
  vlm_decoder_step (
      decoder, &(VlmStepInput){ &seq, 40, ids, NULL, 3, 40 }, 1, NULL, &error);
  g_assert_no_error (error);
  g_assert_cmpuint (count.n, ==, 0);
  vlm_sequence_clear (&seq);
  bed_count_end (&count, dev);
}

static void
test_pool (Device *dev, gconstpointer data)
{
  g_autoptr (GError) error = NULL;
  g_autoptr (VlmModel) model = bed_model_new (data);
  g_autoptr (VlmKvPool) pool =
      vlm_kv_pool_new (dev, &model->config.text, 4, &error);
  VlmSequence a, b;

  vlm_sequence_init (&a, pool);
  vlm_sequence_init (&b, pool);
  g_assert_true (vlm_sequence_reserve (&a, 65));
  g_assert_true (vlm_sequence_reserve (&b, 64));
  g_assert_cmpint (vlm_kv_pool_free_pages (pool), ==, 1);
  g_assert_false (vlm_sequence_reserve (&b, 193));
  g_assert_cmpint (b.n_pages, ==, 1);
  g_assert_true (vlm_sequence_reserve (&b, 128));
  g_assert_false (vlm_sequence_reserve (&a, 129));
  vlm_sequence_truncate (&b, 0);
  g_assert_cmpint (vlm_kv_pool_free_pages (pool), ==, 2);
  g_assert_true (vlm_sequence_reserve (&a, 256));
  vlm_sequence_clear (&a);
  vlm_sequence_clear (&b);
  g_assert_cmpint (vlm_kv_pool_free_pages (pool), ==, 4);
}

static const BedModel llama = { 0 };
static const BedModel mistral = { .text_type = "mistral",
  .text = ",\"sliding_window\":48" };
static const BedModel qwen2 = { .text_type = "qwen2",
  .text = ",\"use_sliding_window\":true,\"sliding_window\":30,"
          "\"max_window_layers\":2,\"rope_theta\":1e6" };
static const BedModel dynamic = {
  .text = ",\"max_position_embeddings\":64,\"rope_scaling\":"
          "{\"rope_type\":\"dynamic\",\"factor\":4.0}"
};

void
networks_add_decoder (void)
{
  bed_add ("/decoder/chunks/llama", test_chunks, &llama);
  bed_add ("/decoder/chunks/mistral", test_chunks, &mistral);
  bed_add ("/decoder/chunks/qwen2", test_chunks, &qwen2);
  bed_add ("/decoder/chunks/dynamic", test_chunks, &dynamic);
  bed_add ("/decoder/all-logits", test_all_logits, &llama);
  bed_add ("/decoder/batch/llama", test_batch, &llama);
  bed_add ("/decoder/batch/qwen2", test_batch, &qwen2);
  bed_add ("/decoder/cancelled", test_cancelled, &mistral);
  bed_add ("/decoder/truncate", test_truncate, &mistral);
  bed_add ("/decoder/rows", test_rows, &llama);
  bed_add ("/decoder/window", test_window, NULL);
  bed_add ("/decoder/dynamic-rope", test_dynamic_rope, &dynamic);
  bed_add ("/decoder/memory", test_memory, &qwen2);
  bed_add ("/decoder/pool", test_pool, &llama);
}
