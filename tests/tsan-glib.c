/* tsan-glib.c - GLib's mutexes and conditions as the thread sanitizer knows
 * them SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * GLib's own are futexes, which the sanitizer cannot see: whatever they guard
 * would look like a race. These stand before the library's in test programs
 * of a build with -Db_sanitize=thread, for GStreamer too. What is locked within
 * GLib stays unseen, so queues are told to the sanitizer item by item; for the
 * rest see tsan.supp.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#pragma GCC visibility push(default)
#include <glib.h>
#pragma GCC visibility pop
#include <pthread.h>
#include <stdlib.h>
#include <time.h>

void __tsan_acquire (void *address);
void __tsan_release (void *address);

/* Mutexes in static memory are zeros that nobody initialised. */
static pthread_mutex_t *
mutex_of (GMutex *mutex)
{
  gpointer *place = &mutex->p, made, none = NULL;

  made = __atomic_load_n (place, __ATOMIC_ACQUIRE);
  if (made)
    return made;
  made = malloc (sizeof (pthread_mutex_t));
  pthread_mutex_init (made, NULL);
  if (__atomic_compare_exchange_n (
          place, &none, made, FALSE, __ATOMIC_ACQ_REL, __ATOMIC_ACQUIRE))
    return made;
  pthread_mutex_destroy (made);
  free (made);
  return none;
}

static void
init_condition (pthread_cond_t *made)
{
  pthread_condattr_t attributes;

  pthread_condattr_init (&attributes);
  pthread_condattr_setclock (&attributes, CLOCK_MONOTONIC);
  pthread_cond_init (made, &attributes);
  pthread_condattr_destroy (&attributes);
}

static pthread_cond_t *
condition_of (GCond *cond)
{
  gpointer *place = &cond->p, made, none = NULL;

  made = __atomic_load_n (place, __ATOMIC_ACQUIRE);
  if (made)
    return made;
  made = malloc (sizeof (pthread_cond_t));
  init_condition (made);
  if (__atomic_compare_exchange_n (
          place, &none, made, FALSE, __ATOMIC_ACQ_REL, __ATOMIC_ACQUIRE))
    return made;
  pthread_cond_destroy (made);
  free (made);
  return none;
}

void
g_mutex_init (GMutex *mutex)
{
  mutex->p = NULL;
}

void
g_mutex_clear (GMutex *mutex)
{
  if (mutex->p)
    pthread_mutex_destroy (mutex->p);
  free (mutex->p);
  mutex->p = NULL;
}

void
g_mutex_lock (GMutex *mutex)
{
  pthread_mutex_lock (mutex_of (mutex));
}

gboolean
g_mutex_trylock (GMutex *mutex)
{
  return pthread_mutex_trylock (mutex_of (mutex)) == 0;
}

void
g_mutex_unlock (GMutex *mutex)
{
  pthread_mutex_unlock (mutex_of (mutex));
}

void
g_cond_init (GCond *cond)
{
  cond->p = NULL;
}

void
g_cond_clear (GCond *cond)
{
  if (cond->p)
    pthread_cond_destroy (cond->p);
  free (cond->p);
  cond->p = NULL;
}

void
g_cond_wait (GCond *cond, GMutex *mutex)
{
  pthread_cond_wait (condition_of (cond), mutex_of (mutex));
}

gboolean
g_cond_wait_until (GCond *cond, GMutex *mutex, gint64 end_time)
{
  struct timespec until = { end_time / G_USEC_PER_SEC,
    end_time % G_USEC_PER_SEC * 1000 };

  return pthread_cond_timedwait (
             condition_of (cond), mutex_of (mutex), &until) != ETIMEDOUT;
}

void
g_cond_signal (GCond *cond)
{
  pthread_cond_signal (condition_of (cond));
}

void
g_cond_broadcast (GCond *cond)
{
  pthread_cond_broadcast (condition_of (cond));
}

/* ---- what one thread queues is known to whoever takes it ---- */

#define REAL(function) ((__typeof__ (&function)) dlsym (RTLD_NEXT, #function))

static gpointer
taken (gpointer item)
{
  if (item)
    __tsan_acquire (item);
  return item;
}

void
g_async_queue_push (GAsyncQueue *queue, gpointer item)
{
  __tsan_release (item);
  REAL (g_async_queue_push) (queue, item);
}

gpointer
g_async_queue_pop (GAsyncQueue *queue)
{
  return taken (REAL (g_async_queue_pop) (queue));
}

gpointer
g_async_queue_try_pop (GAsyncQueue *queue)
{
  return taken (REAL (g_async_queue_try_pop) (queue));
}

gpointer
g_async_queue_timeout_pop (GAsyncQueue *queue, guint64 timeout)
{
  return taken (REAL (g_async_queue_timeout_pop) (queue, timeout));
}
