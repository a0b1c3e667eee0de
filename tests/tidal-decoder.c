/* tidal-decoder.c - decoder steps that attend to chosen keys
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#include "tests/tidal.h"

#include <string.h>

#include "engine/decoder.h"
#include "engine/error.h"

#define MAX_STEP 160
#define N_PAGES 24
#define PROMPT 150

static void
bed_init (DecoderBed *bed, Device *dev, const BedModel *shape)
{
  decoder_bed_init (bed, dev, shape, N_PAGES, MAX_STEP, 8);
}

/* On a GPU products of many rows are not those of few. */
static float
exact_on (const Device *dev)
{
  return g_str_has_prefix (dev->name, "cuda") ? 1e-4 : BED_EXACT;
}

static VlmTidal
tidal_of (const DecoderBed *bed, VlmTidalGroup group, int tokens, int reselect)
{
  g_autoptr (GError) error = NULL;
  VlmTidalSettings settings = { tokens, reselect, group, 0 };
  VlmTidal tidal;

  vlm_tidal_init (
      &tidal, &settings, &bed->model->config.text, "random", &error);
  g_assert_no_error (error);
  return tidal;
}

static int
id_at (int i, int seed)
{
  return (i * i * 7 + i * 31 + seed * 13) % 89;
}

/* A sequence that has read `length` tokens of a text. */
static void
read_text (DecoderBed *bed, VlmSequence *seq, int length, int seed)
{
  g_autofree int *ids = g_new (int, length);
  float logits[BED_VOCAB];

  vlm_sequence_init (seq, bed->pool);
  for (int i = 0; i < length; i++)
    ids[i] = id_at (i, seed);
  decoder_bed_step (bed,
      &(VlmStepInput){ .seq = seq, .n = length, .ids = ids, .n_logits = 1 }, 1,
      logits);
}

/* Its next token, given, not sampled. */
static void
feed (DecoderBed *bed, VlmSequence *seq, int seed, const VlmTidal *tidal,
    float *logits)
{
  int id = id_at (seq->length, seed);

  decoder_bed_step (bed,
      &(VlmStepInput){
          .seq = seq, .n = 1, .ids = &id, .n_logits = 1, .tidal = tidal },
      1, logits);
}

static float
difference (const float *a, const float *b)
{
  float worst = 0;

  for (int i = 0; i < BED_VOCAB; i++)
    worst = MAX (worst, ABS (a[i] - b[i]));
  return worst;
}

static const VlmTidalGroup groups[] = { VLM_TIDAL_KV, VLM_TIDAL_QUERY,
  VLM_TIDAL_PAGES };

/* While the budget covers the context, up to and including it, no bit
 * differs from full attention; past it some do. */
static void
test_exact (Device *dev, gconstpointer data)
{
  DecoderBed bed;

  bed_init (&bed, dev, data);
  for (gsize g = 0; g < G_N_ELEMENTS (groups); g++)
    for (int wide = 0; wide <= 1; wide++) {
      int budget = wide ? PROMPT + 64 : 90, length = wide ? PROMPT : 70;
      VlmTidal tidal = tidal_of (&bed, groups[g], budget, 4);
      gboolean differs = FALSE;
      VlmSequence seq, full;

      read_text (&bed, &seq, length, 1);
      read_text (&bed, &full, length, 1);
      for (int i = 0; i < 64; i++) {
        float want[BED_VOCAB], got[BED_VOCAB];

        feed (&bed, &full, 1, NULL, want);
        feed (&bed, &seq, 1, &tidal, got);
        if (seq.length <= budget)
          bed_compare ("within the budget", got, want, BED_VOCAB, BED_EXACT);
        else
          differs |= difference (got, want) > 0;
      }
      /* Not where a window is narrower than the budget, nor where two pages
       * of three are chosen from. */
      g_assert_true (differs || wide || bed.model->config.text.window ||
                     groups[g] == VLM_TIDAL_PAGES);
      vlm_sequence_clear (&seq);
      vlm_sequence_clear (&full);
    }
  decoder_bed_clear (&bed);
}

/* The sparse layers' own arithmetic with everything listed: on the processor
 * the same bits, but where a window begins within a page. And nothing of it
 * stays behind for a full request. */
static void
test_all_listed (Device *dev, gconstpointer data)
{
  float tolerance;
  DecoderBed bed;

  bed_init (&bed, dev, data);
  tolerance = bed.model->config.text.window ? 1e-5 : exact_on (dev);
  for (gsize g = 0; g < G_N_ELEMENTS (groups); g++) {
    VlmTidal tidal = tidal_of (&bed, groups[g], 1000, 4);
    VlmTidal few = tidal_of (&bed, groups[g], 10, 4);
    float want[BED_VOCAB], got[BED_VOCAB];
    VlmSequence seq, full;

    tidal.always = TRUE;
    read_text (&bed, &full, PROMPT, 1);
    for (int i = 0; i < 12; i++) {
      feed (&bed, &full, 1, NULL, want);
      if (i == 0)
        read_text (&bed, &seq, PROMPT, 1);
      feed (&bed, &seq, 1, &tidal, got);
      bed_compare ("all listed", got, want, BED_VOCAB, tolerance);
    }
    vlm_sequence_clear (&seq);
    read_text (&bed, &seq, PROMPT, 2);
    feed (&bed, &seq, 2, &few, got);
    feed (&bed, &full, 1, NULL, want);
    vlm_sequence_clear (&full);
    read_text (&bed, &full, PROMPT, 1);
    for (int i = 0; i < 13; i++)
      feed (&bed, &full, 1, NULL, got);
    bed_compare ("full afterwards", got, want, BED_VOCAB, exact_on (dev));
    vlm_sequence_clear (&seq);
    vlm_sequence_clear (&full);
  }
  decoder_bed_clear (&bed);
}

#define N_SEQS 6

/* Sequences of one step with settings of their own, and one that is in its
 * prompt: each as if it were alone. */
static void
test_batch (Device *dev, gconstpointer data)
{
  static const int lengths[N_SEQS] = { 150, 130, 100, 160, 70, 140 };
  float together[N_SEQS * BED_VOCAB], alone[BED_VOCAB];
  VlmTidal kv, query, pages;
  VlmSequence seqs[N_SEQS];
  VlmStepInput inputs[N_SEQS];
  int ids[N_SEQS][9];
  DecoderBed bed;

  bed_init (&bed, dev, data);
  kv = tidal_of (&bed, VLM_TIDAL_KV, 17, 0);
  query = tidal_of (&bed, VLM_TIDAL_QUERY, 40, 4);
  pages = tidal_of (&bed, VLM_TIDAL_PAGES, 64, 3);
  const VlmTidal *const tidal[N_SEQS] = { &kv, &kv, NULL, &pages, &kv, &query };
  for (int s = 0; s < N_SEQS; s++) {
    int n = s == 4 ? 9 : 1; /* several tokens: full attention */

    read_text (&bed, &seqs[s], lengths[s], s);
    for (int i = 0; i < n; i++)
      ids[s][i] = id_at (lengths[s] + i, s);
    inputs[s] = (VlmStepInput){
      .seq = &seqs[s], .n = n, .ids = ids[s], .n_logits = 1, .tidal = tidal[s]
    };
  }
  decoder_bed_step (&bed, inputs, N_SEQS, together);
  for (int s = 0; s < N_SEQS; s++) {
    vlm_sequence_clear (&seqs[s]);
    read_text (&bed, &seqs[s], lengths[s], s);
    decoder_bed_step (&bed, &inputs[s], 1, alone);
    bed_compare ("in a batch", together + s * BED_VOCAB, alone, BED_VOCAB,
        exact_on (dev));
    vlm_sequence_clear (&seqs[s]);
  }
  decoder_bed_clear (&bed);
}

/* Keys of a layer's pages, on the host as on the processor. */
static gboolean
same_keys (const DecoderBed *bed, const VlmSequence *a, const VlmSequence *b,
    int layer, float tolerance)
{
  const VlmTextConfig *t = &bed->model->config.text;
  const KvLayer *kv = vlm_kv_pool_layer (bed->pool, layer);
  int c = t->head_width;

  for (int j = 0; j < a->length; j++)
    for (int head = 0; head < t->kv_heads; head++)
      for (int i = 0; i < c; i++) {
        int page = j / KV_PAGE_TOKENS, place = j % KV_PAGE_TOKENS;
        gsize at = cpu_key_offset (place, c) + (gsize) i * KEY_PANEL;
        float x =
            ((const float *) kv
                    ->k)[cpu_kv_offset (a->pages[page], head, t->kv_heads, c) +
                         at];
        float y =
            ((const float *) kv
                    ->k)[cpu_kv_offset (b->pages[page], head, t->kv_heads, c) +
                         at];

        if (ABS (x - y) > tolerance)
          return FALSE;
      }
  return TRUE;
}

/* Given the same tokens, keys up to the layer after the selection are those
 * of full attention, keys above are not; reading the tokens again makes them
 * so. */
static void
test_pollution (Device *dev, gconstpointer data)
{
  VlmSequence seq, full;
  float logits[BED_VOCAB];
  VlmTidal tidal;
  int ids[20];
  DecoderBed bed;

  bed_init (&bed, dev, data);
  tidal = tidal_of (&bed, VLM_TIDAL_KV, 8, 0);
  read_text (&bed, &seq, PROMPT, 3);
  read_text (&bed, &full, PROMPT, 3);
  for (int i = 0; i < 20; i++) {
    ids[i] = id_at (PROMPT + i, 3);
    feed (&bed, &seq, 3, &tidal, logits);
    feed (&bed, &full, 3, NULL, logits);
  }
  for (int layer = 0; layer < 6; layer++)
    g_assert_cmpint (same_keys (&bed, &seq, &full, layer, 0), ==,
        layer <= VLM_TIDAL_SELECT_LAYER + 1);
  vlm_sequence_rewind (&seq, PROMPT);
  decoder_bed_step (&bed,
      &(VlmStepInput){ .seq = &seq, .n = 20, .ids = ids, .n_logits = 1 }, 1,
      logits);
  g_assert_cmpint (seq.length, ==, full.length);
  for (int layer = 0; layer < 6; layer++)
    g_assert_true (same_keys (&bed, &seq, &full, layer, 1e-5));
  vlm_sequence_clear (&seq);
  vlm_sequence_clear (&full);
  decoder_bed_clear (&bed);
}

/* Nothing is allocated in a step. */
static void
test_memory (Device *dev, gconstpointer data)
{
  float logits[BED_VOCAB];
  VlmTidal tidal;
  VlmSequence seq;
  BedCount count;
  DecoderBed bed;

  bed_init (&bed, dev, data);
  read_text (&bed, &seq, PROMPT, 1);
  for (gsize g = 0; g < G_N_ELEMENTS (groups); g++) {
    tidal = tidal_of (&bed, groups[g], 20, 0);
    bed_count_begin (&count, dev);
    feed (&bed, &seq, 1, &tidal, logits);
    feed (&bed, &seq, 1, &tidal, logits);
    g_assert_cmpint (count.n, ==, 0);
    bed_count_end (&count, dev);
  }
  vlm_sequence_clear (&seq);
  decoder_bed_clear (&bed);
}

typedef struct {
  int layers, kv_heads, tokens, reselect;
  int found; /* the layer, or negative: refused */
} Resolution;

static void
test_settings (void)
{
  static const Resolution cases[] = {
    { 32, 32, 256, -1, 7 },
    { 32, 8, 256, -1, 13 },
    { 5, 2, 256, -1, 0 },
    { 40, 40, 256, -1, -1 },
    { 40, 40, 256, 0, 0 },
    { 40, 40, 256, 39, 39 },
    { 40, 40, 256, 40, -1 },
    { 40, 40, 256, 2, -1 },
    { 40, 40, 1, 13, -1 },
    { 3, 2, 256, 0, -1 },
  };

  for (gsize i = 0; i < G_N_ELEMENTS (cases); i++) {
    const Resolution *c = &cases[i];
    VlmTextConfig text = { .kind = VLM_TEXT_LLAMA,
      .layers = c->layers,
      .width = 4096,
      .heads = 32,
      .kv_heads = c->kv_heads };
    VlmTidalSettings settings = { c->tokens, c->reselect, VLM_TIDAL_KV, 0 };
    g_autoptr (GError) error = NULL;
    VlmTidal tidal;
    gboolean done = vlm_tidal_init (&tidal, &settings, &text, "m", &error);

    g_assert_cmpint (done, ==, c->found >= 0);
    if (done)
      g_assert_cmpint (tidal.reselect_layer, ==, c->found);
    else
      g_assert_error (error, VLM_ERROR, VLM_ERROR_REQUEST);
  }
}

static const BedModel gqa = { .text_layers = 6 };
static const BedModel windows = {
  .text_layers = 6, .text_type = "mistral", .text = ",\"sliding_window\":48"
};

void
tidal_add_decoder (void)
{
  g_test_add_func ("/tidal/settings", test_settings);
  bed_add ("/tidal/exact", test_exact, &gqa);
  bed_add ("/tidal/exact/windows", test_exact, &windows);
  bed_add ("/tidal/all-listed", test_all_listed, &gqa);
  bed_add ("/tidal/all-listed/windows", test_all_listed, &windows);
  bed_add ("/tidal/batch", test_batch, &gqa);
  bed_add ("/tidal/batch/windows", test_batch, &windows);
  bed_add ("/tidal/pollution", test_pollution, &gqa);
  bed_add ("/tidal/memory", test_memory, &gqa);
  bed_add_on ("/tidal/all-listed", "cuda:f32", test_all_listed, &gqa);
  bed_add_on ("/tidal/batch", "cuda:f32", test_batch, &gqa);
}
