/* plan.c - how much memory an engine takes, decided before it takes any
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#include "engine/plan.h"

#include <inttypes.h>

#include "engine/decoder.h"
#include "engine/error.h"
#include "engine/image.h"
#include "engine/places.h"
#include "engine/projector.h"
#include "engine/vision.h"

#define MAX_BATCH 8
#define CHUNK 512
#define GPU_CHUNK 4096
#define PROMPT_TOKENS 512  /* question, system prompt and template */
#define OUTPUT_TOKENS 2048 /* generated */
#define MIN_CONTEXT 1024
#define PICTURE_BYTES (64u << 20) /* tables and strips of the resize */

/* The largest picture: every grid with nothing cut off by unpadding. */
static void
measure_picture (VlmPlan *plan, const VlmConfig *config)
{
  const VlmVisionConfig *vision = &config->vision;
  int side = vision->side;
  int per_tile = vision->n_patches + (config->keep_class_token ? 1 : 0);
  plan->max_tiles = 1;
  plan->max_rows = per_tile;
  for (int i = 0; i < config->image.n_pinpoints; i++) {
    int rows = config->image.pinpoint[i][0] / vision->image_size;
    int cols = config->image.pinpoint[i][1] / vision->image_size;
    int newlines = config->newline ? rows * side : 0;
    int image_rows = per_tile * (1 + rows * cols) + newlines;
    plan->max_tiles = MAX (plan->max_tiles, 1 + rows * cols);
    plan->max_rows = MAX (plan->max_rows, image_rows);
  }
  if (config->zoom.ratio)
    plan->max_tiles = 1 + config->zoom.ratio * config->zoom.ratio;
  plan->max_tokens = plan->max_tiles * (vision->n_patches + 1);
}

/* Positions the rotation is defined for. */
static int
position_limit (const VlmTextConfig *text)
{
  double limit = text->max_position;
  const VlmRope *rope = &text->rope;
  if (rope->kind == VLM_ROPE_DYNAMIC || rope->kind == VLM_ROPE_LINEAR)
    limit *= MAX (rope->factor, 1);
  if (rope->kind == VLM_ROPE_YARN)
    limit = MAX (limit, rope->original_max_position * rope->factor);
  return (int) MIN (limit, 1 << 20);
}

static void
size_cache (VlmPlan *plan, guint64 page_bytes, guint64 picture_bytes,
    int context, int batch)
{
  plan->context = context;
  plan->batch = batch;
  int pages = (context + KV_PAGE_TOKENS - 1) / KV_PAGE_TOKENS;
  plan->n_pages = pages * batch;
  plan->cache_bytes = plan->n_pages * page_bytes + batch * picture_bytes;
}

static guint64
measure_networks (const VlmPlan *plan, Device *dev, const VlmModel *model)
{
  int tokens = vlm_plan_step_tokens (plan);
  return vlm_vision_bytes (dev, model, plan->type, plan->max_tiles) +
         vlm_projector_bytes (dev, model, plan->type, plan->max_tokens) +
         vlm_decoder_bytes (
             dev, model, plan->type, tokens, vlm_plan_step_logits (plan));
}

static guint64
total (const VlmPlan *plan)
{
  return plan->weight_bytes + plan->row_bytes + plan->cache_bytes +
         plan->recall_bytes + PICTURE_BYTES;
}

int
vlm_plan_chunk (Device *dev, const VlmModel *model, DataType type,
    int most_tokens, guint64 free_bytes)
{
  guint64 least = vlm_decoder_bytes (dev, model, type, CHUNK, 1);
  int chunk = dev->gpu >= 0 ? GPU_CHUNK : CHUNK;
  while (chunk > CHUNK &&
         (chunk / 2 >= most_tokens ||
             vlm_decoder_bytes (dev, model, type, chunk, 1) - least >
                 free_bytes / 16))
    chunk /= 2;
  return chunk;
}

int
vlm_plan_piece (int chunk, int left)
{
  int n_pieces = (left + chunk - 1) / chunk;
  return (left + n_pieces - 1) / n_pieces;
}

gboolean
vlm_plan_make (VlmPlan *plan, Device *dev, const VlmModel *model, DataType type,
    GError **error)
{
  const VlmTextConfig *text = &model->config.text;
  *plan = (VlmPlan){ .type = type };
  measure_picture (plan, &model->config);
  plan->positions = position_limit (text);
  int context =
      MIN (plan->positions, plan->max_rows + PROMPT_TOKENS + OUTPUT_TOKENS);
  guint64 page_bytes =
      vlm_kv_page_bytes (dev, text) + vlm_fine_page_bytes (&model->config);
  guint64 row = (guint64) text->width * sizeof (Residual);
  guint64 free_bytes = device_memory_free (dev);

  plan->chunk = vlm_plan_chunk (dev, model, type, context, free_bytes);
  int batch = MAX_BATCH;
  for (;;) {
    size_cache (
        plan, page_bytes, vlm_fine_bytes (dev, &model->config), context, batch);
    plan->row_bytes = row * context + vlm_places_bytes (context);
    if (!model->config.zoom.ratio) /* nothing of theirs is used again */
      plan->recall_bytes =
          batch * vlm_tile_cache_bytes (dev, model, plan->max_tiles);
    plan->weight_bytes = measure_networks (plan, dev, model);
    if (total (plan) <= (batch > 1 ? free_bytes / 2 : free_bytes))
      return TRUE;
    if (batch > 1)
      batch /= 2;
    else if (context > MIN_CONTEXT)
      context = MAX (context / 2, MIN_CONTEXT);
    else
      break;
  }
  return vlm_fail (error, VLM_ERROR_NO_MEMORY,
      VLM_ABOUT (.file = model->folder, .needed_bytes = total (plan),
          .free_bytes = free_bytes),
      "%s does not fit on %s: %" PRIu64
      " bytes are needed for one sequence of %d tokens, %" PRIu64 " are free.",
      model->name, dev->name, total (plan), context, free_bytes);
}
