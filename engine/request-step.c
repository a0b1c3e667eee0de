/* request-step.c - one request, from its prompt to its last token
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#include "engine/request-private.h"
#include <string.h>
#include "engine/scratch.h"

/* A piece of the prompt, of which `left` tokens are not cached yet. */
static VlmStepInput
prompt_input (VlmJob *job, int left)
{
  VlmWork *work = vlm_request_work (job);
  VlmNetworks *net = work->networks;
  int width = net->model->config.text.width, done = work->sequence.length;
  int n = vlm_plan_piece (net->plan.chunk, left);
  return (VlmStepInput){
    .seq = &work->sequence,
    .n = n,
    .rows = net->rows + (gsize) done * width,
    .pos = work->in_place ? net->places.pos + done : NULL,
    .n_logits = n == left,
    .rope_length = work->n_prompt + work->skipped,
    .cancelled = &job->cancelled,
    .fine = work->fine,
  };
}

/* Tokens that were decoded and are read again with full attention, their keys
 * and values written over. */
static VlmStepInput
correction_input (VlmJob *job, int left)
{
  VlmWork *work = vlm_request_work (job);
  const int *ids = (const int *) (void *) work->ids->data;
  int length = work->sequence.length;
  return (VlmStepInput){
    .seq = &work->sequence,
    .n = vlm_plan_piece (work->networks->plan.chunk, left),
    .ids = ids + (length - work->n_prompt),
    .rope_length = length + left + work->skipped,
    .cancelled = &job->cancelled,
  };
}

/* Ids of the last caption that may follow the newest, into step_ids. A draft
 * that fails makes the next ones shorter. None where a step of many tokens
 * attends to more than one of a single token. */
static void
propose (VlmJob *job, int *spare)
{
  VlmWork *work = vlm_request_work (job);
  const VlmSettings *settings = &job->task.settings;
  int room = MIN (settings->max_tokens - (int) work->ids->len,
                 work->room - work->sequence.length) -
             1;
  const int *draft;
  work->n_draft = 0;
  if (work->is_tidal || !(vlm_request_reuse (job) & VLM_REUSE_DRAFT))
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
  VlmWork *work = vlm_request_work (job);
  propose (job, spare);
  work->step_ids[0] = work->newest;
  return (VlmStepInput){
    .seq = &work->sequence,
    .n = 1 + work->n_draft,
    .ids = work->step_ids,
    .n_logits = 1 + work->n_draft,
    .rope_length = work->sequence.length + 1 + work->skipped,
    .tidal = work->is_tidal ? &work->tidal : NULL,
    .fine = work->fine,
  };
}

gboolean
vlm_request_input (VlmJob *job, VlmStepInput *input, int *spare)
{
  VlmWork *work = vlm_request_work (job);
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
  VlmWork *work = vlm_request_work (job);
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
  VlmWork *work = vlm_request_work (job);
  gsize old = work->text->len;
  vlm_text_stream_flush (work->pieces, work->text);
  job->grown |= work->text->len > old;
  job->result.finish_reason = reason;
  job->ended = TRUE;
}

static void
take_token (VlmJob *job, int id)
{
  VlmWork *work = vlm_request_work (job);
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
           work->sequence.length >= work->room)
    end_with (job, "length");
}

static void
report_fine (VlmJob *job)
{
  VlmWork *work = vlm_request_work (job);
  VlmResult *result = &job->result;
  const VlmConfig *config = &work->networks->model->config;
  int first = config->zoom.layer, n = config->text.layers - first;
  double sum = 0;
  if (!work->fine || n <= 0)
    return;
  if (!work->layer_fine_tokens)
    work->layer_fine_tokens = g_new0 (int, n);
  for (int i = 0; i < n; i++) {
    double mean =
        (double) work->fine->selected[first + i] / MAX (work->fine->steps, 1);
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
  VlmWork *work = vlm_request_work (job);
  VlmResult *result = &job->result;
  gint64 now = g_get_monotonic_time ();
  if (work->ids->len == 1) {
    work->first_us = now;
    result->ttft_us = now - work->begun_us;
    result->prefill_us = (gint64) device_marked_us (
        work->networks->dev, VLM_MARK_SEEN, VLM_MARK_READ);
    result->vision_us = result->ttft_us - result->prefill_us;
  } else if (now > work->first_us) {
    result->tokens_per_second =
        (work->ids->len - 1) * (double) G_USEC_PER_SEC / (now - work->first_us);
  }
  result->total_us = now - work->begun_us;
}

/* What has come of the picture with the first token. */
static gboolean
finish_picture (VlmJob *job, GError **error)
{
  VlmWork *work = vlm_request_work (job);
  VlmSelection *selection = &work->selection;
  VlmResult *result = &job->result;
  const VlmTileGeometry *geometry = &result->geometry;
  if (!vlm_vision_finish (work->networks->vision, selection, error))
    return FALSE;
  if (job->task.settings.detail) {
    result->kept_ids = selection->order;
    result->n_kept =
        geometry->zoomed ? geometry->side * geometry->side : selection->n;
  }
  return TRUE;
}

/* One token of each row of logits, as long as the row belongs to a token that
 * was right. */
static void
take_tokens (VlmJob *job, float *logits)
{
  VlmWork *work = vlm_request_work (job);
  int vocab = work->networks->model->config.text.vocab;
  int before = work->sequence.length - work->n_draft, right = 0;
  g_autoptr (GError) error = NULL;
  for (int i = 0; i <= work->n_draft && !job->ended; i++) {
    gboolean first = work->ids->len == 0;
    if (first)
      device_mark (work->networks->dev, VLM_MARK_READ);
    int id = vlm_sampler_next (work->sampler, logits + (gsize) i * vocab);
    if (!vlm_device_status (work->networks->dev, &error) ||
        (first && !finish_picture (job, &error))) {
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
  VlmWork *work = vlm_request_work (job);
  VlmResult *result = &job->result;
  if (!logits)
    return;
  if (!job->decoding)
    work->exact = work->sequence.length;
  job->decoding = TRUE;
  take_tokens (job, logits);
  vlm_request_let_go (job, FALSE);
  result->text = work->text->str;
  result->tokens = work->ids->len;
  if (job->task.settings.detail)
    result->token_ids = (const int *) (void *) work->ids->data;
  report_fine (job);
  measure (job);
  if (!job->ended)
    correct (job);
}
