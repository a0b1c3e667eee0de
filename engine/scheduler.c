/* scheduler.c - the worker thread of an engine and its streams
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#include "engine/error.h"
#include "engine/registry.h"

static VlmRequest *
request_of (VlmJob *job)
{
  return (VlmRequest *) job;
}

static void
release_picture (VlmJob *job)
{
  VlmRequest *request = request_of (job);
  if (request->fetched && request->funcs.release)
    request->funcs.release (request->user_data);
  request->fetched = FALSE;
}

/* Ends a request that is neither in `waiting` nor in `active` any more and
 * counts in stream->ending: its result, or an error. Lock held, given up
 * meanwhile. */
static void
finish (VlmEngine *engine, VlmRequest *request, const GError *error)
{
  VlmStream *stream = request->stream;
  g_mutex_unlock (&engine->lock);
  vlm_runner_let_go (engine->runner, &request->job);
  release_picture (&request->job);
  if (request->funcs.done)
    request->funcs.done (
        error ? NULL : &request->job.result, error, request->user_data);
  vlm_runner_end (engine->runner, &request->job);
  vlm_settings_clear (&request->job.task.settings);
  g_clear_error (&request->job.error);
  g_mutex_lock (&engine->lock);
  if (stream->active == request)
    stream->active = NULL;
  stream->ending--;
  g_free (request);
  g_cond_broadcast (&engine->wake);
}

static void
finish_cancelled (VlmEngine *engine, VlmRequest *request)
{
  g_autoptr (GError) error = NULL;

  vlm_fail (&error, VLM_ERROR_CANCELLED, NULL,
      "The description was cancelled before it had any text.");
  finish (engine, request, error);
}

gboolean
vlm_scheduler_waiting (const VlmEngine *engine)
{
  for (guint i = 0; i < engine->streams->len; i++) {
    VlmStream *stream = g_ptr_array_index (engine->streams, i);
    if (stream->waiting.length)
      return TRUE;
  }
  return FALSE;
}

/* The first waiting request that `test` picks, taken out of its queue. */
static VlmRequest *
take_waiting (VlmEngine *engine, gboolean cancelled_only)
{
  for (guint i = 0; i < engine->streams->len; i++) {
    VlmStream *stream = g_ptr_array_index (engine->streams, i);
    for (GList *l = stream->waiting.head; l; l = l->next) {
      VlmRequest *request = l->data;
      if (cancelled_only && !g_atomic_int_get (&request->job.cancelled))
        continue;
      g_queue_delete_link (&stream->waiting, l);
      stream->ending++;
      return request;
    }
  }
  return NULL;
}

gboolean
vlm_scheduler_end_cancelled (VlmEngine *engine)
{
  VlmRequest *request = take_waiting (engine, TRUE);
  if (request)
    finish_cancelled (engine, request);
  return request != NULL;
}

static gboolean
end_failed (VlmEngine *engine)
{
  if (engine->state != VLM_ENGINE_FAILED)
    return FALSE;
  VlmRequest *request = take_waiting (engine, FALSE);
  if (request) {
    g_autoptr (GError) error = g_error_copy (engine->error);
    finish (engine, request, error);
  }
  return request != NULL;
}

/* The next stream in turn that has a request to begin and none running. */
static VlmRequest *
next_in_turn (VlmEngine *engine)
{
  guint n = engine->streams->len;
  for (guint i = 0; i < n; i++) {
    guint at = (engine->turn + i) % n;
    VlmStream *stream = g_ptr_array_index (engine->streams, at);
    if (stream->active || !stream->waiting.length)
      continue;
    engine->turn = (at + 1) % n;
    stream->active = g_queue_pop_head (&stream->waiting);
    stream->ending++;
    return stream->active;
  }
  return NULL;
}

static gboolean
fetch (VlmRequest *request, GError **error)
{
  VlmTask *task = &request->job.task;
  vlm_settings_init (&task->settings);
  request->fetched = request->funcs.fetch (task, request->user_data, error);
  if (!request->fetched && error && !*error)
    vlm_fail (error, VLM_ERROR_CANCELLED, NULL,
        "The description was withdrawn when its turn came.");
  return request->fetched;
}

/* Whether one more request may begin: one at a time is in its prompt. */
static gboolean
has_room (VlmEngine *engine)
{
  VlmEngineInfo info;
  vlm_runner_info (engine->runner, &info);
  for (guint i = 0; i < engine->active->len; i++) {
    VlmRequest *request = g_ptr_array_index (engine->active, i);
    if (!request->job.decoding)
      return FALSE;
  }
  return (int) engine->active->len < info.batch;
}

/* Begins one request if there is room. TRUE if it took one. */
static gboolean
admit (VlmEngine *engine)
{
  VlmRequest *request = has_room (engine) ? next_in_turn (engine) : NULL;
  if (!request)
    return FALSE;

  g_autoptr (GError) error = NULL;
  g_mutex_unlock (&engine->lock);
  gboolean begun = fetch (request, &error) &&
                   vlm_runner_begin (engine->runner, &request->job, &error);
  g_mutex_lock (&engine->lock);
  if (begun)
    g_ptr_array_add (engine->active, request);
  else
    finish (engine, request, error);
  return TRUE;
}

/* A request with text ends with what it has, one without ends with an error.
 */
static void
end_one (VlmEngine *engine, VlmRequest *request)
{
  VlmJob *job = &request->job;
  g_ptr_array_remove (engine->active, request);
  if (job->ended)
    finish (engine, request, job->error);
  else if (job->result.tokens) {
    job->result.finish_reason = "cancelled";
    finish (engine, request, NULL);
  } else
    finish_cancelled (engine, request);
}

static gboolean
end_active (VlmEngine *engine)
{
  for (guint i = 0; i < engine->active->len; i++) {
    VlmRequest *request = g_ptr_array_index (engine->active, i);
    if (request->job.ended || g_atomic_int_get (&request->job.cancelled)) {
      end_one (engine, request);
      return TRUE;
    }
  }
  return FALSE;
}

static gboolean
step (VlmEngine *engine)
{
  GPtrArray *active = engine->active;
  if (!active->len)
    return FALSE;
  g_mutex_unlock (&engine->lock);
  vlm_runner_step (engine->runner, (VlmJob **) active->pdata, active->len);
  for (guint i = 0; i < active->len; i++) {
    VlmRequest *request = g_ptr_array_index (active, i);
    if (request->job.grown && request->funcs.text)
      request->funcs.text (&request->job.result, request->user_data);
    request->job.grown = FALSE;
  }
  g_mutex_lock (&engine->lock);
  return TRUE;
}

static gpointer
work (gpointer data)
{
  VlmEngine *engine = data;
  g_mutex_lock (&engine->lock);
  while (!engine->quit) {
    if (end_active (engine) || vlm_scheduler_end_cancelled (engine) ||
        vlm_loader_turn (engine) || end_failed (engine))
      continue;
    gboolean busy = FALSE;
    if (engine->state == VLM_ENGINE_READY) {
      busy = admit (engine);
      busy = step (engine) || busy;
    }
    if (!busy)
      g_cond_wait (&engine->wake, &engine->lock);
  }
  g_mutex_unlock (&engine->lock);
  vlm_runner_unload (engine->runner);
  return NULL;
}

VlmEngine *
vlm_scheduler_new (VlmRunner *runner)
{
  VlmEngine *engine = g_new0 (VlmEngine, 1);
  engine->runner = runner;
  g_mutex_init (&engine->lock);
  g_cond_init (&engine->wake);
  vlm_loader_init (&engine->loader);
  engine->streams = g_ptr_array_new ();
  engine->active = g_ptr_array_new ();
  return engine;
}

void
vlm_scheduler_free (VlmEngine *engine)
{
  if (engine->worker) {
    g_mutex_lock (&engine->lock);
    engine->quit = TRUE;
    g_cond_broadcast (&engine->wake);
    g_mutex_unlock (&engine->lock);
    g_thread_join (engine->worker);
  }
  vlm_runner_free (engine->runner);
  vlm_loader_clear (&engine->loader);
  g_ptr_array_unref (engine->streams);
  g_ptr_array_unref (engine->active);
  g_clear_error (&engine->error);
  g_cond_clear (&engine->wake);
  g_mutex_clear (&engine->lock);
  g_free (engine);
}

void
vlm_scheduler_wake (VlmEngine *engine)
{
  if (!engine->worker)
    engine->worker = g_thread_new ("hiredvlm", work, engine);
  g_cond_broadcast (&engine->wake);
}

/* ---- streams ---- */

VlmStream *
vlm_stream_new (VlmEngine *engine)
{
  g_return_val_if_fail (engine != NULL, NULL);

  VlmStream *stream = g_new0 (VlmStream, 1);
  vlm_registry_ref (engine, FALSE);
  stream->engine = engine;
  g_queue_init (&stream->waiting);
  g_mutex_lock (&engine->lock);
  stream->number = ++engine->last_stream;
  g_ptr_array_add (engine->streams, stream);
  g_mutex_unlock (&engine->lock);
  return stream;
}

static gboolean
busy (const VlmStream *stream)
{
  return stream->waiting.length || stream->ending;
}

/* Lock held. */
static void
cancel (VlmStream *stream, guint64 number)
{
  VlmRequest *active = stream->active;
  if (active && (!number || active->number == number))
    g_atomic_int_set (&active->job.cancelled, TRUE);
  for (GList *l = stream->waiting.head; l; l = l->next) {
    VlmRequest *request = l->data;
    if (!number || request->number == number)
      g_atomic_int_set (&request->job.cancelled, TRUE);
  }
  if (busy (stream))
    vlm_scheduler_wake (stream->engine);
}

/* What never had its turn need not wait for the turns of others, which may be
 * in the midst of a picture. In order: not before what runs. Lock held. */
static void
end_waiting (VlmStream *stream)
{
  while (!stream->ending && stream->waiting.length) {
    VlmRequest *request = g_queue_pop_head (&stream->waiting);
    stream->ending++;
    finish_cancelled (stream->engine, request);
  }
}

void
vlm_stream_free (VlmStream *stream)
{
  if (!stream)
    return;
  VlmEngine *engine = stream->engine;
  g_mutex_lock (&engine->lock);
  stream->closing = TRUE;
  cancel (stream, 0);
  end_waiting (stream);
  while (busy (stream))
    g_cond_wait (&engine->wake, &engine->lock);
  guint at = 0;
  g_ptr_array_find (engine->streams, stream, &at);
  g_ptr_array_remove_index (engine->streams, at);
  if (engine->turn > at)
    engine->turn--;
  g_mutex_unlock (&engine->lock);
  g_free (stream);
  vlm_registry_unref (engine, FALSE);
}

guint64
vlm_stream_submit (
    VlmStream *stream, const VlmRequestFuncs *funcs, gpointer user_data)
{
  g_return_val_if_fail (stream && funcs && funcs->fetch, 0);

  VlmEngine *engine = stream->engine;
  VlmRequest *request = g_new0 (VlmRequest, 1);
  request->stream = stream;
  request->job.stream = stream->number;
  request->funcs = *funcs;
  request->user_data = user_data;
  request->job.read = release_picture;
  request->job.submitted_us = g_get_monotonic_time ();
  vlm_settings_init (&request->job.task.settings);

  g_mutex_lock (&engine->lock);
  guint64 number = request->number = ++stream->last_number;
  request->job.cancelled = stream->closing;
  g_queue_push_tail (&stream->waiting, request);
  vlm_scheduler_wake (engine);
  g_mutex_unlock (&engine->lock);
  return number;
}

void
vlm_stream_cancel (VlmStream *stream, guint64 request)
{
  g_return_if_fail (stream != NULL);

  g_mutex_lock (&stream->engine->lock);
  cancel (stream, request);
  g_mutex_unlock (&stream->engine->lock);
}

void
vlm_stream_drain (VlmStream *stream)
{
  g_return_if_fail (stream != NULL);

  VlmEngine *engine = stream->engine;
  g_mutex_lock (&engine->lock);
  while (busy (stream))
    g_cond_wait (&engine->wake, &engine->lock);
  g_mutex_unlock (&engine->lock);
}
