/* bench-bed.c - the model of a measurement, cut to what fits, on the device
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#include "engine/error.h"
#include "engine/model-shape.h"
#include "engine/numbers.h"
#include "engine/plan.h"
#include "engine/scratch.h"
#include "pipelines/bench.h"

#include <string.h>

#define PROMPT_TOKENS 32                  /* around the image */
#define SPARE_BYTES ((guint64) 768 << 20) /* for the probes and the resize */

static gboolean
open_device (BenchBed *bed, const BenchOptions *options, VlmWeightType wanted,
    GError **error)
{
  DeviceStatus status;

  bed->dev = vlm_numbers_open_device (
      options->device, wanted, bed->model, options->threads, &status);
  if (bed->dev && options->count)
    bench_count_begin (bed->dev);
  if (bed->dev)
    return TRUE;
  g_set_error (error, VLM_ERROR, VLM_ERROR_DEVICE,
      "--device: %s cannot be used: %s.", options->device, status.message);
  return FALSE;
}

/* Random values are stored in the type they are wanted in: bf16 as published
 * unless f32 is asked for. */
static VlmModel *
make_model (const BenchOptions *options, GError **error)
{
  const VlmShape *shape;
  gboolean f32 = g_str_equal (options->weights, "f32");

  if (!options->shape)
    return vlm_model_open (options->model, error);
  shape = vlm_shape_find (options->shape);
  return vlm_model_new_random (
      shape->name, shape->config, f32 ? TYPE_F32 : TYPE_BF16, TRUE, 1, error);
}

static guint64
bytes_needed (BenchBed *bed)
{
  const VlmModel *model = bed->model;
  const VlmTextConfig *text = &model->config.text;
  int n_pages = (bed->max_sequence + KV_PAGE_TOKENS - 1) / KV_PAGE_TOKENS;
  int bound = vlm_policy_bound (&bed->geometry);

  return vlm_vision_bytes (bed->dev, model, bed->type, bed->n_tiles) +
         vlm_projector_bytes (bed->dev, model, bed->type, bound) +
         vlm_decoder_bytes (bed->dev, model, bed->type, bed->max_tokens, 1) +
         n_pages * (vlm_kv_page_bytes (bed->dev, text) +
                       vlm_fine_page_bytes (&model->config)) +
         vlm_fine_bytes (bed->dev, &model->config) +
         (guint64) bed->max_sequence * text->width * sizeof (Residual) +
         SPARE_BYTES;
}

static gboolean
refuse (const BenchBed *bed, guint64 needed, guint64 available, GError **error)
{
  g_set_error (error, VLM_ERROR, VLM_ERROR_NO_MEMORY,
      "%d layers of %s do not fit on %s: %" G_GUINT64_FORMAT
      " bytes are needed and %" G_GUINT64_FORMAT " are free.",
      bed->model->config.text.layers, bed->model->name, bed->dev->name, needed,
      available);
  return FALSE;
}

/* Cuts to the number asked for, or layer by layer until all fits. */
static gboolean
fit_layers (BenchBed *bed, int layers, GError **error)
{
  guint64 available = device_memory_free (bed->dev);
  guint64 needed;
  int n = MAX (bed->text_layers, bed->vision_layers);

  if (layers > 0)
    vlm_model_cut_layers (bed->model, layers);
  while ((needed = bytes_needed (bed)) > available) {
    if (layers > 0 || n == 1)
      return refuse (bed, needed, available, error);
    vlm_model_cut_layers (bed->model, --n);
  }
  return TRUE;
}

/* A picture with something to resize everywhere. */
static void
make_picture (BenchBed *bed, int width, int height)
{
  gsize stride = (gsize) width * 3;
  guint8 *data = g_malloc ((stride + 3) * (height + 1));

  for (int y = 0; y < height; y++)
    for (int x = 0; x < width; x++) {
      guint8 *pixel = data + y * stride + (gsize) x * 3;

      pixel[0] = (guint8) (7 * x + 13 * y + ((x * y) >> 3));
      pixel[1] = (guint8) (x * x + 3 * y);
      pixel[2] = (guint8) (x ^ (5 * y));
    }
  bed->picture_data = data;
  bed->picture = (VlmPicture){ data, width, height, stride, 1, 1 };
}

/* The same bytes as NV12 in the colours of BT.709, limited range. */
static void
make_nv12 (BenchBed *bed)
{
  VlmPicture *picture = &bed->picture;
  gsize stride = (gsize) picture->width + picture->width % 2;

  bed->pixels = (Pixels){
    .plane = { picture->data, picture->data + stride * picture->height },
    .stride = { stride, stride },
    .part = { { 0, 0, 1 }, { 1, 0, 2 }, { 1, 1, 2 } },
    .width = picture->width,
    .height = picture->height,
    .bytes = 1,
    .shift_x = 1,
    .shift_y = 1,
    .near_x = { 0, 2 },
    .near_y = { 1, 1 },
    .matrix = { { 1220945, 0, 1879825, -260152711 },
        { 1220945, -223607, -558796, 80612479 },
        { 1220945, 2215014, 0, -303056898 } },
  };
  picture->pixels = &bed->pixels;
}

static gboolean
lay_out (BenchBed *bed, const BenchOptions *options, GError **error)
{
  const VlmConfig *config = &bed->model->config;

  make_picture (bed, options->width, options->height);
  if (options->nv12)
    make_nv12 (bed);
  if (!vlm_tile_geometry (
          &bed->geometry, config, options->width, options->height, error))
    return FALSE;
  bed->n_tiles = vlm_tile_count (&bed->geometry);
  bed->max_sequence = PROMPT_TOKENS +
                      vlm_tile_image_tokens (&bed->geometry, config) +
                      options->tokens;
  bed->max_tokens = MIN (
      bed->max_sequence, vlm_plan_chunk (bed->dev, bed->model, bed->type,
                             bed->max_sequence, device_memory_free (bed->dev)));
  bed->text_layers = config->text.layers;
  bed->vision_layers = vlm_model_vision_layers (bed->model);
  return TRUE;
}

static gboolean
make_cache (BenchBed *bed, int n_pages, GError **error)
{
  const VlmConfig *config = &bed->model->config;
  int n_fine = config->zoom.ratio ? vlm_fine_pages (config) : 0;

  bed->pool = vlm_kv_pool_new_with_fine (
      bed->dev, &config->text, n_pages, config->zoom.layer, n_fine, error);
  if (bed->pool && n_fine)
    bed->fine = vlm_fine_store_new (bed->dev, config, 1, n_pages, error);
  return bed->pool && (!n_fine || bed->fine);
}

static gboolean
load_networks (BenchBed *bed, GError **error)
{
  const VlmTextConfig *text = &bed->model->config.text;
  Device *dev = bed->dev;
  int n_pages = (bed->max_sequence + KV_PAGE_TOKENS - 1) / KV_PAGE_TOKENS;

  bed->tiler =
      vlm_tiler_new (dev, &bed->model->config, VLM_RESAMPLING_TORCHVISION);
  bed->vision =
      vlm_vision_new (dev, bed->model, bed->type, bed->n_tiles, error);
  if (!bed->vision)
    return FALSE;
  bed->projector = vlm_projector_new (
      dev, bed->model, bed->type, vlm_policy_bound (&bed->geometry), error);
  if (!bed->projector)
    return FALSE;
  bed->decoder =
      vlm_decoder_new (dev, bed->model, bed->type, bed->max_tokens, 1, error);
  if (!bed->decoder)
    return FALSE;
  if (!make_cache (bed, n_pages, error))
    return FALSE;
  bed->sampler = vlm_sampler_new (dev, text->vocab);
  bed->x = device_alloc (
      dev, (gsize) bed->max_sequence * text->width * sizeof (Residual));
  return vlm_device_check (dev, error);
}

gboolean
bench_bed_open (BenchBed *bed, const BenchOptions *options, GError **error)
{
  VlmWeightType wanted;

  if (!vlm_numbers_parse (&wanted, options->weights, error))
    return FALSE;
  bed->model = make_model (options, error);
  if (!bed->model || !open_device (bed, options, wanted, error))
    return FALSE;
  if (options->fine_threshold >= 0)
    bed->model->config.zoom.threshold = options->fine_threshold;
  bed->type = vlm_numbers_choose (wanted, bed->dev, bed->model);
  return TRUE;
}

gboolean
bench_bed_init (BenchBed *bed, const BenchOptions *options, GError **error)
{
  return bench_bed_open (bed, options, error) &&
         lay_out (bed, options, error) &&
         fit_layers (bed, options->layers, error) && load_networks (bed, error);
}

void
bench_bed_clear (BenchBed *bed)
{
  if (bed->dev)
    device_free (bed->dev, bed->x);
  vlm_sampler_free (bed->sampler);
  vlm_fine_store_free (bed->fine);
  vlm_kv_pool_free (bed->pool);
  vlm_decoder_free (bed->decoder);
  vlm_projector_free (bed->projector);
  vlm_vision_free (bed->vision);
  vlm_tiler_free (bed->tiler);
  vlm_model_free (bed->model);
  if (bed->dev)
    bench_count_end (bed->dev);
  device_close (bed->dev);
  g_free (bed->picture_data);
  memset (bed, 0, sizeof *bed);
}
