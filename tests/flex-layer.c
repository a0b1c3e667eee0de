/* flex-layer.c - FlexAttention's layers one by one, against doubles
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * The decoder's layers 7 to 11, fed with noise: a prompt in one block and then
 * some tokens, their outputs, what is cached of them and what each selects.
 */
#include <math.h>
#include <string.h>

#include "engine/decoder-private.h"
#include "tests/flex-reference.h"
#include "tests/networks-bed.h"

enum {
  FIRST = 7,
  LAYERS = 5, /* 9 and up look closer, 8 selects */
  AFTER = 7,  /* tokens of the prompt after the picture */
  STEPS = 3,
  D = 64,
  G = 72,
  MOST = 35 + 24 * 24 + AFTER + STEPS,
};

#define CONFIG                                                                 \
  "{\"model_type\":\"llava\",\"mm_vision_tower\":\"tower\","                   \
  "\"mm_projector_type\":\"mlp2x_gelu\",\"image_aspect_ratio\":\"pad\","       \
  "\"vocab_size\":32,\"hidden_size\":64,\"intermediate_size\":96,"             \
  "\"num_hidden_layers\":13,\"num_attention_heads\":4,"                        \
  "\"num_key_value_heads\":%d,\"rms_norm_eps\":1e-5,"                          \
  "\"max_position_embeddings\":4096,"                                          \
  "\"vision_config\":{\"hidden_size\":16,\"intermediate_size\":16,"            \
  "\"num_hidden_layers\":2,\"num_attention_heads\":2,\"image_size\":96,"       \
  "\"patch_size\":4},\"extra\":{\"zoom_ratio\":\"3\","                         \
  "\"highres_size\":\"288\",\"lowres_size\":\"96\",\"threshold\":\"48\"}}"

typedef struct {
  int key_heads, begin;
} Shape;

typedef struct {
  Device *dev;
  VlmModel *model;
  VlmDecoder *d;
  VlmKvPool *pool;
  VlmFineStore *store;
  Residual *rows; /* [MOST,D] */
  FlexShape shape;
  FlexLayer layers[LAYERS];
  int begin, length; /* of the prompt */
  float *input, *F;  /* [MOST,D], [G*G,D] line after line */
  double *fine_keys[LAYERS], *fine_values[LAYERS];
  double *keys[LAYERS], *values[LAYERS]; /* [MOST,k*c] of the reference */
  double *plain[LAYERS];                 /* [length,D] without a second look */
  int n_masks, n_clear;                  /* compared; not decided by rounding */
} Bed;

static const float *
weight (const Bed *bed, int layer, const char *name)
{
  g_autofree char *full =
      g_strdup_printf ("text.layers.%d.%s.weight", layer, name);
  const VlmTensor *tensor = vlm_weights_find (bed->model->weights, full);

  g_assert_nonnull (tensor);
  return (const float *) (const void *) tensor->data;
}

static float *
noise (GRand *r, gsize n)
{
  float *x = g_new (float, n);

  for (gsize i = 0; i < n; i++) { /* Box and Muller */
    double u = g_rand_double_range (r, 1e-9, 1), v = g_rand_double (r);

    x[i] = (float) (sqrt (-2 * log (u)) * cos (2 * G_PI * v));
  }
  return x;
}

static void
find_layers (Bed *bed)
{
  for (int i = 0; i < LAYERS; i++) {
    int at = FIRST + i;

    bed->layers[i] = (FlexLayer){ weight (bed, at, "input_layernorm"),
      weight (bed, at, "self_attn.q_proj"),
      weight (bed, at, "self_attn.k_proj"),
      weight (bed, at, "self_attn.v_proj"),
      weight (bed, at, "self_attn.o_proj"),
      weight (bed, at, "post_attention_layernorm"),
      weight (bed, at, "mlp.gate_proj"), weight (bed, at, "mlp.up_proj"),
      weight (bed, at, "mlp.down_proj"),
      at < 9 ? NULL : weight (bed, at, "self_attn.k_proj_hd"),
      at < 9 ? NULL : weight (bed, at, "self_attn.v_proj_hd") };
  }
}

/* The reference's prompt without a second look: what only the last row, and
 * the rows after it, can change. */
static void
run_plain (Bed *bed)
{
  gsize kv = (gsize) bed->shape.k * bed->shape.c;
  g_autofree double *x = g_new (double, bed->length *D);

  for (int i = 0; i < bed->length * D; i++)
    x[i] = bed->input[i];
  for (int i = 0; i < LAYERS; i++) {
    bed->keys[i] = g_new (double, MOST *kv);
    bed->values[i] = g_new (double, MOST *kv);
    for (int row = 0; row < bed->length; row++)
      flex_row (&bed->shape, &bed->layers[i], x + row * D, row, bed->keys[i],
          bed->values[i], NULL, NULL);
    bed->plain[i] = g_memdup2 (x, bed->length * D * sizeof *x);
    if (FIRST + i < 9)
      continue;
    bed->fine_keys[i] = g_new (double, G *G *kv);
    bed->fine_values[i] = g_new (double, G *G *kv);
    flex_fine_keys (&bed->shape, &bed->layers[i], bed->F, bed->begin,
        bed->fine_keys[i], bed->fine_values[i]);
  }
}

static void
bed_init (Bed *bed, Device *dev, const Shape *shape)
{
  g_autoptr (GError) error = NULL;
  g_autofree char *json = g_strdup_printf (CONFIG, shape->key_heads);
  GRand *r = g_rand_new_with_seed (7);
  int n_pages = (MOST + KV_PAGE_TOKENS - 1) / KV_PAGE_TOKENS;

  *bed = (Bed){ .dev = dev, .begin = shape->begin };
  bed->model =
      vlm_model_new_random ("random", json, TYPE_F32, FALSE, 1, &error);
  g_assert_no_error (error);
  const VlmConfig *config = &bed->model->config;
  bed->shape = (FlexShape){ D, config->text.hidden, config->text.heads,
    config->text.kv_heads, config->text.head_width, 24, G, 1e4, 1e-5 };
  bed->d = vlm_decoder_new (dev, bed->model, TYPE_F32, MOST, 1, &error);
  bed->pool = vlm_kv_pool_new_with_fine (dev, &config->text, n_pages,
      config->zoom.layer, vlm_fine_pages (config), &error);
  bed->store = vlm_fine_store_new (dev, config, 1, n_pages, &error);
  bed->rows = device_alloc (dev, MOST * D * sizeof (float));
  g_assert_no_error (error);
  bed->length = bed->begin + 24 * 24 + AFTER;
  bed->input = noise (r, MOST * D);
  bed->F = noise (r, G * G * D);
  device_upload (dev, bed->rows, bed->input, MOST * D * sizeof (float));
  find_layers (bed);
  run_plain (bed);
  g_rand_free (r);
}

static void
bed_clear (Bed *bed)
{
  for (int i = 0; i < LAYERS; i++) {
    g_free (bed->keys[i]);
    g_free (bed->values[i]);
    g_free (bed->plain[i]);
    g_free (bed->fine_keys[i]);
    g_free (bed->fine_values[i]);
  }
  g_free (bed->input);
  g_free (bed->F);
  device_free (bed->dev, bed->rows);
  vlm_fine_store_free (bed->store);
  vlm_kv_pool_free (bed->pool);
  vlm_decoder_free (bed->d);
  vlm_model_free (bed->model);
}

static void
check_rows (const char *what, const float *found, const double *expected, int n)
{
  double largest = 0, worst = 0;

  for (int i = 0; i < n * D; i++) {
    largest = MAX (largest, fabs (expected[i]));
    worst = MAX (worst, fabs (found[i] - expected[i]));
  }
  g_test_message ("%s: %.1e of the largest", what, worst / largest);
  g_assert_cmpfloat (worst, <=, 1e-5 * largest);
}

/* Equal, where no value was so near the threshold that rounding decides; there
 * the reference goes on with what was found. */
static void
check_mask (Bed *bed, const VlmFine *fine, guint8 *mask, double margin)
{
  gboolean clear = margin > 0.01;

  bed->n_masks++;
  bed->n_clear += clear;
  for (int i = 0; i < G * G; i++) {
    guint8 lit = fine->lit[i / G / 8 * 9 + i % G / 8];

    g_assert_true (!clear || lit == mask[i]);
    mask[i] = lit;
  }
}

/* The newest row, at pos, by the reference through layer i: x and what it is
 * to look at, both replaced. Returns how clear that is. */
static double
advance (Bed *bed, const VlmFine *fine, int i, int pos, double *x, guint8 *mask)
{
  g_autofree double *p = g_new (double, pos + 1);
  FlexLook look = { bed->fine_keys[i], bed->fine_values[i], mask };

  flex_row (&bed->shape, &bed->layers[i], x, pos, bed->keys[i], bed->values[i],
      FIRST + i >= 9 ? &look : NULL, p);
  if (FIRST + i < 8)
    return 0;
  return flex_select (&bed->shape, p + bed->begin, fine->view.width,
      fine->view.height, fine->view.threshold, mask);
}

/* A block of n rows from seq->length on, of which the last looks closer. */
static void
check_block (Bed *bed, VlmFine *fine, VlmSequence *seq, int n)
{
  int pos = seq->length + n - 1;
  double x[D];
  g_autofree guint8 *mask = g_malloc0 (G * G);
  g_autofree float *found = g_new (float, n *D);
  VlmStepInput in = { .seq = seq,
    .n = n,
    .rows = bed->rows + (gsize) seq->length * D,
    .n_logits = 1,
    .rope_length = bed->length,
    .fine = fine };

  for (int j = 0; j < D; j++)
    x[j] = bed->input[pos * D + j];
  g_assert_true (vlm_sequence_reserve (seq, pos + 1));
  vlm_decoder_batch_build (&bed->d->batch, bed->dev, &in, 1);
  vlm_decoder_fine_begin (bed->d, &in, 1);
  vlm_decoder_enter (bed->d, &in, 1);
  for (int i = 0; i < LAYERS; i++) {
    double margin = advance (bed, fine, i, pos, x, mask);

    vlm_decoder_layer (bed->d, bed->pool, FIRST + i);
    device_download (bed->dev, found, bed->d->x, n * D * sizeof (float));
    if (n > 1)
      check_rows ("prompt", found, bed->plain[i], n - 1);
    check_rows ("newest", found + (n - 1) * D, x, 1);
    if (FIRST + i >= 8)
      check_mask (bed, fine, mask, margin);
    g_assert_cmpint (fine->n_lit > 0, ==, FIRST + i >= 8);
  }
  seq->length = pos + 1;
}

/* The reference's prompt is there already, but for its last row. */
static void
check_picture (Bed *bed, int width, int height, int threshold)
{
  VlmFine *fine = vlm_fine_take (bed->store);
  g_autofree float *F = g_new (float, G *G *D);
  VlmSequence seq;

  fine->view.threshold = threshold;
  for (int i = 0; i < G * G; i++)
    memcpy (F + vlm_fine_row (&fine->view, i / G, i % G) * D, bed->F + i * D,
        D * sizeof (float));
  device_upload (bed->dev, fine->features, F, G * G * D * sizeof (float));
  vlm_fine_begin (fine, bed->begin, width, height, bed->length);
  vlm_sequence_init (&seq, bed->pool);
  check_block (bed, fine, &seq, bed->length);
  for (int i = 0; i < STEPS; i++)
    check_block (bed, fine, &seq, 1);
  g_assert_cmpint (seq.length, ==, bed->length + STEPS);
  vlm_sequence_clear (&seq);
  vlm_fine_give (fine);
}

static void
test_layers (Device *dev, gconstpointer data)
{
  Bed bed;

  bed_init (&bed, dev, data);
  check_picture (&bed, 640, 480, 48);
  check_picture (&bed, 480, 640, 64);
  check_picture (&bed, 500, 500, 200);
  check_picture (&bed, 1000, 300, 48);
  check_picture (&bed, 333, 1000, 200);
  check_picture (&bed, 641, 480, 64);
  g_assert_cmpint (bed.n_clear, >, bed.n_masks / 10 * 8);
  bed_clear (&bed);
}

int
main (int argc, char **argv)
{
  static const Shape own = { 4, 5 }, shared = { 2, 35 };

  g_test_init (&argc, &argv, NULL);
  bed_add ("/flex-layer/own-keys", test_layers, &own);
  bed_add ("/flex-layer/shared-keys", test_layers, &shared);
  return g_test_run ();
}
