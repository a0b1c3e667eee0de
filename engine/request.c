/* request.c - one request's way through a loaded model
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#include "engine/request.h"
#include <string.h>
#include "engine/error.h"
#include "engine/scratch.h"

typedef struct {
  VlmNetworks *networks;
  VlmPrompt prompt;
  VlmSelection selection;
  VlmSequence sequence;
  const VlmPolicy *policy;
  VlmFine *fine; /* FlexAttention's, or NULL */
  int *layer_fine_tokens;
  VlmRecall *recall; /* or NULL */
  VlmSampler *sampler;
  VlmTextStream *pieces;
  GString *text;
  GArray *ids;  /* int, generated */
  int n_prompt; /* tokens of the prompt, the picture's rows included */
  int newest;   /* id to be fed next */
  int n_draft;  /* ids proposed to follow it in this step */
  int boldness; /* how many may be */
  int step_ids[1 + VLM_DRAFT_TOKENS];
  gboolean is_tidal;
  VlmTidal tidal;
  int exact; /* cached tokens that were read with full attention */
  gint64 begun_us, seen_us, first_us;
} Work;

static Work *
work_of (VlmJob *job)
{
  return job->work;
}

/* Those of earlier requests serve again: no memory is taken for a frame. */
static VlmSampler *
take_sampler (VlmNetworks *networks)
{
  guint n = networks->samplers->len;
  return n ? g_ptr_array_steal_index_fast (networks->samplers, n - 1)
           : vlm_sampler_new (
                 networks->dev, networks->model->config.text.vocab);
}

static Work *
work_new (VlmNetworks *networks, const VlmJob *job)
{
  Work *work = g_new0 (Work, 1);
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
  Work *work = work_of (job);
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
  g_set_error (error, VLM_ERROR, VLM_ERROR_CANCELLED,
      "The description was cancelled while its picture was read.");
  return FALSE;
}

static gboolean
build_prompt (VlmJob *job, GError **error)
{
  Work *work = work_of (job);
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
  Work *work = work_of (job);
  const VlmModel *model = work->networks->model;
  const VlmPolicy *asked = job->task.settings.policy;
  const VlmPolicy *own = vlm_policy_of (&model->config);
  work->policy = asked ? asked : own;
  if (!model->config.family->zooms || work->policy == own)
    return TRUE;
  g_set_error (error, VLM_ERROR, VLM_ERROR_SETTINGS,
      "%s is a FlexAttention model, whose layers look closer instead of "
      "seeing less: the policy \"%s\" was expected, not \"%s\".",
      model->name, own->name, asked->name);
  return FALSE;
}

static gboolean
settle_attention (VlmJob *job, GError **error)
{
  Work *work = work_of (job);
  const VlmModel *model = work->networks->model;
  const VlmSettings *settings = &job->task.settings;
  work->is_tidal = settings->decode_attention == VLM_DECODE_TIDAL;
  if (work->is_tidal && model->config.family->zooms) {
    g_set_error (error, VLM_ERROR, VLM_ERROR_SETTINGS,
        "%s is a FlexAttention model, whose layers choose what they look at "
        "themselves: full decode attention was expected.",
        model->name);
    return FALSE;
  }
  return !work->is_tidal || vlm_tidal_init (&work->tidal, &settings->tidal,
                                &model->config.text, model->name, error);
}

/* The picture as tiles on the device; its pixels are not needed after. */
static const guint8 *
cut_tiles (VlmJob *job, GError **error)
{
  VlmNetworks *net = work_of (job)->networks;
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
  if (tiles)
    job->read (job);
  return tiles;
}

/* Compares the tiles with those of the stream's last request. */
static void
look_back (VlmJob *job, const guint8 *tiles, const float *lut)
{
  Work *work = work_of (job);
  gboolean use =
      job->task.settings.reuse & (VLM_REUSE_TILES | VLM_REUSE_PREFIX);
  if (work->recall)
    vlm_recall_look (work->recall, work->networks->vision, use ? tiles : NULL,
        lut, vlm_tile_count (&job->result.geometry));
}

static gboolean
encode (VlmJob *job, const guint8 *tiles, const Act **features, GError **error)
{
  Work *work = work_of (job);
  VlmNetworks *net = work->networks;
  const VlmSettings *settings = &job->task.settings;
  gboolean recalled = work->recall && settings->reuse & VLM_REUSE_TILES;
  VlmVisionJob vision = {
    .tiles = tiles,
    .lut = vlm_tiler_lut (net->tiler[settings->resampling]),
    .policy = work->policy,
    .input = { .geometry = job->result.geometry,
        .budget = settings->token_budget },
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
  job->result.tiles_reused = vision.n_recalled;
  return TRUE;
}

/* FALSE if the prompt leaves no room for a single new token. */
static gboolean
check_context (VlmJob *job, int image_rows, GError **error)
{
  Work *work = work_of (job);
  int context = work->networks->plan.context;
  work->n_prompt = work->prompt.n - 1 + image_rows;
  if (work->n_prompt < context)
    return TRUE;
  g_set_error (error, VLM_ERROR, VLM_ERROR_REQUEST,
      "The prompt has %d tokens, %d of them the picture's, but the context "
      "has room for %d: ask for a smaller token budget or a shorter prompt.",
      work->n_prompt, image_rows, context);
  return FALSE;
}

/* What the language model may use of the last request. Nothing is the same
 * where frequencies depend on the length (dynamic RoPE), or what a layer sees
 * on the last token of a step (FlexAttention). */
static VlmReuse
text_reuse (VlmJob *job)
{
  const Work *work = work_of (job);
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
  Work *work = work_of (job);
  const VlmSettings *settings = &job->task.settings;
  VlmRecallPicture picture = { job->result.geometry, work->policy,
    settings->token_budget, { 0 } };
  gboolean use = text_reuse (job) & VLM_REUSE_PREFIX;
  if (!work->recall)
    return;
  memcpy (picture.param, settings->policy_param, sizeof picture.param);
  vlm_recall_prefix (
      work->recall, &work->prompt, &picture, image_rows, use, &work->sequence);
  job->result.tokens_reused = work->sequence.length;
}

/* Text embeddings and the picture's rows, in the order of the sequence. */
static void
splice (VlmJob *job, const Act *features, int image_rows)
{
  Work *work = work_of (job);
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
  Work *work = work_of (job);
  VlmNetworks *net = work->networks;
  const VlmTileGeometry *g = &job->result.geometry;
  if (!net->fine)
    return TRUE;
  work->fine = vlm_fine_take (net->fine);
  if (!work->fine) {
    g_set_error (error, VLM_ERROR, VLM_ERROR_NO_MEMORY,
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
  Work *work = work_of (job);
  int context = work->networks->plan.context;
  int new_tokens = CLAMP (job->task.settings.max_tokens, 1, context);
  int length = MIN (work->n_prompt + new_tokens, context);
  if (vlm_sequence_reserve (&work->sequence, length))
    return TRUE;
  vlm_recall_free_pages (work->networks->recalls, work->networks->plan.batch);
  if (vlm_sequence_reserve (&work->sequence, length))
    return TRUE;
  g_set_error (error, VLM_ERROR, VLM_ERROR_NO_MEMORY,
      "The key/value cache has no room for %d tokens: %d pages are free.",
      length, vlm_kv_pool_free_pages (work->networks->pool));
  return FALSE;
}

static void
start_sampler (VlmJob *job)
{
  Work *work = work_of (job);
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
  Work *work = work_of (job);
  VlmResult *result = &job->result;
  const VlmTileGeometry *geometry = &result->geometry;
  result->rendered_prompt = work->prompt.text;
  result->prompt_ids = work->prompt.ids;
  result->n_prompt_ids = work->prompt.n;
  result->grid[0] = geometry->rows;
  result->grid[1] = geometry->cols;
  result->tile_budgets = work->selection.per_tile;
  result->n_tiles = vlm_tile_count (geometry);
  result->kept_ids = work->selection.order;
  result->n_kept =
      geometry->zoomed ? geometry->side * geometry->side : work->selection.n;
}

static void
fill_result (VlmJob *job, int image_rows)
{
  Work *work = work_of (job);
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
  Work *work = job->work = work_new (networks, job);
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
  if (!check_context (job, image_rows, error))
    return FALSE;
  take_prefix (job, image_rows);
  if (!reserve (job, error))
    return FALSE;
  splice (job, features, image_rows);
  if (!look_closer (job, features, error) ||
      !vlm_device_check (networks->dev, error))
    return FALSE;
  work->seen_us = g_get_monotonic_time ();
  result->vision_us = work->seen_us - work->begun_us;
  start_sampler (job);
  fill_result (job, image_rows);
  return TRUE;
}

/* ---- step ---- */

/* A chunk of the prompt, of which `left` tokens are not cached yet. */
static VlmStepInput
prompt_input (VlmJob *job, int left)
{
  Work *work = work_of (job);
  VlmNetworks *net = work->networks;
  int width = net->model->config.text.width, done = work->sequence.length;
  return (VlmStepInput){
    .seq = &work->sequence,
    .n = MIN (left, net->plan.chunk),
    .rows = act_at (net->dev, net->rows, (gsize) done * width),
    .n_logits = left <= net->plan.chunk,
    .rope_length = work->n_prompt,
    .cancelled = &job->cancelled,
    .fine = work->fine,
  };
}

/* Tokens that were decoded and are read again with full attention, their keys
 * and values written over. */
static VlmStepInput
correction_input (VlmJob *job, int left)
{
  Work *work = work_of (job);
  const int *ids = (const int *) (void *) work->ids->data;
  int length = work->sequence.length;
  return (VlmStepInput){
    .seq = &work->sequence,
    .n = MIN (left, work->networks->plan.chunk),
    .ids = ids + (length - work->n_prompt),
    .rope_length = length + left,
    .cancelled = &job->cancelled,
  };
}

/* Ids of the last caption that may follow the newest, into step_ids. A draft
 * that fails makes the next ones shorter. None where a step of many tokens
 * attends to more than one of a single token. */
static void
propose (VlmJob *job, int *spare)
{
  Work *work = work_of (job);
  const VlmSettings *settings = &job->task.settings;
  int context = work->networks->plan.context;
  int room = MIN (settings->max_tokens - (int) work->ids->len,
                 context - work->sequence.length) -
             1;
  const int *draft;
  work->n_draft = 0;
  if (work->is_tidal || !(text_reuse (job) & VLM_REUSE_DRAFT))
    return;
  work->n_draft = vlm_recall_draft (work->recall, work->ids,
      MIN (MIN (room, *spare), work->boldness), &draft);
  if (work->n_draft)
    memcpy (work->step_ids + 1, draft, work->n_draft * sizeof *draft);
  *spare -= work->n_draft;
}

static VlmStepInput
newest_input (VlmJob *job, int *spare)
{
  Work *work = work_of (job);
  propose (job, spare);
  work->step_ids[0] = work->newest;
  return (VlmStepInput){
    .seq = &work->sequence,
    .n = 1 + work->n_draft,
    .ids = work->step_ids,
    .n_logits = 1 + work->n_draft,
    .rope_length = work->sequence.length + 1,
    .tidal = work->is_tidal ? &work->tidal : NULL,
    .fine = work->fine,
  };
}

gboolean
vlm_request_input (VlmJob *job, VlmStepInput *input, int *spare)
{
  Work *work = work_of (job);
  int length = work->sequence.length, n_ids = work->ids->len;
  int left = work->n_prompt + MAX (n_ids - 1, 0) - length;
  if (job->ended)
    return FALSE;
  if (length < work->n_prompt)
    *input = prompt_input (job, left);
  else if (left > 0)
    *input = correction_input (job, left);
  else
    *input = newest_input (job, spare);
  return TRUE;
}

/* After enough sparse steps, back to the last token that is exact. */
static void
correct (VlmJob *job)
{
  Work *work = work_of (job);
  int every = job->task.settings.tidal.correct_every;
  int length = work->sequence.length;
  if (!work->is_tidal || every <= 0 || length - work->exact < every)
    return;
  vlm_sequence_rewind (&work->sequence, work->exact);
  work->exact = length;
}

static gboolean
is_eos (const VlmGenerationConfig *generation, int id)
{
  for (int i = 0; i < generation->n_eos; i++)
    if (generation->eos[i] == id)
      return TRUE;
  return FALSE;
}

/* Whether a stop string ends in the text past `old`. */
static gboolean
stops (const GString *text, gsize old, char **stop)
{
  for (; stop && *stop; stop++) {
    gsize n = strlen (*stop);
    gsize from = old >= n ? old - n + 1 : 0;
    if (n && strstr (text->str + from, *stop))
      return TRUE;
  }
  return FALSE;
}

static void
end_with (VlmJob *job, const char *reason)
{
  Work *work = work_of (job);
  gsize old = work->text->len;
  vlm_text_stream_flush (work->pieces, work->text);
  job->grown |= work->text->len > old;
  job->result.finish_reason = reason;
  job->ended = TRUE;
}

static void
take_token (VlmJob *job, int id)
{
  Work *work = work_of (job);
  const VlmNetworks *net = work->networks;
  const VlmSettings *settings = &job->task.settings;
  gsize old = work->text->len;
  g_array_append_val (work->ids, id);
  work->newest = id;
  if (is_eos (&net->model->config.generation, id)) {
    end_with (job, "eos");
    return;
  }
  vlm_text_stream_push (work->pieces, id, work->text);
  job->grown |= work->text->len > old;
  if (stops (work->text, old, settings->stop))
    end_with (job, "stop");
  else if ((int) work->ids->len >= settings->max_tokens ||
           work->sequence.length >= net->plan.context)
    end_with (job, "length");
}

static void
report_fine (VlmJob *job)
{
  Work *work = work_of (job);
  VlmResult *result = &job->result;
  int n = work->networks->model->config.text.layers - VLM_FINE_LAYER;
  double sum = 0;
  if (!work->fine || n <= 0)
    return;
  if (!work->layer_fine_tokens)
    work->layer_fine_tokens = g_new0 (int, n);
  for (int i = 0; i < n; i++) {
    double mean = (double) work->fine->selected[VLM_FINE_LAYER + i] /
                  MAX (work->fine->steps, 1);
    work->layer_fine_tokens[i] = (int) (mean + 0.5);
    sum += mean;
  }
  result->fine_tokens = sum / n;
  if (!job->task.settings.detail)
    return;
  result->layer_fine_tokens = work->layer_fine_tokens;
  result->n_fine_layers = n;
}

static void
measure (VlmJob *job)
{
  Work *work = work_of (job);
  VlmResult *result = &job->result;
  gint64 now = g_get_monotonic_time ();
  if (work->ids->len == 1) {
    work->first_us = now;
    result->prefill_us = now - work->seen_us;
    result->ttft_us = now - work->begun_us;
  } else if (now > work->first_us) {
    result->tokens_per_second =
        (work->ids->len - 1) * (double) G_USEC_PER_SEC / (now - work->first_us);
  }
  result->total_us = now - work->begun_us;
}

/* One token of each row of logits, as long as the row belongs to a token that
 * was right. */
static void
take_tokens (VlmJob *job, float *logits)
{
  Work *work = work_of (job);
  int vocab = work->networks->model->config.text.vocab;
  int before = work->sequence.length - work->n_draft, right = 0;
  g_autoptr (GError) error = NULL;
  for (int i = 0; i <= work->n_draft && !job->ended; i++) {
    int id = vlm_sampler_next (work->sampler, logits + (gsize) i * vocab);
    if (!vlm_device_status (work->networks->dev, &error)) {
      vlm_request_fail (job, error);
      return;
    }
    work->sequence.length = before + i;
    take_token (job, id);
    if (i == work->n_draft || id != work->step_ids[1 + i])
      break;
    right++;
  }
  job->result.tokens_drafted += right;
  work->boldness = right == work->n_draft
                       ? MIN (2 * work->boldness, VLM_DRAFT_TOKENS)
                       : 1 + right;
  work->n_draft = 0;
}

void
vlm_request_output (VlmJob *job, float *logits)
{
  Work *work = work_of (job);
  VlmResult *result = &job->result;
  if (!logits)
    return;
  if (!job->decoding)
    work->exact = work->sequence.length;
  job->decoding = TRUE;
  take_tokens (job, logits);
  result->text = work->text->str;
  result->tokens = work->ids->len;
  if (job->task.settings.detail)
    result->token_ids = (const int *) (void *) work->ids->data;
  report_fine (job);
  measure (job);
  if (!job->ended)
    correct (job);
}

void
vlm_request_fail (VlmJob *job, const GError *error)
{
  job->error = g_error_copy (error);
  job->ended = TRUE;
}
