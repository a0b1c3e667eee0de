/* registry.c - the engines of this process, by what they were opened with
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#include "engine/registry.h"

static GMutex lock;
static GPtrArray *shared; /* VlmEngine, borrowed */

static VlmEngine *
find_locked (const char *key)
{
  for (guint i = 0; shared && i < shared->len; i++) {
    VlmEngine *engine = g_ptr_array_index (shared, i);
    if (g_str_equal (vlm_runner_key (engine->runner), key))
      return engine;
  }
  return NULL;
}

VlmEngine *
vlm_registry_find (const char *key)
{
  g_mutex_lock (&lock);
  VlmEngine *engine = find_locked (key);
  if (engine) {
    engine->refs++;
    engine->sharers++;
  }
  g_mutex_unlock (&lock);
  return engine;
}

VlmEngine *
vlm_registry_add (VlmEngine *engine, gboolean share)
{
  VlmEngine *other = NULL;
  g_mutex_lock (&lock);
  if (share)
    other = find_locked (vlm_runner_key (engine->runner));
  VlmEngine *winner = other ? other : engine;
  winner->refs++;
  winner->sharers++;
  if (share && !other) {
    if (!shared)
      shared = g_ptr_array_new ();
    g_ptr_array_add (shared, engine);
  }
  g_mutex_unlock (&lock);
  if (other)
    vlm_scheduler_free (engine);
  return winner;
}

void
vlm_registry_ref (VlmEngine *engine, gboolean sharer)
{
  g_mutex_lock (&lock);
  engine->refs++;
  engine->sharers += sharer ? 1 : 0;
  g_mutex_unlock (&lock);
}

void
vlm_registry_unref (VlmEngine *engine, gboolean sharer)
{
  g_mutex_lock (&lock);
  engine->sharers -= sharer ? 1 : 0;
  gboolean last = --engine->refs == 0;
  if (last && shared) {
    g_ptr_array_remove (shared, engine);
    if (!shared->len)
      g_clear_pointer (&shared, g_ptr_array_unref);
  }
  g_mutex_unlock (&lock);
  if (last)
    vlm_scheduler_free (engine);
}

int
vlm_registry_sharers (VlmEngine *engine)
{
  g_mutex_lock (&lock);
  int sharers = engine->sharers;
  g_mutex_unlock (&lock);
  return sharers;
}
