/* request.c - one request, from its picture to a prompt that can be read
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#include "engine/request-private.h"
#include <string.h>
#include "engine/error.h"
#include "engine/scratch.h"

/* Those of earlier requests serve again: no memory is taken for a frame. */
static VlmSampler *
take_sampler (VlmNetworks *networks)
{
  guint n = networks->samplers->len;
  return n ? g_ptr_array_steal_index_fast (networks->samplers, n - 1)
           : vlm_sampler_new (
                 networks->dev, networks->model->config.text.vocab);
}

static VlmWork *
work_new (VlmNetworks *networks, const VlmJob *job)
{
  VlmWork *work = g_new0 (VlmWork, 1);
  work->networks = networks;
  work->text = g_string_new (NULL);
  work->ids = g_array_new (FALSE, FALSE, sizeof (int));
  work->pieces = vlm_text_stream_new (networks->tokenizer, TRUE);
  work->sampler = take_sampler (networks);
  work->begun_us = g_get_monotonic_time ();
  work->boldness = VLM_DRAFT_TOKENS;
  vlm_sequence_init (&work->sequence, networks->pool);
  if (!networks->fine) /* a token's look leaves traces in what is cached */
    work->recall =
        vlm_recall_enter (networks->recalls, networks->plan.batch, job->stream);
  return work;
}

void
vlm_request_end (VlmJob *job)
{
  VlmWork *work = vlm_request_work (job);
  if (!work)
    return;
  if (job->error) /* what the cache holds is not certain */
    vlm_sequence_clear (&work->sequence);
  if (work->recall)
    vlm_recall_leave (work->recall, &work->sequence, work->n_prompt, work->ids);
  vlm_sequence_clear (&work->sequence);
  vlm_fine_give (work->fine);
  g_free (work->layer_fine_tokens);
  vlm_prompt_clear (&work->prompt);
  g_ptr_array_add (work->networks->samplers, work->sampler);
  vlm_text_stream_free (work->pieces);
  vlm_selection_clear (&work->selection);
  g_string_free (work->text, TRUE);
  g_array_unref (work->ids);
  g_free (work);
  job->work = NULL;
}

/* ---- begin ---- */

static gboolean
check_cancelled (VlmJob *job, GError **error)
{
  if (!g_atomic_int_get (&job->cancelled))
    return TRUE;
  vlm_fail (error, VLM_ERROR_CANCELLED, NULL,
      "The description was cancelled while its picture was read.");
  return FALSE;
}

static gboolean
build_prompt (VlmJob *job, GError **error)
{
  VlmWork *work = vlm_request_work (job);
  VlmNetworks *net = work->networks;
  const VlmSettings *settings = &job->task.settings;
  return vlm_prompt_build (&work->prompt, net->model, net->tokenizer,
      net->image_id, settings->prompt, settings->system_prompt,
      settings->raw_prompt, error);
}

/* The model's own policy, unless another is asked for and has a place. */
static gboolean
settle_policy (VlmJob *job, GError **error)
{
  VlmWork *work = vlm_request_work (job);
  const VlmModel *model = work->networks->model;
  const VlmPolicy *asked = job->task.settings.policy;
  const VlmPolicy *own = vlm_policy_of (&model->config);
  work->policy = asked ? asked : own;
  if (!model->config.family->zooms || work->policy == own)
    return TRUE;
  return vlm_fail (error, VLM_ERROR_SETTINGS,
      VLM_ABOUT (.setting = "policy", .expected = own->name,
          .found = asked->name),
      "%s is a FlexAttention model, whose layers look closer instead of "
      "seeing less: the policy \"%s\" was expected, not \"%s\".",
      model->name, own->name, asked->name);
}

static gboolean
settle_attention (VlmJob *job, GError **error)
{
  VlmWork *work = vlm_request_work (job);
  const VlmModel *model = work->networks->model;
  const VlmSettings *settings = &job->task.settings;
  work->is_tidal = settings->decode_attention == VLM_DECODE_TIDAL;
  if (work->is_tidal && model->config.family->zooms)
    return vlm_fail (error, VLM_ERROR_SETTINGS,
        VLM_ABOUT (.setting = "decode-attention", .expected = "full",
            .found = "tidal"),
        "%s is a FlexAttention model, whose layers choose what they look at "
        "themselves: full decode attention was expected.",
        model->name);
  return !work->is_tidal || vlm_tidal_init (&work->tidal, &settings->tidal,
                                &model->config.text, model->name, error);
}

/* Pixels of the host have been copied, those in GPU memory are read when what
 * was submitted has run: the next wait for that says so, whatever it is for. */
static void
note_reading (VlmJob *job)
{
  VlmWork *work = vlm_request_work (job);
  if (job->task.picture.memory == VLM_MEMORY_HOST) {
    job->read (job);
    return;
  }
  work->reading = TRUE;
  work->syncs_at_cut = work->networks->dev->n_syncs;
}

void
vlm_request_let_go (VlmJob *job, gboolean now)
{
  VlmWork *work = vlm_request_work (job);
  if (!work || !work->reading)
    return;
  if (work->networks->dev->n_syncs == work->syncs_at_cut) {
    if (!now)
      return;
    device_sync (work->networks->dev, NULL);
  }
  work->reading = FALSE;
  job->read (job);
}

/* The picture as tiles on the device; its pixels are not needed after. */
static const guint8 *
cut_tiles (VlmJob *job, GError **error)
{
  VlmNetworks *net = vlm_request_work (job)->networks;
  const VlmConfig *config = &net->model->config;
  const VlmPicture *picture = &job->task.picture;
  VlmTileGeometry *geometry = &job->result.geometry;
  int kind = job->task.settings.resampling, width, height;
  if (!vlm_picture_square_size (picture, &width, &height, error) ||
      !vlm_tile_geometry (geometry, config, width, height, error))
    return NULL;
  if (!net->tiler[kind])
    net->tiler[kind] = vlm_tiler_new (net->dev, config, kind);
  const guint8 *tiles =
      vlm_tiler_run (net->tiler[kind], picture, geometry, error);
  note_reading (job);
  return tiles;
}

/* Compares the tiles with those of the stream's last request. */
static void
look_back (VlmJob *job, const guint8 *tiles, const float *lut)
{
  VlmWork *work = vlm_request_work (job);
  gboolean use =
      job->task.settings.reuse & (VLM_REUSE_TILES | VLM_REUSE_PREFIX);
  if (work->recall)
    vlm_recall_look (work->recall, work->networks->vision, use ? tiles : NULL,
        lut, vlm_tile_count (&job->result.geometry));
}

static gboolean
encode (VlmJob *job, const guint8 *tiles, const Act **features, GError **error)
{
  VlmWork *work = vlm_request_work (job);
  VlmNetworks *net = work->networks;
  const VlmSettings *settings = &job->task.settings;
  gboolean recalled = work->recall && settings->reuse & VLM_REUSE_TILES;
  VlmVisionJob vision = {
    .tiles = tiles,
    .lut = vlm_tiler_lut (net->tiler[settings->resampling]),
    .policy = work->policy,
    .input = { .geometry = job->result.geometry,
        .newlines = net->model->config.newline,
        .budget = settings->token_budget },
    .ids = settings->detail,
    .cancelled = &job->cancelled,
  };
  memcpy (
      vision.input.param, settings->policy_param, sizeof vision.input.param);
  look_back (job, tiles, vision.lut);
  if (recalled)
    vision.cache = work->recall->tiles;
  vlm_selection_init (&work->selection, vision.policy, &vision.input);
  if (!vlm_vision_run (
          net->vision, &vision, &work->selection, features, NULL, error))
    return FALSE;
  vlm_request_let_go (job, FALSE);
  if (work->recall)
    vlm_recall_hear (work->recall);
  job->result.tiles_reused = vision.n_recalled;
  return TRUE;
}

/* FALSE if the prompt leaves no room for a single new token. */
static gboolean
check_context (VlmJob *job, int image_rows, GError **error)
{
  VlmWork *work = vlm_request_work (job);
  int context = work->networks->plan.context;
  work->n_prompt = work->prompt.n - 1 + image_rows;
  if (work->n_prompt < context)
    return TRUE;
  vlm_fail (error, VLM_ERROR_REQUEST, NULL,
      "The prompt has %d tokens, %d of them the picture's, but the context "
      "has room for %d: ask for a smaller token budget or a shorter prompt.",
      work->n_prompt, image_rows, context);
  return FALSE;
}

/* Whether kept tokens stand where they would if nothing had been dropped. */
static gboolean
stays_in_place (VlmJob *job)
{
  VlmWork *work = vlm_request_work (job);
  VlmPositions asked = job->task.settings.positions;
  if (work->selection.packed)
    return FALSE;
  return asked == VLM_POSITIONS_AUTO ? work->policy->in_place
                                     : asked == VLM_POSITIONS_WHOLE;
}

static gboolean
settle_positions (VlmJob *job, GError **error)
{
  VlmWork *work = vlm_request_work (job);
  VlmNetworks *net = work->networks;
  const VlmPlan *plan = &net->plan;
  int before = work->prompt.image_at, after = work->prompt.n - before - 1;
  work->in_place = stays_in_place (job);
  if (work->in_place)
    work->skipped = vlm_places_settle (&net->places, net->vision,
        &work->selection, &job->result.geometry, before, after);
  work->room = MIN (plan->context, plan->positions - work->skipped);
  if (work->n_prompt < work->room)
    return TRUE;
  return vlm_fail (error, VLM_ERROR_SETTINGS,
      VLM_ABOUT (.setting = "positions", .expected = "closed",
          .found = "whole"),
      "With what was dropped counted the prompt ends at position %d, but the "
      "model has %d: ask for closed positions or a shorter prompt.",
      work->n_prompt + work->skipped, plan->positions);
}

VlmReuse
vlm_request_reuse (VlmJob *job)
{
  const VlmWork *work = vlm_request_work (job);
  const VlmConfig *config = &work->networks->model->config;
  if (!work->recall || config->text.rope.kind == VLM_ROPE_DYNAMIC ||
      config->family->zooms)
    return 0;
  return job->task.settings.reuse;
}

/* Takes over what is cached of the same beginning. */
static void
take_prefix (VlmJob *job, int image_rows)
{
  VlmWork *work = vlm_request_work (job);
  const VlmSettings *settings = &job->task.settings;
  VlmRecallPicture picture = { .geometry = job->result.geometry,
    .policy = work->policy,
    .budget = settings->token_budget,
    .in_place = work->in_place };
  gboolean use = vlm_request_reuse (job) & VLM_REUSE_PREFIX;
  memcpy (picture.param, settings->policy_param, sizeof picture.param);
  if (work->recall)
    vlm_recall_prefix (work->recall, &work->prompt, &picture, image_rows, use,
        &work->sequence);
  work->sequence.skipped = work->skipped;
  job->result.tokens_reused = work->sequence.length;
}

/* Text embeddings and the picture's rows, in the order of the sequence. */
static void
splice (VlmJob *job, const Act *features, int image_rows)
{
  VlmWork *work = vlm_request_work (job);
  VlmNetworks *net = work->networks;
  const VlmPrompt *prompt = &work->prompt;
  int at = prompt->image_at, after = prompt->n - at - 1;
  if (at)
    vlm_decoder_embed (net->decoder, net->rows, 0, prompt->ids, at);
  if (work->sequence.length < at + image_rows)
    vlm_projector_run (net->projector, features, &work->selection,
        &job->result.geometry, net->rows, at);
  if (after)
    vlm_decoder_embed (
        net->decoder, net->rows, at + image_rows, prompt->ids + at + 1, after);
}

/* The picture's finer tokens, for layers to look at. */
static gboolean
look_closer (VlmJob *job, const Act *features, GError **error)
{
  VlmWork *work = vlm_request_work (job);
  VlmNetworks *net = work->networks;
  const VlmTileGeometry *g = &job->result.geometry;
  if (!net->fine)
    return TRUE;
  work->fine = vlm_fine_take (net->fine);
  if (!work->fine) {
    vlm_fail (error, VLM_ERROR_NO_MEMORY, NULL,
        "All %d places for finer pictures are taken.", net->plan.batch);
    return FALSE;
  }
  vlm_projector_run_fine (net->projector, features, g, work->fine->features,
      vlm_fine_rows (work->fine));
  vlm_fine_begin (
      work->fine, work->prompt.image_at, g->img_w, g->img_h, work->n_prompt);
  return TRUE;
}

static gboolean
reserve (VlmJob *job, GError **error)
{
  VlmWork *work = vlm_request_work (job);
  int new_tokens = CLAMP (job->task.settings.max_tokens, 1, work->room);
  int length = MIN (work->n_prompt + new_tokens, work->room);
  if (vlm_sequence_reserve (&work->sequence, length))
    return TRUE;
  vlm_recall_free_pages (work->networks->recalls, work->networks->plan.batch);
  if (vlm_sequence_reserve (&work->sequence, length))
    return TRUE;
  vlm_fail (error, VLM_ERROR_NO_MEMORY, NULL,
      "The key/value cache has no room for %d tokens: %d pages are free.",
      length, vlm_kv_pool_free_pages (work->networks->pool));
  return FALSE;
}

static void
start_sampler (VlmJob *job)
{
  VlmWork *work = vlm_request_work (job);
  const VlmConfig *config = &work->networks->model->config;
  VlmSampling sampling = job->task.settings.sampling;
  if (sampling.repetition_penalty <= 0)
    sampling.repetition_penalty = config->generation.repetition_penalty;
  vlm_sampler_start (
      work->sampler, &sampling, work->prompt.ids, work->prompt.n);
}

static void
fill_detail (VlmJob *job)
{
  VlmWork *work = vlm_request_work (job);
  VlmResult *result = &job->result;
  const VlmTileGeometry *geometry = &result->geometry;
  result->rendered_prompt = work->prompt.text;
  result->prompt_ids = work->prompt.ids;
  result->n_prompt_ids = work->prompt.n;
  result->grid[0] = geometry->rows;
  result->grid[1] = geometry->cols;
  result->tile_budgets = work->selection.per_tile;
  result->n_tiles = vlm_tile_count (geometry);
}

static void
fill_result (VlmJob *job, int image_rows)
{
  VlmWork *work = vlm_request_work (job);
  const VlmSettings *settings = &job->task.settings;
  VlmResult *result = &job->result;
  result->text = work->text->str;
  result->prompt = settings->prompt ? settings->prompt : VLM_DEFAULT_PROMPT;
  result->policy = work->policy->name;
  result->token_budget = settings->token_budget;
  result->image_tokens =
      vlm_tile_image_tokens (&result->geometry, &work->networks->model->config);
  result->image_tokens_kept = image_rows;
  result->prompt_tokens = work->n_prompt;
  if (settings->detail)
    fill_detail (job);
}

gboolean
vlm_request_begin (VlmNetworks *networks, VlmJob *job, GError **error)
{
  VlmWork *work = job->work = work_new (networks, job);
  VlmResult *result = &job->result;
  const Act *features;
  result->queue_us = work->begun_us - job->submitted_us;
  if (!settle_policy (job, error) || !settle_attention (job, error) ||
      !build_prompt (job, error))
    return FALSE;
  const guint8 *tiles = cut_tiles (job, error);
  if (!tiles || !check_cancelled (job, error) ||
      !encode (job, tiles, &features, error))
    return FALSE;
  int image_rows = vlm_projector_rows (
      networks->projector, &work->selection, &result->geometry);
  if (!check_context (job, image_rows, error) || !settle_positions (job, error))
    return FALSE;
  take_prefix (job, image_rows);
  if (!reserve (job, error))
    return FALSE;
  splice (job, features, image_rows);
  if (!look_closer (job, features, error))
    return FALSE;
  device_mark (networks->dev, VLM_MARK_SEEN);
  start_sampler (job);
  fill_result (job, image_rows);
  return vlm_device_status (networks->dev, error);
}

void
vlm_request_fail (VlmJob *job, const GError *error)
{
  job->error = g_error_copy (error);
  job->ended = TRUE;
}
