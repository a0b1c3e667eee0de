/* networks-bed.c - devices, tiny random models and counts for network tests
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#include "tests/networks-bed.h"

#include <math.h>
#include <string.h>

VlmModel *
bed_model_new (const BedModel *bed)
{
  g_autoptr (GError) error = NULL;
  g_autofree char *json = g_strdup_printf (
      "{\"model_type\":\"%s\",\"image_token_index\":90,"
      "\"vision_feature_layer\":%s,"
      "\"vision_feature_select_strategy\":\"%s\","
      "%s"
      "\"vision_config\":{\"hidden_size\":32,\"intermediate_size\":80,"
      "\"num_hidden_layers\":4,\"num_attention_heads\":4,\"image_size\":32,"
      "\"patch_size\":8},"
      "\"text_config\":{\"model_type\":\"%s\",\"vocab_size\":96,"
      "\"hidden_size\":48,\"intermediate_size\":112,"
      "\"num_hidden_layers\":%d,\"num_attention_heads\":6,"
      "\"num_key_value_heads\":2,\"rms_norm_eps\":1e-5%s}}",
      bed->llava ? "llava" : "llava_next",
      bed->feature_layers ? bed->feature_layers : "-2",
      bed->full ? "full" : "default",
      bed->llava ? "" : "\"image_grid_pinpoints\":[[32,64],[64,32],[64,64]],",
      bed->text_type ? bed->text_type : "llama",
      bed->text_layers ? bed->text_layers : 3, bed->text ? bed->text : "");
  VlmModel *model =
      vlm_model_new_random ("random", json, TYPE_F32, FALSE, 20240822, &error);

  g_assert_no_error (error);
  return model;
}

void
decoder_bed_init (DecoderBed *bed, Device *dev, const BedModel *shape,
    int n_pages, int max_tokens, int max_logits)
{
  g_autoptr (GError) error = NULL;

  *bed = (DecoderBed){
    .dev = dev, .model = bed_model_new (shape), .n_pages = n_pages
  };
  bed->pool = vlm_kv_pool_new (dev, &bed->model->config.text, n_pages, &error);
  g_assert_no_error (error);
  bed->decoder = vlm_decoder_new (
      dev, bed->model, TYPE_F32, max_tokens, max_logits, &error);
  g_assert_no_error (error);
}

void
decoder_bed_clear (DecoderBed *bed)
{
  g_assert_cmpint (vlm_kv_pool_free_pages (bed->pool), ==, bed->n_pages);
  vlm_decoder_free (bed->decoder);
  vlm_kv_pool_free (bed->pool);
  vlm_model_free (bed->model);
}

void
decoder_bed_step (DecoderBed *bed, VlmStepInput *inputs, int n, float *logits)
{
  g_autoptr (GError) error = NULL;
  float *rows;
  int n_rows = 0;

  for (int i = 0; i < n; i++) {
    n_rows += inputs[i].n_logits;
    g_assert_true (vlm_sequence_reserve (
        inputs[i].seq, inputs[i].seq->length + inputs[i].n));
  }
  vlm_decoder_step (bed->decoder, inputs, n, &rows, &error);
  g_assert_no_error (error);
  if (n_rows)
    device_download (
        bed->dev, logits, rows, (gsize) n_rows * BED_VOCAB * sizeof (float));
}

typedef struct {
  const char *device;
  BedTest test;
  gconstpointer data;
} Case;

static void
run_case (gconstpointer data)
{
  const Case *c = data;
  DeviceStatus status;
  Device *dev = device_open (c->device, 1, &status);

  if (!dev) {
    g_test_skip (status.message);
    return;
  }
  c->test (dev, c->data);
  g_assert_true (device_sync (dev, &status));
  device_close (dev);
}

void
bed_add_on (
    const char *path, const char *device, BedTest test, gconstpointer data)
{
  Case *c = g_new (Case, 1);
  g_autofree char *full = g_strdup_printf ("%s/%s", path, device);

  *c = (Case){ device, test, data };
  g_test_add_data_func_full (full, c, run_case, g_free);
}

void
bed_add (const char *path, BedTest test, gconstpointer data)
{
  static const char *const devices[] = { "cpu:plain", "cpu:avx2",
    "cpu:avx512" };

  for (gsize i = 0; i < G_N_ELEMENTS (devices); i++)
    bed_add_on (path, devices[i], test, data);
}

void
bed_compare (
    const char *what, const float *a, const float *b, gsize n, float tolerance)
{
  float largest = 0, worst = 0;

  for (gsize i = 0; i < n; i++) {
    g_assert_false (isnan (a[i]) || isnan (b[i]));
    largest = MAX (largest, fabsf (b[i]));
    worst = MAX (worst, fabsf (a[i] - b[i]));
  }
  if (worst > tolerance * largest)
    g_error ("%s: differs by %g of %g", what, worst, largest);
}

static BedCount *counting;

static void *
count_alloc (Device *dev, size_t bytes)
{
  counting->n++;
  counting->bytes += bytes;
  return counting->old->alloc (dev, bytes);
}

static void
count_download (Device *dev, void *dst, const void *src, size_t bytes)
{
  counting->downloaded += bytes;
  counting->old->download (dev, dst, src, bytes);
}

static void
count_fetch (Device *dev, void *dst, const void *src, size_t bytes)
{
  counting->downloaded += bytes;
  counting->old->fetch (dev, dst, src, bytes);
}

void
bed_count_begin (BedCount *count, Device *dev)
{
  *count = (BedCount){ .op = *dev->op, .old = dev->op };
  count->op.alloc = count_alloc;
  count->op.download = count_download;
  count->op.fetch = count_fetch;
  counting = count;
  dev->op = &count->op;
}

void
bed_count_end (BedCount *count, Device *dev)
{
  dev->op = count->old;
  counting = NULL;
}
