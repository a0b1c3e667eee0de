/* loader.c - loading on the worker: who joins, who leaves, who is told
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#include "engine/scheduler.h"

typedef struct {
  guint id;
  VlmLoadFunc func;
  gpointer user_data;
  gboolean last; /* joined before the end that is being told */
} VlmJoiner;

void
vlm_loader_init (VlmLoader *loader)
{
  *loader =
      (VlmLoader){ .joiners = g_array_new (FALSE, FALSE, sizeof (VlmJoiner)) };
}

void
vlm_loader_clear (VlmLoader *loader)
{
  g_clear_pointer (&loader->joiners, g_array_unref);
}

static VlmJoiner *
joiner_at (VlmLoader *loader, guint i)
{
  return &g_array_index (loader->joiners, VlmJoiner, i);
}

/* Gives the lock up around the call. */
static void
call (VlmEngine *engine, VlmJoiner joiner, int percent, const GError *error)
{
  if (!joiner.func)
    return;
  engine->loader.calling = joiner.id;
  g_mutex_unlock (&engine->lock);
  joiner.func (engine, percent, error, joiner.user_data);
  g_mutex_lock (&engine->lock);
  engine->loader.calling = 0;
  g_cond_broadcast (&engine->wake);
}

/* Joiners come and go while one is called: ids only grow, so going on behind
 * the last id called neither misses nor repeats one. */
static void
tell_all (VlmEngine *engine, int percent)
{
  VlmLoader *loader = &engine->loader;
  guint told = 0;
  for (guint i = 0; i < loader->joiners->len; i++) {
    VlmJoiner joiner = *joiner_at (loader, i);
    if (joiner.id <= told)
      continue;
    told = joiner.id;
    call (engine, joiner, percent, NULL);
    i = -1;
  }
}

/* Tells the end and forgets whoever was told. */
static void
tell_end (VlmEngine *engine, const GError *error)
{
  VlmLoader *loader = &engine->loader;
  for (guint i = 0; i < loader->joiners->len; i++)
    joiner_at (loader, i)->last = TRUE;
  while (loader->joiners->len && joiner_at (loader, 0)->last) {
    VlmJoiner joiner = *joiner_at (loader, 0);
    g_array_remove_index (loader->joiners, 0);
    call (engine, joiner, 100, error);
  }
}

static gboolean
wanted (VlmEngine *engine)
{
  return !engine->quit &&
         (engine->loader.joiners->len || vlm_scheduler_waiting (engine));
}

static gboolean
progress (int percent, gpointer user_data)
{
  VlmEngine *engine = user_data;
  g_mutex_lock (&engine->lock);
  while (vlm_scheduler_end_cancelled (engine))
    ;
  percent = CLAMP (percent, 0, 99); /* 100 is the end's */
  if (percent > engine->loader.percent) {
    engine->loader.percent = percent;
    tell_all (engine, percent);
  }
  gboolean go_on = wanted (engine);
  g_mutex_unlock (&engine->lock);
  return go_on;
}

static void
load (VlmEngine *engine)
{
  g_autoptr (GError) error = NULL;
  engine->state = VLM_ENGINE_LOADING;
  engine->loader.percent = 0;
  tell_all (engine, 0);
  g_mutex_unlock (&engine->lock);
  gboolean done = vlm_runner_load (engine->runner, progress, engine, &error);
  g_mutex_lock (&engine->lock);
  if (done) {
    engine->state = VLM_ENGINE_READY;
    tell_end (engine, NULL);
  } else if (g_error_matches (error, VLM_ERROR, VLM_ERROR_CANCELLED)) {
    engine->state = VLM_ENGINE_OPEN;
  } else {
    engine->state = VLM_ENGINE_FAILED;
    g_clear_error (&engine->error);
    engine->error = g_error_copy (error);
    tell_end (engine, error);
  }
  g_cond_broadcast (&engine->wake);
}

gboolean
vlm_loader_turn (VlmEngine *engine)
{
  if (engine->state == VLM_ENGINE_OPEN && wanted (engine)) {
    load (engine);
    return TRUE;
  }
  if (engine->state == VLM_ENGINE_READY && engine->loader.joiners->len) {
    tell_end (engine, NULL);
    return TRUE;
  }
  return FALSE;
}

guint
vlm_engine_load (VlmEngine *engine, VlmLoadFunc func, gpointer user_data)
{
  g_return_val_if_fail (engine != NULL, 0);

  g_mutex_lock (&engine->lock);
  VlmJoiner joiner = { ++engine->loader.last_id, func, user_data, FALSE };
  g_array_append_val (engine->loader.joiners, joiner);
  if (engine->state == VLM_ENGINE_FAILED)
    engine->state = VLM_ENGINE_OPEN;
  vlm_scheduler_wake (engine);
  g_mutex_unlock (&engine->lock);
  return joiner.id;
}

void
vlm_engine_load_leave (VlmEngine *engine, guint id)
{
  g_return_if_fail (engine != NULL);

  g_mutex_lock (&engine->lock);
  VlmLoader *loader = &engine->loader;
  for (guint i = 0; i < loader->joiners->len; i++)
    if (joiner_at (loader, i)->id == id) {
      g_array_remove_index (loader->joiners, i);
      break;
    }
  while (loader->calling == id && id && g_thread_self () != engine->worker)
    g_cond_wait (&engine->wake, &engine->lock);
  g_mutex_unlock (&engine->lock);
}

VlmEngineState
vlm_engine_state (VlmEngine *engine)
{
  g_return_val_if_fail (engine != NULL, VLM_ENGINE_FAILED);

  g_mutex_lock (&engine->lock);
  VlmEngineState state = engine->state;
  g_mutex_unlock (&engine->lock);
  return state;
}
